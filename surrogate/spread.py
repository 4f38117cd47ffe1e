"""How far to trust a stated spread, by how far answers fell from predictions made before them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gamma, norm, t

Floats = NDArray[np.float64]

AS_STATED = np.ones(1)
"""The stretch of a belief that is taken at its word."""
SCALES = np.geomspace(0.3, 5.0, 60)
"""Scales of the surprises that are considered."""
SCALE_PRIOR = 0.5
"""Standard deviation of the logarithm of the scale before any answer; its mean is zero."""
TAILS = np.geomspace(2.0, 100.0, 30)
"""Degrees of freedom of the surprises that are considered; 100 is as good as normal."""
TAIL_PRIOR = {"a": 2.0, "scale": 10.0}
"""Gamma distribution of the degrees of freedom before any answer (Juárez and Steel 2010)."""


def stretches(surprises: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Return by how much to stretch each joint sample about its mean, float64[s].

    Surprises z = (answer - mean) / sd are taken to follow a Student's t of unknown scale
    and degrees of freedom. Both are drawn from their posterior, and the stretch then so
    that the sample has the t's tail: what is unlikely to a normal belief, and happened
    before, is expected to happen again. A scale below one is not used: a model that was
    too cautious so far may be too sure of what is left.

    Parameters
    ----------
    surprises
        Of predictions made before their answers, float64[n]; with none the priors speak.
    samples
        How many joint samples there are.
    rng
        The only source of chance.
    """
    chosen = rng.choice(len(SCALES) * len(TAILS), size=samples, p=_posterior(surprises).ravel())
    scale, tail = np.unravel_index(chosen, (len(SCALES), len(TAILS)))
    degrees = TAILS[tail]
    return np.asarray(np.maximum(SCALES[scale], 1.0) * np.sqrt(degrees / rng.chisquare(degrees)))


def _posterior(surprises: Floats) -> Floats:
    """Probability of each scale and number of degrees of freedom, on equal steps of logarithms."""
    log_scale = norm.logpdf(np.log(SCALES), scale=SCALE_PRIOR)
    log_tail = gamma.logpdf(TAILS, **TAIL_PRIOR) + np.log(TAILS)
    z = surprises[:, None, None] / SCALES[:, None]
    likelihood = (t.logpdf(z, TAILS) - np.log(SCALES)[:, None]).sum(axis=0)
    density = log_scale[:, None] + log_tail + likelihood
    weights = np.exp(density - density.max())
    return np.asarray(weights / weights.sum())
