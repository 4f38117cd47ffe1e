"""What a run of a campaign came to, for people and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pymatgen.core import Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry


@dataclass(frozen=True)
class FoundPhase:
    """A find as a person reads it.

    ``value`` is the formation energy in eV/atom, or the property; ``nth`` its
    place among the campaign's calculations.
    """

    formula: str
    structure: str
    space_group: str
    value: float
    energy_above_hull: float | None
    nth: int


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
        Calculations that ended (the elements' not counted), of how many candidates.
    random_expected
        Calculations that a random search is expected to need for the same finds,
        conditional on these being all there are; None where nothing was found.
    entries
        The phases on the hull, elements included, as pymatgen entries: relaxed
        structures with total energies in eV.
    failed
        Calculations in quarantine.
    free
        Elements and imported results, which count against no budget.
    waiting
        Why a calculation waits for a person, by its id.
    """

    name: str
    state: str
    reason: str
    found: tuple[FoundPhase, ...]
    computed: int
    pool: int
    random_expected: float | None
    entries: tuple[ComputedStructureEntry, ...] = ()
    failed: int = 0
    free: int = 0
    waiting: Mapping[str, str] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None

    def structures(self) -> list[Structure]:
        """Return the structures of the hull's entries."""
        return [entry.structure for entry in self.entries]
