"""What a model believes of a shortlist, and how belief narrows with each pick.

After a pick the covariance loses what the pick will tell (a rank-one downdate)
and the mean stays, since the expected answer is the mean itself: the kriging
believer (Ginsbourger et al. 2010). A pending calculation is treated the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, eigh

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """Joint normal belief about the labels of n candidates.

    Parameters
    ----------
    mean
        float64[n], in the label's unit.
    covariance
        Of the function behind the labels, float64[n, n].
    noise
        Variance of a label about the function.
    samples
        Joint samples of the labels, float64[s, n]; s may be 0.
    """

    mean: Floats
    covariance: Floats
    noise: float
    samples: Floats

    @classmethod
    def draw(
        cls,
        mean: Floats,
        covariance: Floats,
        noise: float,
        *,
        samples: int,
        rng: np.random.Generator,
    ) -> Posterior:
        """Return the belief with joint samples drawn from it."""
        n = len(mean)
        if not samples:
            return cls(mean, covariance, noise, np.empty((0, n)))
        labels = covariance + noise * np.eye(n)
        drawn = mean + rng.standard_normal((samples, n)) @ _root(labels).T
        return cls(mean, covariance, noise, drawn)

    def stretched(self, by: Floats) -> Posterior:
        """Return the belief whose samples lie further from the mean, each by its factor[s]."""
        return replace(self, samples=self.mean + by[:, None] * (self.samples - self.mean))

    @property
    def sd(self) -> Floats:
        """Standard deviation of the labels, float64[n]."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0.0) + self.noise))

    def given(self, row: int) -> Posterior:
        """Return the belief once the label of one candidate turns out as expected."""
        column = self.covariance[:, row]
        variance = max(column[row], 0.0) + self.noise
        if variance <= 0.0:
            return self
        covariance = self.covariance - np.outer(column, column / variance)
        if not len(self.samples):
            return replace(self, covariance=covariance)
        surprise = self.samples[:, row] - self.mean[row]
        moved = self.samples - np.outer(surprise, column / variance)
        moved[:, row] = self.mean[row]
        return replace(self, covariance=covariance, samples=moved)


def _root(covariance: Floats) -> Floats:
    """Return R with R R' = covariance; rounding below zero is cut off."""
    try:
        return np.asarray(cholesky(covariance, lower=True))
    except LinAlgError:
        values, vectors = eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
