"""What a campaign looks for, as the mathematics needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.acquisition import HullGoal, PropertyGoal
from leadline.surrogate.aim import Aim
from leadline.surrogate.hull import Hull, energies_above_hull

Floats = NDArray[np.float64]
ROUNDING = 1e-12
"""Of the distance of a value that stands just at the edge."""


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
    """Find the lowest or the highest values of a property, or those near a value.

    Parameters
    ----------
    name
        The property.
    direction
        ``minimise`` or ``maximise``, without a target or a window.
    threshold
        A value this good counts as found, in the property's unit.
    best
        How many of the best are looked for, without a threshold or a window.
    target
        The value that the best come near, in the property's unit.
    window
        Lowest and highest value that count as found, in the property's unit.
    """

    name: str
    direction: Literal["minimise", "maximise"] = "minimise"
    threshold: float | None = None
    best: int = 1
    target: float | None = None
    window: tuple[float, float] | None = None
    kind: Literal["property"] = "property"

    @property
    def aim(self) -> Aim:
        """Which values are good."""
        target = sum(self.window) / 2 if self.window else self.target
        return Aim(1 if self.direction == "minimise" else -1, target)

    @property
    def reach(self) -> float | None:
        """Distance of the aim up to which a value counts; None where the best are looked for."""
        if self.window:
            return (self.window[1] - self.window[0]) / 2
        return None if self.threshold is None else float(self.aim.distance(self.threshold))

    @property
    def words(self) -> str:
        """What is looked for, as a person would say it."""
        if self.threshold is not None:
            return f"{self.direction} {self.name} to {self.threshold:g} or better"
        if self.best == 1 and self.aim.target is None:
            return f"{self.direction} {self.name}"
        return f"find {self.criterion}"

    @property
    def criterion(self) -> str:
        """What counts as a find."""
        if self.window:
            return f"{self.name} from {self.window[0]:g} to {self.window[1]:g}"
        if self.threshold is not None:
            sign = "<=" if self.direction == "minimise" else ">="
            return f"{self.name} {sign} {self.threshold:g}"
        several = "" if self.best == 1 else f"{self.best} candidates of "
        if self.target is not None:
            return f"the {several}{self.name} nearest to {self.target:g}"
        extreme = "lowest" if self.direction == "minimise" else "highest"
        return f"the {several}{extreme} {self.name}"

    @property
    def marks(self) -> tuple[str, Sequence[float]]:
        """The values that were asked for, and what they are called."""
        if self.window:
            return "window", self.window
        if self.target is not None:
            return "target", (self.target,)
        return "threshold", () if self.threshold is None else (self.threshold,)

    @property
    def find_words(self) -> str:
        """What a find is, after what a candidate is predicted to have."""
        if self.window:
            return "in the window"
        if self.threshold is not None:
            return "better than the threshold"
        return "the best of all" if self.best == 1 else f"among the best {self.best}"

    def goal(self, known: Floats, expected: Floats) -> PropertyGoal:
        """Return the goal: within the threshold or window, or without one among the best.

        Parameters
        ----------
        known
            Values that are known, float64[m].
        expected
            Means of the candidates that are not, float64[n].
        """
        if self.reach is not None:
            return PropertyGoal(self.aim, self.reach)
        several = known if self.best == 1 else np.concatenate([known, expected])
        return PropertyGoal(self.aim, self._last(several), self.best, known)

    def finds(self, values: Floats) -> NDArray[np.bool_]:
        """Tell which values, bool[n], are as good as what is asked for, or else the best."""
        reach = self._last(values) if self.reach is None else self.reach
        return np.asarray(self.aim.distance(values) <= reach + ROUNDING * abs(reach))

    def _last(self, values: Floats) -> float:
        """Return the distance of the last of the best; ties are all as good."""
        far = np.sort(self.aim.distance(values))
        return float(far[min(self.best, len(far)) - 1])


Problem = HullProblem | PropertyProblem


def problem_of(objective: Mapping[str, Any]) -> Problem:
    """Return what a stored spec looks for."""
    if objective["kind"] == "hull":
        return HullProblem(float(objective["tolerance"]))
    asked = ("direction", "threshold", "best", "target")  # old records lack the younger ones
    window = objective.get("window")
    return PropertyProblem(
        objective["property"],
        **{key: objective[key] for key in asked if key in objective},
        window=None if window is None else (window[0], window[1]),
    )
