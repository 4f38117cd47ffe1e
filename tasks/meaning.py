"""What one more answer means beside what was known before it, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from leadline.surrogate.hull import Hull
from leadline.tasks.answers import Answer, Answers
from leadline.tasks.assess import Assessment
from leadline.tasks.problem import HullProblem, Problem, PropertyProblem
from leadline.tasks.report.formatting import fixed, mev

ON_HULL = 1e-9
"""eV/atom up to which a phase is on the hull."""


class Meaning(Protocol):
    """Says what answers mean, one after the other."""

    def learn(self, assessment: Assessment, answers: Answers) -> None:
        """Take what was assessed for what is known."""

    def of(self, answer: Answer) -> str:
        """Return the value of an answer and what it means; it is known from then on."""


class HullMeaning:
    """What answers mean for a convex hull.

    Only the corners of the hull are kept, so a word costs little however much is known.

    Parameters
    ----------
    problem
        What is looked for.
    elements
        Symbols in the order of fractions.
    """

    def __init__(self, problem: HullProblem, elements: Sequence[str]) -> None:
        self._tolerance, self._elements = problem.tolerance, tuple(elements)
        self._references: Mapping[str, float] = {}
        self._fractions = np.eye(len(self._elements))
        self._energies = np.zeros(len(self._elements))

    def learn(self, assessment: Assessment, answers: Answers) -> None:
        """Take what was assessed for what is known."""
        self._references = assessment.references
        on_hull = [
            each for each in answers if assessment.above_hull.get(each.structure, 1.0) <= ON_HULL
        ]
        shares = [[each.share(self._elements)] for each in on_hull]
        self._fractions = np.vstack([np.eye(len(self._elements)), *shares])
        values = [assessment.values[each.structure] for each in on_hull]
        self._energies = np.array([0.0] * len(self._elements) + values)

    def of(self, answer: Answer) -> str:
        """Return the value of an answer and what it means; it is known from then on."""
        if math.isnan(answer.energy):
            return "no energy"
        strange = not set(answer.fractions) <= set(self._elements)
        if answer.element or strange or len(self._references) < len(self._elements):
            return f"{fixed(answer.energy, 4)} eV/atom" + (", an element" if answer.element else "")
        share = np.array([answer.share(self._elements)])
        corners = np.array([self._references[each] for each in self._elements])
        value = answer.energy - float((share @ corners)[0])
        above = float(Hull.from_energies(self._fractions, self._energies).above(share, [value])[0])
        if above < -ON_HULL:
            self._fractions = np.vstack([self._fractions, share])
            self._energies = np.append(self._energies, value)
        return f"{fixed(value, 4)} eV/atom, {self._beside_the_hull(above)}"

    def _beside_the_hull(self, above: float) -> str:
        if above < -ON_HULL:
            return f"{mev(-above)} meV/atom below the hull known before: it changes the hull"
        if above <= ON_HULL:
            return "on the hull"
        found = "; it counts as found" if above <= self._tolerance + ON_HULL else ""
        return f"{mev(above)} meV/atom above the hull{found}"


class PropertyMeaning:
    """What answers mean for the search of a property's best values."""

    def __init__(self, problem: PropertyProblem) -> None:
        self._problem = problem
        self._best: float | None = None

    def learn(self, assessment: Assessment, answers: Answers) -> None:
        """Take what was assessed for what is known."""
        values = assessment.values.values()
        self._best = min(values, key=self._problem.aim.distance, default=None)

    def of(self, answer: Answer) -> str:
        """Return the value of an answer and what it means; it is known from then on."""
        name, far = self._problem.name, self._problem.aim.distance
        if name not in answer.properties:
            return f"no {name}"
        value = answer.properties[name]
        if self._best is None or far(value) < far(self._best):
            self._best = value
            return f"{name} {value:.6g}, the best so far"
        return f"{name} {value:.6g}; the best stays {self._best:.6g}"


def meaning(problem: Problem, elements: Sequence[str]) -> Meaning:
    """Return what says the meaning of answers to a problem."""
    if isinstance(problem, HullProblem):
        return HullMeaning(problem, elements)
    return PropertyMeaning(problem)
