"""What the answers mean: formation energies, the hull, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from leadline.surrogate.hull import energies_above_hull
from leadline.surrogate.reference import formation_energies
from leadline.tasks.answers import Answer, Answers
from leadline.tasks.problem import HullProblem, Problem, PropertyProblem


@dataclass(frozen=True)
class Find:
    """A phase within tolerance of the hull, or a candidate past the threshold or among the best."""

    answer: Answer
    value: float
    energy_above_hull: float | None

    def to_plain(self) -> dict[str, str | float | None]:
        """Return JSON values; ``value`` and distance in the units of the objective.

        ``changed`` is there where a remedy changed the physics.
        """
        return {
            "structure": self.answer.structure,
            "formula": self.answer.formula,
            "value": self.value,
            "energy_above_hull": self.energy_above_hull,
            **({"changed": self.answer.changed} if self.answer.changed else {}),
        }


@dataclass(frozen=True)
class Assessment:
    """What the answers mean together.

    Parameters
    ----------
    values
        Formation energy in eV/atom, or the property, of each structure.
    above_hull
        eV/atom above the hull of all answers; empty for a property.
    finds
        What was found, one entry a phase, best first; elements not included.
    references
        Energy of each element, eV/atom.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    above_hull: Mapping[str, float] = field(default_factory=dict)
    finds: tuple[Find, ...] = ()
    references: Mapping[str, float] = field(default_factory=dict)


def assess(
    answers: Answers,
    problem: Problem,
    elements: Sequence[str],
    given: Mapping[str, float] | None = None,
) -> Assessment:
    """Return what the answers mean; empty while an element has no energy yet.

    Parameters
    ----------
    answers, problem
        What is known, and what is looked for.
    elements
        Symbols in the order of all fractions.
    given
        Energies of the elements in eV/atom where the campaign was given them.
    """
    if isinstance(problem, PropertyProblem):
        return _assess_property(answers, problem)
    return _assess_hull(answers, problem, elements, given or {})


def _assess_hull(
    answers: Answers, problem: HullProblem, elements: Sequence[str], given: Mapping[str, float]
) -> Assessment:
    references = reference_energies(answers, elements, given)
    if len(references) < len(elements) or not len(answers):
        return Assessment(references=references)
    rows = [each for each in answers if set(each.fractions) <= set(elements)]
    fractions = np.array([each.share(elements) for each in rows])
    energies = np.array([each.energy for each in rows])
    formation = formation_energies(
        energies, fractions, np.array([references[element] for element in elements])
    )
    above = energies_above_hull(*_with_corners(fractions, formation))[: len(rows)]
    names = [each.structure for each in rows]
    return Assessment(
        values=dict(zip(names, formation.tolist(), strict=True)),
        above_hull=dict(zip(names, above.tolist(), strict=True)),
        finds=_phases(rows, formation, above, problem.tolerance),
        references=references,
    )


def reference_energies(
    answers: Answers, elements: Sequence[str], given: Mapping[str, float]
) -> dict[str, float]:
    """Return the energy of each element that has one, eV/atom.

    Given values stand as they are; computed ones are the lowest answer of each
    element, so that a lower polymorph found later moves every formation energy.
    """
    if given:
        return {element: given[element] for element in elements}
    lowest = {element: answers.lowest(element) for element in elements}
    return {element: found.energy for element, found in lowest.items() if found is not None}


def _with_corners(fractions: np.ndarray, formation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the elements at zero, which given references stand for without an answer."""
    k = fractions.shape[1]
    return np.vstack([fractions, np.eye(k)]), np.concatenate([formation, np.zeros(k)])


def _phases(
    rows: Sequence[Answer], formation: np.ndarray, above: np.ndarray, tolerance: float
) -> tuple[Find, ...]:
    best: dict[str, Find] = {}
    for each, value, distance in zip(rows, formation, above, strict=True):
        if each.element or distance > tolerance + 1e-9:
            continue
        found = Find(each, float(value), max(float(distance), 0.0))
        known = best.get(each.phase)
        if known is None or found.value < known.value:
            best[each.phase] = found
    return tuple(sorted(best.values(), key=lambda find: (find.energy_above_hull or 0, find.value)))


def _assess_property(answers: Answers, problem: PropertyProblem) -> Assessment:
    having = [each for each in answers if problem.name in each.properties]
    values = {each.structure: each.properties[problem.name] for each in having}
    found = problem.finds(np.array(list(values.values()))).tolist() if values else []
    finds = [
        Find(each, values[each.structure], None)
        for each, reached in zip(having, found, strict=True)
        if reached
    ]
    return Assessment(
        values=values, finds=tuple(sorted(finds, key=lambda find: problem.aim.distance(find.value)))
    )
