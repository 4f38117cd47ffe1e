"""What is known: the answers of a campaign's calculations, and the phases they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition

from leadline.tasks.store.records import Calculation, StructureRecord


@dataclass(frozen=True)
class Answer:
    """One finished calculation.

    Parameters
    ----------
    structure, calculation
        Ids of the structure that was asked for, and of the calculation.
    formula, space_group
        Reduced formula; space group before the calculation.
    fractions
        Atomic fraction of each element.
    energy
        Total energy, eV/atom; not a number where a data set has properties alone.
    properties
        Named numbers, in the units of the recipe.
    phase
        Structure id of the phase that it relaxed to: its own, or a known one.
    evidence
        False where it left its prototype: no label of the structure asked for.
    final
        The structure at the end, plain form.
    seconds
        Wall time of the engine.
    changed
        What a remedy changed of the engine's settings for it, in words; '' where it is
        the structure's own calculation.
    """

    structure: str
    calculation: str
    formula: str
    space_group: str
    fractions: Mapping[str, float]
    energy: float
    properties: Mapping[str, float]
    phase: str
    evidence: bool
    final: Mapping[str, Any] | None
    seconds: float
    changed: str = ""

    @property
    def element(self) -> str | None:
        """The element, if it is one."""
        return next(iter(self.fractions)) if len(self.fractions) == 1 else None

    def share(self, elements: Iterable[str]) -> list[float]:
        """Atomic fractions in the order of ``elements``."""
        return [self.fractions.get(element, 0.0) for element in elements]


def answer(
    record: Calculation, asked: StructureRecord, settled: StructureRecord, changed: str = ""
) -> Answer:
    """Return the answer that a finished calculation holds.

    ``settled`` is the structure that was computed: ``asked`` itself, or its twin;
    ``changed`` says what a remedy of the physics changed for it.
    """
    composition = Composition(asked.formula)
    return Answer(
        structure=asked.id,
        calculation=record.id,
        formula=asked.formula,
        space_group=asked.space_group,
        fractions={
            str(element): float(composition.get_atomic_fraction(element))
            for element in composition.elements
        },
        energy=math.nan if record.energy is None else record.energy / asked.sites,
        properties=record.properties,
        phase=settled.relaxed_to or settled.id,
        evidence=settled.left_prototype is None,
        final=record.final_structure,
        seconds=float(record.times.get("wall", 0.0)),
        changed=changed,
    )


@dataclass
class Answers:
    """The answers of a campaign, in the order in which they came."""

    by_structure: dict[str, Answer] = field(default_factory=dict)

    def add(self, found: Answer) -> None:
        """Take in an answer; the first one of a structure stays, unless a remedy gave it."""
        known = self.by_structure.get(found.structure)
        if known is None or known.changed:
            self.by_structure[found.structure] = found

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.by_structure.values())

    def __len__(self) -> int:
        return len(self.by_structure)

    def __contains__(self, structure: str) -> bool:
        return structure in self.by_structure

    def lowest(self, element: str) -> Answer | None:
        """Return the lowest answer of an element, or None."""
        found = [each for each in self if each.element == element]
        return min(found, key=lambda each: each.energy, default=None)

    def fractions(self, elements: Iterable[str]) -> NDArray[np.float64]:
        """Return atomic fractions, float64[n, k]."""
        order = list(elements)
        rows = [each.share(order) for each in self]
        return np.array(rows, dtype=float).reshape(len(rows), len(order))
