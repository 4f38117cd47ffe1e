"""How much each candidate is worth a calculation now.

A campaign looks for phases on the convex hull of formation energies, or for
values of a property: beyond a threshold, or the best of the pool. Each acquisition is a
function of the belief about a shortlist; higher scores are better. A further
one is a line in the table, or an entry point of the group
``leadline.acquisitions`` that names an :class:`Acquisition`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

from leadline.surrogate.errors import SurrogateError
from leadline.surrogate.hull import Hull, stable_in_samples
from leadline.surrogate.posterior import Posterior

Floats = NDArray[np.float64]
Goal = Literal["hull", "property"]


@dataclass(frozen=True)
class HullGoal:
    """Find every phase within tolerance of the convex hull.

    Parameters
    ----------
    hull
        Hull of the known phases, energies in eV/atom.
    fractions
        Atomic fractions of the shortlist, float64[n, k].
    tolerance
        Energy above the hull that still counts, in eV/atom.
    """

    hull: Hull
    fractions: Floats
    tolerance: float

    @cached_property
    def level(self) -> Floats:
        """Energy of the known hull at each composition, float64[n], in eV/atom."""
        return self.hull.energy_at(self.fractions)


@dataclass(frozen=True)
class PropertyGoal:
    """Find values below (sign = 1) or above (sign = -1) a level, or the best of all.

    Parameters
    ----------
    level
        The threshold asked for; without one, the best known value, or where more than
        one is looked for, the value that the last of them is expected to have.
    sign
        1 to minimise, -1 to maximise.
    best
        How many of the best are looked for; None for all beyond the level.
    rivals
        Known values, float64[m], which candidates have to beat to be among the best.
    """

    level: float
    sign: Literal[1, -1]
    best: int | None = None
    rivals: Floats = field(default_factory=lambda: np.empty(0))

    def gain(self, values: Floats) -> Floats:
        """Return how far values are beyond the level, in their unit and shape."""
        return self.sign * (self.level - values)

    def finds(self, samples: Floats) -> NDArray[np.bool_]:
        """Tell which values of each joint sample, float64[s, n], are finds, bool[s, n].

        Where the best are looked for, each sample has its own: those that no more than
        the number asked for, among itself and the known, are as good as.
        """
        if self.best is None:
            return np.asarray(self.gain(samples) > 0)
        signed, rivals = self.sign * samples, np.sort(self.sign * self.rivals)[: self.best]
        every = np.hstack([np.broadcast_to(rivals, (len(signed), len(rivals))), signed])
        if every.shape[1] <= self.best:
            return np.ones(signed.shape, dtype=bool)
        last = np.partition(every, self.best - 1, axis=1)[:, self.best - 1]
        return np.asarray(signed <= last[:, None])


@dataclass(frozen=True)
class Context:
    """What an acquisition may look at besides the candidates' features.

    Parameters
    ----------
    posterior
        Belief about the shortlist, pending calculations and earlier picks of the
        batch taken as if they came out as expected.
    goal
        What the campaign looks for.
    chance
        A uniform random number for each candidate, float64[n]: the only source of
        chance beside the posterior's samples.
    """

    posterior: Posterior
    goal: HullGoal | PropertyGoal
    chance: Floats

    @property
    def gain(self) -> Floats:
        """Expected distance beyond the level that counts, float64[n]; higher is better."""
        if isinstance(self.goal, HullGoal):
            return self.goal.level + self.goal.tolerance - self.posterior.mean
        return self.goal.gain(self.posterior.mean)


@dataclass(frozen=True)
class Acquisition:
    """A scoring rule.

    Parameters
    ----------
    name
        What a campaign file calls it.
    score
        ``score(context, X) -> float64[n]`` for features X[n, d]; higher is better.
    goals
        What it can look for.
    joint
        True if it needs joint samples of the labels.
    """

    name: str
    score: Callable[[Context, NDArray[np.float32]], Floats]
    goals: frozenset[Goal]
    joint: bool = False

    def __call__(self, context: Context, X: NDArray[np.float32]) -> Floats:
        """Return scores, float64[n]."""
        return self.score(context, X)


def sampled_finds(context: Context) -> NDArray[np.bool_]:
    """Tell which of the shortlist each joint sample makes a find, bool[s, n].

    For a hull by :func:`stable_in_samples`; for a property, what is beyond the level, or
    among the best.
    """
    goal, samples = context.goal, context.posterior.samples
    if isinstance(goal, HullGoal):
        return stable_in_samples(goal.hull, goal.fractions, samples, goal.tolerance)
    return goal.finds(samples)


def stable_probability(context: Context, X: NDArray[np.float32]) -> Floats:
    """Probability to be within tolerance of the final hull, by joint posterior hulls."""
    _hull_goal(context)
    return find_probability(context, X)


def find_probability(context: Context, X: NDArray[np.float32]) -> Floats:
    """Probability to be a find, by joint samples.

    The sum over a batch is the expected number of its finds. Candidates with the same
    share of samples are ordered by their probability against the level that counts now.
    """
    order = 1.0 / (1.0 - log_ndtr(context.gain / _positive(context.posterior.sd)))
    probability = sampled_finds(context).mean(axis=0)
    return np.asarray(probability + order / (2 * len(context.posterior.samples)))


def hull_improvement(context: Context, X: NDArray[np.float32]) -> Floats:
    """Expected depth below the tolerated hull: E[max(H(x) + tolerance - E, 0)], eV/atom.

    With z = (H + tolerance - mean) / sd it is sd (z Phi(z) + phi(z)) (Jones et al.
    1998, the improvement measured from the known hull at the same composition).
    """
    _hull_goal(context)
    return expected_improvement(context.gain, context.posterior.sd)


def log_expected_improvement(context: Context, X: NDArray[np.float32]) -> Floats:
    """Logarithm of the expected improvement beyond the level (Ament et al. 2023).

    With z = sign (level - mean) / sd it is log(sd) + log(z Phi(z) + phi(z)),
    stable far below the level where the improvement itself is zero in floating point.
    """
    return _log_expected(context.gain, context.posterior.sd)


def expected_improvement(gain: Floats, sd: Floats) -> Floats:
    """Return E[max(g, 0)] for normal g of mean ``gain`` and deviation ``sd``, in their unit."""
    return np.asarray(np.exp(_log_expected(gain, sd)))


def lower_confidence_bound(context: Context, X: NDArray[np.float32]) -> Floats:
    """Depth of the lower confidence bound: H(x) + tolerance - (mean - sd), eV/atom."""
    return context.gain + context.posterior.sd


def upper_confidence_bound(context: Context, X: NDArray[np.float32]) -> Floats:
    """Optimistic value beyond the level, in the direction asked for: gain + 2 sd."""
    return context.gain + 2.0 * context.posterior.sd


def greedy(context: Context, X: NDArray[np.float32]) -> Floats:
    """Predicted mean beyond the level, with no regard to uncertainty."""
    return context.gain


def uncertainty(context: Context, X: NDArray[np.float32]) -> Floats:
    """Standard deviation of the label."""
    return context.posterior.sd


def random(context: Context, X: NDArray[np.float32]) -> Floats:
    """Uniform random number of each candidate."""
    return context.chance


def auto(context: Context, X: NDArray[np.float32]) -> Floats:
    """Probability to be a find for a hull or several of the best, else log improvement."""
    goal = context.goal
    several = isinstance(goal, HullGoal) or (goal.best is not None and goal.best > 1)
    return find_probability(context, X) if several else log_expected_improvement(context, X)


_HULL: frozenset[Goal] = frozenset({"hull"})
_PROPERTY: frozenset[Goal] = frozenset({"property"})
_BOTH = _HULL | _PROPERTY

ACQUISITIONS: dict[str, Acquisition] = {
    each.name: each
    for each in (
        Acquisition("auto", auto, _BOTH, joint=True),
        Acquisition("stable-probability", stable_probability, _HULL, joint=True),
        Acquisition("hull-improvement", hull_improvement, _HULL),
        Acquisition("lower-confidence-bound", lower_confidence_bound, _HULL),
        Acquisition("find-probability", find_probability, _PROPERTY, joint=True),
        Acquisition("log-expected-improvement", log_expected_improvement, _PROPERTY),
        Acquisition("upper-confidence-bound", upper_confidence_bound, _PROPERTY),
        Acquisition("greedy", greedy, _BOTH),
        Acquisition("uncertainty", uncertainty, _BOTH),
        Acquisition("random", random, _BOTH),
    )
}


def acquisition(name: str, goal: Goal) -> Acquisition:
    """Return the acquisition of that name, ours or an installed package's.

    Raises
    ------
    SurrogateError
        If there is none of that name, or it does not serve the goal.
    """
    known = ACQUISITIONS | {
        point.name: point for point in entry_points(group="leadline.acquisitions")
    }
    found = known.get(name)
    if found is None:
        raise SurrogateError(
            f"there is no acquisition {name!r}; there are {', '.join(sorted(known))}"
        )
    chosen = found if isinstance(found, Acquisition) else found.load()
    if goal not in chosen.goals:
        fitting = [each.name for each in ACQUISITIONS.values() if goal in each.goals]
        raise SurrogateError(
            f"acquisition {name!r} does not serve a {goal} objective; "
            f"these do: {', '.join(fitting)}"
        )
    return chosen


def _hull_goal(context: Context) -> HullGoal:
    if not isinstance(context.goal, HullGoal):
        raise SurrogateError("this acquisition looks for stable phases; the goal is a property")
    return context.goal


def _positive(sd: Floats) -> Floats:
    return np.maximum(sd, 1e-12)


def _log_expected(gain: Floats, sd: Floats) -> Floats:
    positive = _positive(sd)
    return np.asarray(np.log(positive) + log_improvement(gain / positive))


def log_improvement(z: Floats) -> Floats:
    """Return log(z Phi(z) + phi(z)) without cancellation, for any z.

    Below z = -1, phi(z) is taken out: 1 + z Phi(z)/phi(z), where Phi/phi is a scaled
    complementary error function; below -1e3 its expansion 1/z^2 serves.
    """
    z = np.asarray(z, dtype=np.float64)
    log_phi = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    high = np.maximum(z, -1.0)
    near = np.log(high * ndtr(high) + np.exp(-0.5 * high**2) / np.sqrt(2 * np.pi))
    low = np.clip(z, -1e3, -1.0)
    ratio = np.sqrt(np.pi / 2) * erfcx(-low / np.sqrt(2))
    middle = log_phi + np.log(np.maximum(1 + low * ratio, 1e-300))
    far = log_phi - 2 * np.log(np.abs(np.minimum(z, -1.0)))
    return np.asarray(np.where(z > -1, near, np.where(z > -1e3, middle, far)))
