"""What became of a structure: the phase it relaxed to, and whether it is still itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pymatgen.core import Structure

from leadline.tasks.match import left_prototype, match_known
from leadline.tasks.store.records import StructureRecord
from leadline.tasks.store.store import Store
from leadline.tasks.structures import from_plain


@dataclass(frozen=True)
class Judge:
    """Compares relaxed structures with what was asked for and with the known phases.

    Parameters
    ----------
    store
        Where relations are recorded.
    relaxes_cell
        True if the recipe changes the cell, so that volumes are scaled to compare.
    """

    store: Store
    relaxes_cell: bool
    _phases: dict[str, dict[str, Structure]] = field(default_factory=lambda: defaultdict(dict))
    _lock: Lock = field(default_factory=Lock)

    def knows(self, asked: StructureRecord, final: Mapping[str, Any]) -> None:
        """Take in a phase that was settled earlier."""
        if asked.relaxed_to is None:
            self._phases[asked.formula][asked.id] = from_plain(final)

    def settle(self, asked: StructureRecord, final: Mapping[str, Any]) -> StructureRecord:
        """Record the phase that a structure relaxed to, and whether it left its prototype.

        One phase counts once: a structure that relaxed to a known phase is
        related to it, and the first one of its kind is the phase itself.
        """
        relaxed, initial = from_plain(final), from_plain(asked.structure)
        with self._lock:
            known = self._phases[asked.formula]
            phase = match_known(relaxed, {id_: s for id_, s in known.items() if id_ != asked.id})
            if phase is None:
                known[asked.id] = relaxed
        left = left_prototype(initial, relaxed) if self.relaxes_cell else None
        if phase or left:
            self.store.relate(asked.id, relaxed_to=phase, left_prototype=left)
        found = self.store.structure(asked.id)
        return found or asked
