"""What a search may still miss: the evidence that its end is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.acquisition import Context, HullGoal, PropertyGoal

Floats = NDArray[np.float64]

CERTAIN = 1.0 - 1e-15
"""Largest probability whose logarithm of the other case is a number."""


@dataclass(frozen=True)
class Missed:
    """What the model expects of the candidates that are not known.

    Parameters
    ----------
    expected
        Finds expected among them: the sum of their probabilities.
    none
        Probability that none of them is a find.
    largest_improvement
        Largest expected improvement beyond the level that counts, as the model states its
        spread, in the label's unit.
    agreement
        Share of the joint samples whose hull is the known one; None for a property.
    """

    expected: float
    none: float
    largest_improvement: float
    agreement: float | None = None

    @classmethod
    def of(cls, metrics: Mapping[str, float | None]) -> Missed | None:
        """Return what :func:`kept` was made from; None where there was nothing."""
        expected, none = metrics.get("expected_missed"), metrics.get("none_missed")
        improvement = metrics.get("largest_improvement")
        if expected is None or none is None or improvement is None:
            return None
        return cls(expected, none, improvement, metrics.get("hull_agreement"))


def kept(missed: Missed | None) -> dict[str, float | None]:
    """Return the numbers by the names under which a round keeps them."""
    if missed is None:
        return {"expected_missed": None}
    return {
        "expected_missed": missed.expected,
        "none_missed": missed.none,
        "largest_improvement": missed.largest_improvement,
        "hull_agreement": missed.agreement,
    }


@dataclass(frozen=True)
class Rest:
    """What is believed of m candidates one by one.

    Parameters
    ----------
    goal
        What counts, for each of them.
    mean, sd
        Of their labels as the model states them, float64[m].
    """

    goal: HullGoal | PropertyGoal
    mean: Floats
    sd: Floats


def missed(
    context: Context,
    finds: NDArray[np.bool_],
    probability: Floats,
    rest: Rest,
    stretch: Floats,
) -> Missed:
    """Return what may be missed among a shortlist and the rest of the unknown candidates.

    The shortlist is judged by its joint samples. The rest are told by their marginals
    against the known hull or level, stretched with each sample, as if independent but for
    that: each is unlikely, and their joint distribution would take their covariance.

    Parameters
    ----------
    context
        Belief about the shortlist.
    finds
        What :func:`~leadline.surrogate.acquisition.sampled_finds` says of it, bool[s, n].
    probability
        Of each of it to be a find, float64[n].
    rest
        What is believed of the others.
    stretch
        Of each sample, float64[s], as in :func:`~leadline.surrogate.spread.stretches`.
    """
    sd = np.maximum(rest.sd, 1e-12)
    beyond = [rest.goal.probability(rest.mean, by * sd) for by in stretch]
    none = np.exp([np.log1p(-np.minimum(each, CERTAIN)).sum() for each in beyond])
    improvements = [
        context.goal.log_improvement(context.posterior.mean, context.sd),
        rest.goal.log_improvement(rest.mean, sd),
    ]
    return Missed(
        expected=float(probability.sum() + np.mean([each.sum() for each in beyond])),
        none=float((~finds.any(axis=1) * none).mean()),
        largest_improvement=float(np.exp(np.max(np.concatenate(improvements), initial=-np.inf))),
        agreement=_agreement(context),
    )


def _agreement(context: Context) -> float | None:
    """Share of samples in which no candidate is below the known hull."""
    if not isinstance(context.goal, HullGoal):
        return None
    above = context.posterior.samples >= context.goal.level
    return float(above.all(axis=1).mean())
