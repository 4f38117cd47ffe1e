"""How a model's view of a pool becomes promise, belief and reasons, for each kind of problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.acquisition import Context, HullGoal, PropertyGoal
from leadline.surrogate.batch import Choice
from leadline.surrogate.explain import Why, hull_words, nearest_known, property_words
from leadline.surrogate.hull import Hull
from leadline.surrogate.pool import Pool
from leadline.surrogate.posterior import Posterior
from leadline.tasks.learn import Learned
from leadline.tasks.problem import HullProblem, Problem, PropertyProblem

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Finds = NDArray[np.bool_]


@dataclass(frozen=True)
class Search(ABC):
    """A model and its pool; the kinds of problem fill in what they look for."""

    learned: Learned
    pool: Pool

    @abstractmethod
    def goal(self, rows: Rows) -> HullGoal | PropertyGoal:
        """Return the goal for a shortlist."""

    @abstractmethod
    def gain(self, rows: Rows) -> Floats:
        """Return how far candidates are predicted beyond the level that counts, float64[n]."""

    @abstractmethod
    def find_probability(self, context: Context, finds: Finds, stretch: Floats) -> Floats:
        """Return the probability of each of a shortlist to be a find, float64[n].

        ``finds`` says which of them each joint sample makes a find, bool[s, n], and
        ``stretch`` by how much the samples were stretched, float64[s].
        """

    @abstractmethod
    def known_finds(self) -> Floats:
        """Return one for each labelled row of the pool that is a find now, else zero."""

    @abstractmethod
    def above_hull(self, energies: Floats) -> Floats | None:
        """Return the pool's energies above the known hull; None where there is none."""

    @abstractmethod
    def why(self, row: int, choice: Choice, probability: float) -> Why:
        """Return the record of why a choice was made."""

    def shortlist(
        self, free: NDArray[np.bool_], size: int, chance: Floats, q: int, waiting: Rows
    ) -> Rows:
        """Return the rows that get a joint posterior, in ascending order.

        The most promising by their optimistic value (mean and two sd), the least
        certain, the q that chance would pick, and what is pending.
        """
        rows = np.flatnonzero(free)
        sd = self.learned.sd[rows]
        chosen = [
            rows[_top(self.gain(rows) + 2.0 * sd, size - size // 4)],
            rows[_top(sd, size // 4)],
            rows[_top(chance[rows], q)],
            waiting,
        ]
        return np.unique(np.concatenate(chosen))

    def context(
        self, rows: Rows, samples: int, chance: Floats, rng: np.random.Generator
    ) -> Context:
        """Return the belief about a shortlist."""
        model = self.learned.model
        mean, covariance = model.joint(self.pool.features[rows])
        posterior = Posterior.draw(mean, covariance, model.noise_sd**2, samples=samples, rng=rng)
        return Context(posterior, self.goal(rows), chance[rows])

    def reasons(self, row: int, choice: Choice, probability: float, words: str) -> Why:
        """Return the part of the record that all kinds share."""
        training = self.learned.training
        return Why(
            share=choice.share,
            words=words,
            mean=float(self.learned.mean[row]),
            sd=float(self.learned.sd[row]),
            score=choice.score,
            stable_probability=probability,
            neighbours=nearest_known(
                self.pool.features[row],
                training.features(self.pool),
                training.ids(self.pool),
                training.labels,
            ),
        )


@dataclass(frozen=True)
class HullSearch(Search):
    """A search for every phase near the convex hull."""

    problem: HullProblem

    @cached_property
    def hull(self) -> Hull:
        """Hull of the elements and of all known phases."""
        training = self.learned.training
        return self.problem.known_hull(training.fractions(self.pool), training.labels)

    @cached_property
    def level(self) -> Floats:
        """Energy of that hull at the composition of each candidate, float64[n], in eV/atom."""
        return self.hull.energy_at(self.pool.fractions)

    def goal(self, rows: Rows) -> HullGoal:
        """Return the goal for a shortlist."""
        return self.problem.goal(self.hull, self.pool.fractions[rows])

    def gain(self, rows: Rows) -> Floats:
        """Return how far candidates are predicted below the tolerated hull, eV/atom."""
        return self.level[rows] + self.problem.tolerance - self.learned.mean[rows]

    def find_probability(self, context: Context, finds: Finds, stretch: Floats) -> Floats:
        """Return the joint probability to be within tolerance of the final hull."""
        return np.asarray(finds.mean(axis=0))

    def known_finds(self) -> Floats:
        """Return one for each labelled row within tolerance of the known hull."""
        training = self.learned.training
        above = training.y - self.level[training.pool_index]
        return (above <= self.problem.tolerance + 1e-9).astype(np.float64)

    def above_hull(self, energies: Floats) -> Floats:
        """Return the pool's energies above the known hull, float64[n], in eV/atom."""
        return np.asarray(energies - self.level)

    def why(self, row: int, choice: Choice, probability: float) -> Why:
        """Return the record of why a choice was made."""
        above = float(self.learned.mean[row] - self.level[row])
        sd = float(self.learned.sd[row])
        words = hull_words(choice.share, self.pool.formulas[row], above, sd, probability)
        return replace(self.reasons(row, choice, probability, words), energy_above_hull=above)


@dataclass(frozen=True)
class PropertySearch(Search):
    """A search for the best values of a property."""

    problem: PropertyProblem

    @cached_property
    def aim(self) -> PropertyGoal:
        """What counts, the same for each shortlist."""
        training = self.learned.training
        expected = np.delete(self.learned.mean, training.pool_index)
        return self.problem.goal(training.labels, expected)

    def goal(self, rows: Rows) -> PropertyGoal:
        """Return the goal, the same for each shortlist."""
        return self.aim

    def gain(self, rows: Rows) -> Floats:
        """Return how far candidates are predicted within the level, in the property's unit."""
        return self.aim.gain(self.learned.mean[rows])

    def find_probability(self, context: Context, finds: Finds, stretch: Floats) -> Floats:
        """Return the probability to be within the threshold, or else among the best."""
        if self.aim.best is not None:
            return np.asarray(finds.mean(axis=0))
        mean = context.posterior.mean
        each = [context.goal.probability(mean, by * context.sd) for by in stretch]
        return np.asarray(np.mean(each, axis=0))

    def known_finds(self) -> Floats:
        """Return one for each labelled row that is as good as the level that counts."""
        return (self.aim.gain(self.learned.training.y) >= 0).astype(np.float64)

    def above_hull(self, energies: Floats) -> None:
        """Return None: a property has no hull."""
        return

    def why(self, row: int, choice: Choice, probability: float) -> Why:
        """Return the record of why a choice was made."""
        words = property_words(
            choice.share,
            self.pool.formulas[row],
            self.problem.name,
            float(self.learned.mean[row]),
            float(self.learned.sd[row]),
            probability,
            self.problem.find_words,
        )
        return self.reasons(row, choice, probability, words)


def search(learned: Learned, pool: Pool, problem: Problem) -> Search:
    """Return the search that a problem asks for."""
    if isinstance(problem, HullProblem):
        return HullSearch(learned, pool, problem)
    return PropertySearch(learned, pool, problem)


def _top(values: Floats, count: int) -> Rows:
    """Return the places of the largest values, in no order."""
    count = min(count, len(values))
    if count == len(values):
        return np.arange(count)
    return np.asarray(np.argpartition(-values, count)[:count])
