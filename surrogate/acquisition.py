"""How much each candidate is worth a calculation now.

A campaign looks for phases on the convex hull of formation energies, or for
values of a property: within a threshold, or the best of the pool. Each acquisition is a
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

from leadline.surrogate.aim import Aim
from leadline.surrogate.errors import SurrogateError
from leadline.surrogate.hull import Hull, stable_in_samples
from leadline.surrogate.posterior import Posterior

Floats = NDArray[np.float64]
Goal = Literal["hull", "property"]
Scale = Literal["value", "logarithm", "other"]
CANCELLED = 1e-6
"""Share of a tent's first term below which rounding decides what is left."""


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

    def gain(self, mean: Floats) -> Floats:
        """Return how far energies are below the tolerated hull, float64[n], in eV/atom."""
        return self.level + self.tolerance - mean

    def finds(self, samples: Floats) -> NDArray[np.bool_]:
        """Tell what each joint sample, float64[s, n], makes stable, bool[s, n]."""
        return stable_in_samples(self.hull, self.fractions, samples, self.tolerance)

    def probability(self, mean: Floats, sd: Floats) -> Floats:
        """Return the probability of normal energies to be below the tolerated hull, float64[n]."""
        return np.asarray(ndtr(self.gain(mean) / sd))

    def log_improvement(self, mean: Floats, sd: Floats) -> Floats:
        """Return the logarithm of the expected depth below the tolerated hull, float64[n]."""
        return _log_expected(self.gain(mean), sd)


