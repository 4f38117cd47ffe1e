"""What a run of a campaign came to, for people and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pymatgen.core import Structure

from leadline.tasks.answers import Answer
from leadline.tasks.structures import from_plain

if TYPE_CHECKING:
    from pymatgen.entries.computed_entries import ComputedStructureEntry


class RunEnd(StrEnum):
    """How a run of a campaign ended: the name of its state in Prefect."""

    STOPPED = "Stopped"
    """A stop rule answered: the campaign is over."""
    ALREADY_STOPPED = "AlreadyStopped"
    """The campaign was over before, and the run did nothing."""
    RESTING = "Resting"
    """The run's own limit, or a person's wish: the next run goes on."""
    CANCELLED = "Cancelled"
    """All that ran was ended at once; the next run goes on."""


@dataclass(frozen=True)
class FoundPhase:
    """A find as a person reads it.

    ``value`` is the formation energy in eV/atom, or the property; ``nth`` its
    place among the campaign's calculations; ``changed`` what a remedy changed of the
    engine's settings for it.
    """

    formula: str
    structure: str
    space_group: str
    value: float
    energy_above_hull: float | None
    nth: int
    changed: str = ""


@dataclass(frozen=True)
class CampaignSummary:
    """What a run of a campaign came to.

    Parameters
    ----------
    name, state, reason
        The campaign, its state as a word, and why it is in it.
    found
        The finds, best first.
    computed, pool
        Candidates that have an answer (elements not counted), of how many.
    random_expected
        Calculations that a random search is expected to need for the same finds,
        conditional on these being all there are; None where nothing was found.
    hull
        The answers on the hull, elements included.
    failed
        Calculations in quarantine.
    free
        Elements and imported results, which count against no budget.
    nothing_found
        Why nothing was found, in words; empty where something was.
    waiting
        Why a calculation waits for a person, by its id.
    end
        How this run ended, which says more than the campaign's state.
    """

    name: str
    state: str
    reason: str
    found: tuple[FoundPhase, ...]
    computed: int
    pool: int
    random_expected: float | None
    hull: tuple[Answer, ...] = ()
    failed: int = 0
    free: int = 0
    waiting: Mapping[str, str] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    nothing_found: str = ""
    end: RunEnd = RunEnd.RESTING

    @cached_property
    def entries(self) -> tuple[ComputedStructureEntry, ...]:
        """The hull as pymatgen entries: relaxed structures with total energies in eV."""
        # Its package takes over a second to import, and `leadline run` asks for no entry.
        from pymatgen.entries.computed_entries import ComputedStructureEntry

        return tuple(
            ComputedStructureEntry(
                structure,
                each.energy * len(structure),
                entry_id=each.structure,
                data={
                    "calculation": each.calculation,
                    "space_group": each.space_group,
                    "changed": each.changed,
                },
            )
            for each, structure in zip(self.hull, self.structures(), strict=True)
        )

    def structures(self) -> list[Structure]:
        """Return the structures on the hull."""
        return [from_plain(each.final) for each in self.hull if each.final is not None]
