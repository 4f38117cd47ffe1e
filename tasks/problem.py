"""What a campaign looks for, as the mathematics needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.acquisition import HullGoal, PropertyGoal
from leadline.surrogate.hull import Hull, energies_above_hull

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HullProblem:
    """Find every phase within ``tolerance`` of the convex hull.

    Labels are formation energies in eV/atom from the references of the elements,
    which therefore stand at zero.

    Parameters
    ----------
    tolerance
        Energy above the hull that still counts as found, in eV/atom.
    """

    tolerance: float
    kind: Literal["hull"] = "hull"

    def known_hull(self, fractions: Floats, energies: Floats) -> Hull:
        """Return the hull of the elements at zero and the known phases."""
        elements = np.eye(fractions.shape[1])
        return Hull.from_energies(
            np.vstack([elements, fractions]), np.concatenate([np.zeros(len(elements)), energies])
        )

    def goal(self, hull: Hull, fractions: Floats) -> HullGoal:
        """Return the goal for a shortlist with these fractions[n, k]."""
        return HullGoal(hull, fractions, self.tolerance)

    def finds(self, fractions: Floats, energies: Floats) -> NDArray[np.bool_]:
        """Tell which phases, bool[n], are within tolerance of the hull of all of them.

        Elements count too where a row is one; leave them out beforehand or afterwards.
        """
        elements = np.eye(fractions.shape[1])
        above = energies_above_hull(
            np.vstack([elements, fractions]), np.concatenate([np.zeros(len(elements)), energies])
        )
        return np.asarray(above[len(elements) :] <= self.tolerance + 1e-9)


@dataclass(frozen=True)
class PropertyProblem:
    """Find the lowest, or highest, values of a property.

    Parameters
    ----------
    name
        The property.
    direction
        ``minimise`` or ``maximise``.
    threshold
        A value this good counts as found, in the property's unit; None where the
        best are looked for.
    best
        How many of the best are looked for, without a threshold.
    """

    name: str
    direction: Literal["minimise", "maximise"] = "minimise"
    threshold: float | None = None
    best: int = 1
    kind: Literal["property"] = "property"

    @property
    def sign(self) -> Literal[1, -1]:
        """1 to minimise, -1 to maximise."""
        return 1 if self.direction == "minimise" else -1

    @property
    def words(self) -> str:
        """What is looked for, as a person would say it."""
        if self.threshold is not None:
            return f"{self.direction} {self.name} to {self.threshold:g} or better"
        if self.best == 1:
            return f"{self.direction} {self.name}"
        return f"find the {self.best} candidates of {self.extreme} {self.name}"

    @property
    def extreme(self) -> Literal["lowest", "highest"]:
        """Which values are good."""
        return "lowest" if self.direction == "minimise" else "highest"

    @property
    def find_words(self) -> str:
        """What a find is, after "predicted to be"."""
        if self.threshold is not None:
            return "better than the threshold"
        return "the best of all" if self.best == 1 else f"among the best {self.best}"

    def goal(self, known: Floats, expected: Floats) -> PropertyGoal:
        """Return the goal: beyond the threshold, or without one among the best.

        Parameters
        ----------
        known
            Values that are known, float64[m].
        expected
            Means of the candidates that are not, float64[n].
        """
        if self.threshold is not None:
            return PropertyGoal(self.threshold, self.sign)
        several = known if self.best == 1 else np.concatenate([known, expected])
        return PropertyGoal(self._last(several), self.sign, self.best, known)

    def finds(self, values: Floats) -> NDArray[np.bool_]:
        """Tell which values, bool[n], are as good as the threshold, or without one the best."""
        level = self._last(values) if self.threshold is None else self.threshold
        return np.asarray(self.sign * values <= self.sign * level)

    def _last(self, values: Floats) -> float:
        """Return the value of the last of the best; ties are all as good."""
        signed = np.sort(self.sign * values)
        return float(self.sign * signed[min(self.best, len(signed)) - 1])


Problem = HullProblem | PropertyProblem
