"""Campaigns over random halves of a data set, up to what their stop certificates claim."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from leadline.flows.backtest import BacktestPlan, one_thread_each, target_rows
from leadline.flows.backtest_data import BacktestData
from leadline.surrogate.missed import Missed
from leadline.surrogate.stopping import Limits, Progress, trusted, verdict
from leadline.tasks.learn import Learned, Training, learn
from leadline.tasks.problem import HullProblem
from leadline.tasks.propose import Pick, pool_outlook, propose, start_picks

Floats = NDArray[np.float64]

ENOUGH = 0.5
"""Finds expected to be missing below which a campaign stops, as by default."""
SURE = 0.9
"""Probability that none is missing from which it is said to be so."""


@dataclass(frozen=True)
class Claim:
    """What was claimed first, and what was really missing then.

    ``calculations`` and ``missing`` are None where nothing was claimed before half of
    the pool was calculated.
    """

    calculations: int | None = None
    missing: int | None = None


@dataclass(frozen=True)
class Replay:
    """One campaign: its claim that few are missing, and its claim that none is."""

    few: Claim
    none: Claim


def half(data: BacktestData, seed: int) -> BacktestData:
    """Return a random half of a data set, all elements in it."""
    rng = np.random.default_rng((seed, 2))
    others = np.setdiff1d(np.arange(len(data.pool)), data.given)
    rows = np.sort(np.concatenate([data.given, rng.permutation(others)[: len(others) // 2]]))
    return replace(
        data,
        pool=data.pool.only(rows),
        names=tuple(data.names[row] for row in rows),
        y=data.y[rows],
        given=np.searchsorted(rows, data.given),
    )


def replayed(data: BacktestData, plan: BacktestPlan, seed: int) -> Replay:
    """Run a campaign until both claims are made, or half of its pool is calculated."""
    pool, rng = data.pool, np.random.default_rng((seed, 1))
    targets = set(target_rows(data, plan.problem))
    picks: list[Pick] = start_picks(
        pool, plan.start, np.random.default_rng((seed, 0)), data.given.tolist()
    )
    learned: Learned | None = None
    few = none = Claim()
    while None in (few.calculations, none.calculations) and len(picks) <= len(pool) // 2:
        rows = [pick.row for pick in picks]
        known = np.concatenate([data.given, np.array(rows, dtype=np.int64)])
        learned = learn(pool, Training(known, data.y[known]), plan.learning, learned)
        found = _surprises(data, picks)
        left = pool_outlook(
            learned, pool, plan.problem, plan.proposing, rng, surprises=found
        ).missed
        progress = _progress(data, picks, left, found)
        missing = len(targets - set(rows))
        if few.calculations is None and verdict(Limits(expected_missed=ENOUGH), progress).stop:
            few = Claim(len(rows), missing)
        if none.calculations is None and left.none >= SURE and trusted(progress):
            none = Claim(len(rows), missing)
        picks += propose(learned, pool, plan.problem, plan.proposing, plan.batch, rng)
    return Replay(few, none)


def _surprises(data: BacktestData, picks: Sequence[Pick]) -> Floats:
    told = [pick for pick in picks if pick.why.mean is not None and pick.why.sd]
    return np.array([(data.y[pick.row] - pick.why.mean) / pick.why.sd for pick in told])


def _progress(data: BacktestData, picks: Sequence[Pick], left: Missed, found: Floats) -> Progress:
    return Progress(
        calculations=len(picks),
        hours=0.0,
        unknown=len(data.pool) - len(picks) - len(data.given),
        barren_rounds=0,
        missed=left,
        z_spread=float(np.sqrt(np.mean(found**2))) if len(found) else None,
        predictions=len(found),
    )


def replays(
    data: BacktestData, plan: BacktestPlan, tolerance: float, seeds: Sequence[int], processes: int
) -> list[Replay]:
    """Return the replays of all seeds at one tolerance, each on a half of its own."""
    at = replace(plan, problem=HullProblem(tolerance))
    replay = partial(_replayed, data, at)
    context = multiprocessing.get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(processes, context) as executor:
        return list(executor.map(replay, seeds))


def _replayed(data: BacktestData, plan: BacktestPlan, seed: int) -> Replay:
    return replayed(half(data, seed), plan, seed)


def interval(values: Floats) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of a mean."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