@dataclass(frozen=True)
class PropertyGoal:
    """Find values within a level, or the best of all.

    Parameters
    ----------
    aim
        Which values are good.
    level
        Distance up to which they count: the one asked for; without one, that of the best
        known, or where more than one is looked for, what the last of them is expected
        to have.
    best
        How many of the best are looked for; None for all within the level.
    rivals
        Known values, float64[m], which candidates have to beat to be among the best.
    """

    aim: Aim
    level: float
    best: int | None = None
    rivals: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def several(self) -> bool:
        """Whether more than one is looked for, none of them the better for being beyond it."""
        return self.aim.target is not None if self.best is None else self.best > 1

    def gain(self, values: Floats) -> Floats:
        """Return how far values are within the level, in their unit and shape."""
        return self.level - self.aim.distance(values)

    def finds(self, samples: Floats) -> NDArray[np.bool_]:
        """Tell which values of each joint sample, float64[s, n], are finds, bool[s, n].

        Where the best are looked for, each sample has its own: those that no more than
        the number asked for, among itself and the known, are as good as.
        """
        if self.best is None:
            return np.asarray(self.gain(samples) > 0)
        far, rivals = self.aim.distance(samples), np.sort(self.aim.distance(self.rivals))
        rivals = rivals[: self.best]
        every = np.hstack([np.broadcast_to(rivals, (len(far), len(rivals))), far])
        if every.shape[1] <= self.best:
            return np.ones(far.shape, dtype=bool)
        last = np.partition(every, self.best - 1, axis=1)[:, self.best - 1]
        return np.asarray(far <= last[:, None])

    def probability(self, mean: Floats, sd: Floats) -> Floats:
        """Return the probability of normal values to be within the level, float64[n]."""
        return self.aim.probability(mean, sd, self.level)

    def log_improvement(self, mean: Floats, sd: Floats) -> Floats:
        """Return the logarithm of how far normal values are expected within the level.

        About a target it is that of a tent: E[(y - a)+] - 2 E[(y - t)+] + E[(y - b)+] for
        y beyond the target t, a and b at the level to its sides. Where that cancels, the
        tent is so narrow that its area and the density of the target are all of it.
        """
        if self.aim.target is None:
            return _log_expected(self.gain(mean), sd)
        far, reach = self.aim.distance(mean), max(self.level, 1e-150)
        # Seen from the mean's own side, so that the first of the three is the largest.
        first, middle, last = (_log_expected(-far - at, sd) for at in (-reach, 0.0, reach))
        left = 1.0 - 2.0 * np.exp(middle - first) + np.exp(last - first)
        narrow = 2.0 * np.log(reach) - 0.5 * (far / sd) ** 2 - np.log(np.sqrt(2 * np.pi) * sd)
        sound = left > CANCELLED
        return np.where(sound, first + np.log(np.where(sound, left, 1.0)), narrow)


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
        """Distance of the means within the level that counts, float64[n]; higher is better."""
        return self.goal.gain(self.posterior.mean)

    @property
    def sd(self) -> Floats:
        """Standard deviation of the labels, float64[n], above zero."""
        return np.maximum(self.posterior.sd, 1e-12)


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
    scale
        ``value`` where a score is what is expected of a calculation, at least zero, and
        ``logarithm`` where it is the logarithm of that: only these can be set against the
        chance that the calculation fails, and its cost.
    """

    name: str
    score: Callable[[Context, NDArray[np.float32]], Floats]
    goals: frozenset[Goal]
    joint: bool = False
    scale: Scale = "other"

    def __call__(self, context: Context, X: NDArray[np.float32]) -> Floats:
        """Return scores, float64[n]."""
        return self.score(context, X)

    def per_cost(self, scores: Floats, success: Floats, cost: Floats) -> Floats:
        """Return what is expected for the cost, float64[n]; scores[n] where that means nothing."""
        if self.scale == "value":
            return scores * success / cost
        if self.scale == "logarithm":
            return scores + np.log(success) - np.log(cost)
        return scores


def sampled_finds(context: Context) -> NDArray[np.bool_]:
    """Tell which of the shortlist each joint sample makes a find, bool[s, n].

    For a hull what is stable with it; for a property, what is within the level, or among
    the best.
    """
    return context.goal.finds(context.posterior.samples)


def stable_probability(context: Context, X: NDArray[np.float32]) -> Floats:
    """Probability to be within tolerance of the final hull, by joint posterior hulls."""
    _hull_goal(context)
    return find_probability(context, X)


def find_probability(context: Context, X: NDArray[np.float32]) -> Floats:
    """Probability to be a find, by joint samples.

    The sum over a batch is the expected number of its finds. Candidates with the same
    share of samples are ordered by their probability against the level that counts now.
    """
    order = 1.0 / (1.0 - log_ndtr(context.gain / context.sd))
    probability = sampled_finds(context).mean(axis=0)
    return np.asarray(probability + order / (2 * len(context.posterior.samples)))


def hull_improvement(context: Context, X: NDArray[np.float32]) -> Floats:
    """Expected depth below the tolerated hull: E[max(H(x) + tolerance - E, 0)], eV/atom.

    With z = (H + tolerance - mean) / sd it is sd (z Phi(z) + phi(z)) (Jones et al.
    1998, the improvement measured from the known hull at the same composition).
    """
    goal = _hull_goal(context)
    return np.exp(goal.log_improvement(context.posterior.mean, context.sd))


def log_expected_improvement(context: Context, X: NDArray[np.float32]) -> Floats:
    """Logarithm of the expected improvement within the level (Ament et al. 2023).

    With z = gain / sd it is log(sd) + log(z Phi(z) + phi(z)), stable far from the level
    where the improvement itself is zero in floating point; about a target, of a tent.
    """
    return context.goal.log_improvement(context.posterior.mean, context.sd)


def lower_confidence_bound(context: Context, X: NDArray[np.float32]) -> Floats:
    """Depth of the lower confidence bound: H(x) + tolerance - (mean - sd), eV/atom."""
    return context.gain + context.posterior.sd


def upper_confidence_bound(context: Context, X: NDArray[np.float32]) -> Floats:
    """Optimistic distance within the level: gain + 2 sd."""
    return context.gain + 2.0 * context.posterior.sd


def greedy(context: Context, X: NDArray[np.float32]) -> Floats:
    """Distance of the mean within the level, with no regard to uncertainty."""
    return context.gain


def uncertainty(context: Context, X: NDArray[np.float32]) -> Floats:
    """Standard deviation of the label."""
    return context.posterior.sd


def random(context: Context, X: NDArray[np.float32]) -> Floats:
    """Uniform random number of each candidate."""
    return context.chance


def auto(context: Context, X: NDArray[np.float32]) -> Floats:
    """Score as :func:`chosen` does."""
    return chosen(context)(context, X)


def chosen(context: Context) -> Acquisition:
    """Return what ``auto`` is for a goal.

    The probability to be a find for a hull, a window or several of the best; else the
    logarithm of the improvement. A threshold on one side is passed by improving on it; a
    window would be passed over.
    """
    if isinstance(context.goal, HullGoal):
        return ACQUISITIONS["stable-probability"]
    return ACQUISITIONS["find-probability" if context.goal.several else "log-expected-improvement"]


_HULL: frozenset[Goal] = frozenset({"hull"})
_PROPERTY: frozenset[Goal] = frozenset({"property"})
_BOTH = _HULL | _PROPERTY

ACQUISITIONS: dict[str, Acquisition] = {
    each.name: each
    for each in (
        Acquisition("auto", auto, _BOTH, joint=True),
        Acquisition("stable-probability", stable_probability, _HULL, joint=True, scale="value"),
        Acquisition("hull-improvement", hull_improvement, _HULL, scale="value"),
        Acquisition("lower-confidence-bound", lower_confidence_bound, _HULL),
        Acquisition("find-probability", find_probability, _PROPERTY, joint=True, scale="value"),
        Acquisition(
            "log-expected-improvement", log_expected_improvement, _PROPERTY, scale="logarithm"
        ),
        Acquisition("upper-confidence-bound", upper_confidence_bound, _PROPERTY),
        Acquisition("greedy", greedy, _BOTH),
        Acquisition("uncertainty", uncertainty, _BOTH, scale="value"),
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


def _log_expected(gain: Floats, sd: Floats) -> Floats:
    return np.asarray(np.log(sd) + log_improvement(gain / sd))


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
