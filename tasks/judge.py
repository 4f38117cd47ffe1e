"""What became of a structure: the phase it relaxed to, and whether it is still itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

from pymatgen.core import Structure

from leadline.tasks.answers import Answer
from leadline.tasks.crystals import Crystals
from leadline.tasks.match import left_prototype
from leadline.tasks.store.records import StructureRecord
from leadline.tasks.store.store import Store
from leadline.tasks.structures import from_plain


class Judge:
    """Compares relaxed structures with what was asked for and with the known phases.

    Parameters
    ----------
    store
        Where relations are recorded.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._phases: dict[str, Structure] = {}
        # All were relaxed by one recipe, so volumes are compared as they are.
        self._crystals = Crystals(scale=False, structure_at=self._phases.__getitem__)
        self._lock = Lock()

    def knows(self, structure: str, final: Mapping[str, Any]) -> None:
        """Take in a phase that was settled earlier."""
        relaxed = from_plain(final)
        self._phases[structure] = relaxed
        self._crystals.keep(relaxed, structure)

    def remembers(self, answers: Iterable[Answer]) -> None:
        """Take in the phases among the answers of a campaign."""
        for each in answers:
            if each.phase == each.structure and each.final is not None:
                self.knows(each.structure, each.final)

    def settle(self, asked: StructureRecord, final: Mapping[str, Any]) -> None:
        """Record the phase that a structure relaxed to, and whether it left its prototype.

        One phase counts once: a structure that relaxed to a known phase is
        related to it, and the first one of its kind is the phase itself.
        """
        relaxed = from_plain(final)
        with self._lock:
            phase = self._crystals.find(relaxed)
            if phase is None:
                self.knows(asked.id, final)
        if phase == asked.id:
            phase = None
        left = left_prototype(from_plain(asked.structure), relaxed)
        if phase or left:
            self._store.relate(asked.id, relaxed_to=phase, left_prototype=left)
