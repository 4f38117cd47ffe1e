"""Which values of a property are good: the low, the high, or those near one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Aim:
    """What makes one value better than another: the smaller of their distances.

    Parameters
    ----------
    sign
        1 where low values are good, -1 where high ones are; without a target.
    target
        The value to come near, in the property's unit.
    """

    sign: Literal[1, -1] = 1
    target: float | None = None

    def distance(self, values: ArrayLike) -> Floats:
        """Return how far values are from good, in their unit and shape.

        From the target, at least zero; without one the value itself or its negative.
        """
        found = np.asarray(values, dtype=np.float64)
        return self.sign * found if self.target is None else np.abs(found - self.target)

    def probability(self, mean: Floats, sd: Floats, reach: float) -> Floats:
        """Return the probability of normal values to be within a distance, float64[n]."""
        near = ndtr((reach - self.distance(mean)) / sd)
        if self.target is None:
            return np.asarray(near)
        return np.asarray(near - ndtr((-reach - self.distance(mean)) / sd))
