"""Propose: from a model to the candidates to calculate next, each with its reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.acquisition import acquisition, sampled_finds
from leadline.surrogate.batch import Choice, Shares, choose
from leadline.surrogate.explain import Why, without_model
from leadline.surrogate.failures import FailureModel
from leadline.surrogate.missed import Missed, Rest, missed
from leadline.surrogate.pool import Pool
from leadline.surrogate.spread import AS_STATED, stretches
from leadline.tasks.learn import Learned
from leadline.tasks.problem import Problem
from leadline.tasks.search import Search, search

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Cost = Callable[[Rows], Floats]
"""What the calculations of rows of the pool cost, float64[n], in any unit above zero."""

NO_SURPRISES = np.empty(0)
"""Before any prediction was answered."""


@dataclass(frozen=True)
class ProposeSettings:
    """How candidates are chosen.

    Parameters
    ----------
    acquisition
        Name in the table of acquisitions.
    shares
        How many picks serve uncertainty and chance.
    shortlist
        Candidates that get a joint posterior: the most promising three quarters, and
        the least certain quarter.
    samples
        Joint posterior samples, each with a hull of its own.
    """

    acquisition: str = "auto"
    shares: Shares = field(default_factory=Shares)
    shortlist: int = 1000
    samples: int = 128


@dataclass(frozen=True)
class Pick:
    """A candidate to calculate: its row in the pool, its id, and why."""

    row: int
    id: str
    why: Why


@dataclass(frozen=True)
class Outlook:
    """What a model says of each candidate of the pool.

    Parameters
    ----------
    mean, sd
        float64[n], in the label's unit; for known candidates the label and zero.
    energy_above_hull
        Of the mean over the known hull, float64[n], in eV/atom; None for a property.
    probability
        To be a find, float64[n], in the shortlist, and zero beyond it: joint stability
        for a hull; for a property, to be beyond the threshold or else among the best.
    missed
        What is expected of all that is not known.
    """

    mean: Floats
    sd: Floats
    energy_above_hull: Floats | None
    probability: Floats
    missed: Missed


def start_picks(
    pool: Pool, q: int, rng: np.random.Generator, closed: Iterable[int] = ()
) -> list[Pick]:
    """Return q random candidates for the first round, fewer if the pool is smaller.

    Rows that are ``closed`` (known, failed, vetoed, pending) are left out.
    """
    free = np.flatnonzero(_open(pool, closed))
    rows = rng.permutation(free)[:q]
    return [Pick(int(row), pool.ids[row], without_model("start")) for row in rows]


def propose(
    learned: Learned,
    pool: Pool,
    problem: Problem,
    settings: ProposeSettings,
    q: int,
    rng: np.random.Generator,
    *,
    pending: Iterable[int] = (),
    closed: Iterable[int] = (),
    failed: Iterable[int] = (),
    cost: Cost | None = None,
) -> list[Pick]:
    """Return the q candidates to calculate next, fewer if the pool runs out.

    Parameters
    ----------
    learned
        The model and its view of the pool.
    pool
        The pool.
    problem
        What is looked for.
    settings
        How to choose.
    q
        How many.
    rng
        The only source of chance; the same state gives the same picks.
    pending
        Rows whose calculations run or wait: the belief takes them in as expected.
    closed
        Rows never to propose again: failed, vetoed, known under another id.
    failed
        Rows whose calculations gave no answer: those like them wait.
    cost
        What the calculations of rows cost, float64[n], if picks are to be worth it.

    Returns
    -------
    Picks in order: those that exploit first, then uncertainty, then random.
    """
    waiting = np.unique(np.fromiter(pending, dtype=np.int64))
    free = _open(pool, [*closed, *waiting.tolist(), *learned.training.pool_index.tolist()])
    view = search(learned, pool, problem)
    chance = rng.random(len(pool))
    rows = view.shortlist(free, settings.shortlist, chance, q, waiting)
    context = view.context(rows, settings.samples, chance, rng)
    probability = view.find_probability(context, sampled_finds(context), AS_STATED)
    for place in np.flatnonzero(np.isin(rows, waiting)):
        context = replace(context, posterior=context.posterior.given(int(place)))
    risk = _failure_probability(learned, pool, rows, failed)
    choices = choose(
        context,
        np.asarray(pool.features[rows]),
        acquisition(settings.acquisition, problem.kind),
        settings.shares.split(q, rng),
        free[rows],
        success=None if risk is None else 1.0 - risk,
        cost=None if cost is None else cost(rows),
    )
    return [_picked(view, rows, choice, probability, risk) for choice in choices]


def _picked(
    view: Search, rows: Rows, choice: Choice, probability: Floats, risk: Floats | None
) -> Pick:
    row = int(rows[choice.row])
    why = view.why(row, choice, float(probability[choice.row]))
    if risk is not None:
        why = replace(why, failure_probability=float(risk[choice.row]))
    return Pick(row, view.pool.ids[row], why)


def pool_outlook(
    learned: Learned,
    pool: Pool,
    problem: Problem,
    settings: ProposeSettings,
    rng: np.random.Generator,
    *,
    surprises: Floats = NO_SURPRISES,
    closed: Iterable[int] = (),
) -> Outlook:
    """Return what the model says of each candidate, and how many finds are left.

    Unlike picks, which only rank, what is said here is believed as far as the campaign's own
    ``surprises`` allow, (answer - mean) / sd of predictions made before their answers.
    ``closed`` rows (failed, vetoed) have probability zero; known rows have one or zero.
    """
    training = learned.training
    free = _open(pool, [*closed, *training.pool_index.tolist()])
    view = search(learned, pool, problem)
    chance = np.zeros(len(pool))
    rows = view.shortlist(free, settings.shortlist, chance, 0, np.empty(0, np.int64))
    context = view.context(rows, settings.samples, chance, rng)
    stretch = stretches(surprises, settings.samples, rng)
    context = replace(context, posterior=context.posterior.stretched(stretch))
    finds = sampled_finds(context)
    found = view.find_probability(context, finds, stretch)
    rest = np.setdiff1d(np.flatnonzero(free), rows)
    mean, sd = learned.mean.copy(), learned.sd.copy()
    mean[training.pool_index], sd[training.pool_index] = training.y, 0.0
    probability = np.zeros(len(pool))
    probability[rows] = found
    probability[training.pool_index] = view.known_finds()
    others = Rest(view.goal(rest), learned.mean[rest], learned.sd[rest])
    left = missed(context, finds, found, others, stretch)
    return Outlook(mean, sd, view.above_hull(mean), probability, left)


def _failure_probability(
    learned: Learned, pool: Pool, rows: Rows, failed: Iterable[int]
) -> Floats | None:
    """Return the probability that rows give no answer, or None where none has failed yet."""
    lost = np.unique(np.fromiter(failed, dtype=np.int64))
    if not len(lost):
        return None
    answered = np.setdiff1d(learned.training.pool_index, lost)
    tried = np.concatenate([answered, lost])
    model = FailureModel.fit(pool.features[tried], np.arange(len(tried)) >= len(answered))
    return model.probability(pool.features[rows])


def _open(pool: Pool, closed: Iterable[int]) -> NDArray[np.bool_]:
    free = np.ones(len(pool), dtype=bool)
    free[np.fromiter(closed, dtype=np.int64)] = False
    return free
