"""The loop over a finished data set, beside a random, a greedy and an uncertainty twin.

The steps are the campaign's own, learn and propose; an oracle that answers only for
picks on record stands for the calculations. All policies start a seed from the same
random picks, so that their results can be compared pairwise.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from leadline.flows.backtest_data import BacktestData
from leadline.flows.backtest_oracle import Oracle
from leadline.flows.backtest_summary import summary
from leadline.surrogate.batch import Shares
from leadline.tasks.errors import CandidateError
from leadline.tasks.learn import Learned, LearnSettings, Training, learn
from leadline.tasks.problem import HullProblem, Problem
from leadline.tasks.propose import ProposeSettings, propose, start_picks

TWINS = ("random", "greedy", "uncertainty")


@dataclass(frozen=True)
class BacktestPlan:
    """What is repeated for each policy and seed.

    Parameters
    ----------
    problem
        What is looked for.
    batch, start, budget
        Picks of a round, random picks of the first round, and picks in all.
    learning, proposing
        Settings of the steps; ``proposing.acquisition`` names the policy under test.
    """

    problem: Problem
    batch: int = 10
    start: int = 10
    budget: int = 200
    learning: LearnSettings = field(default_factory=LearnSettings)
    proposing: ProposeSettings = field(default_factory=ProposeSettings)

    @property
    def policies(self) -> tuple[str, ...]:
        """The acquisition of the campaign file and its twins."""
        return tuple(dict.fromkeys((self.proposing.acquisition, *TWINS)))


def run_backtest(
    data: BacktestData,
    plan: BacktestPlan,
    seeds: Sequence[int],
    *,
    spec_sha256: str,
    journal: Path | None = None,
    processes: int | None = None,
    on_run: Callable[[dict[str, Any]], None] = lambda run: None,
) -> dict[str, Any]:
    """Run every policy with every seed and return what a stranger can check.

    Parameters
    ----------
    data
        The finished data set.
    plan
        What is repeated.
    seeds
        One run of each policy a seed.
    spec_sha256
        Hash of the campaign file.
    journal
        File for the batches as they are made, one JSON line each.
    processes
        Runs at once, one thread each; 1 stays in this process. Default: a run a core.
    on_run
        Called with each finished run's part of the JSON.

    Returns
    -------
    dict
        ``data``, ``spec``, ``targets``, ``runs`` and ``summary`` as JSON values;
        :func:`leadline.flows.backtest_summary.summary` says what the last holds.

    Raises
    ------
    CandidateError
        If the data set holds nothing that counts as a find.
    """
    targets = target_rows(data, plan.problem)
    if not targets:
        raise CandidateError(
            f"{data.path}: nothing among its {len(data.pool)} candidates counts as a find "
            f"({criterion(plan.problem)}); ask for a looser threshold or tolerance"
        )
    jobs = [(policy, seed) for seed in seeds for policy in plan.policies]
    runs = {}
    for job, batches in _all_batches(data, plan, jobs, journal, processes):
        runs[job] = _run_plain(data, job, batches, targets)
        on_run(runs[job])
    ordered = [runs[job] for job in jobs]
    candidates = len(data.pool) - len(data.given)
    return {
        "data": {"path": data.path, "sha256": data.sha256},
        "spec": {"sha256": spec_sha256},
        "targets": {
            "criterion": criterion(plan.problem),
            "ids": [data.names[row] for row in targets],
        },
        "runs": ordered,
        "summary": summary(ordered, candidates=candidates, targets=len(targets)),
    }


def target_rows(data: BacktestData, problem: Problem) -> list[int]:
    """Return the rows that a campaign should find, what is given left out."""
    if isinstance(problem, HullProblem):
        finds = problem.finds(data.pool.fractions, data.y)
    else:
        finds = problem.finds(data.y)
    return sorted(set(np.flatnonzero(finds).tolist()) - set(data.given.tolist()))


def criterion(problem: Problem) -> str:
    """Return what counts as a find, in words."""
    if isinstance(problem, HullProblem):
        return (
            f"energy_above_hull <= {problem.tolerance:g} eV/atom over the hull of the data set, "
            "elements not counted"
        )
    return problem.criterion


def run_policy(oracle: Oracle, plan: BacktestPlan) -> list[list[int]]:
    """Return the batches of rows that one policy picks from one seed."""
    data, rng = oracle.data, np.random.default_rng((oracle.seed, 1))
    first = start_picks(
        data.pool,
        min(plan.start, plan.budget),
        np.random.default_rng((oracle.seed, 0)),
        data.given.tolist(),
    )
    oracle.record([pick.row for pick in first])
    learned: Learned | None = None
    while (left := plan.budget - len(oracle.picked)) > 0:
        rows, learned = _next_batch(oracle, plan, learned, min(plan.batch, left), rng)
        if not rows:
            break
        oracle.record(rows)
    return oracle.batches


def _next_batch(
    oracle: Oracle,
    plan: BacktestPlan,
    previous: Learned | None,
    q: int,
    rng: np.random.Generator,
) -> tuple[list[int], Learned | None]:
    pool = oracle.data.pool
    known = np.concatenate([oracle.data.given, np.array(oracle.picked, dtype=np.int64)])
    if oracle.policy == "random":
        return [pick.row for pick in start_picks(pool, q, rng, known.tolist())], None
    learned = learn(pool, Training(known, oracle.reveal(known)), plan.learning, previous)
    proposing = _settings(plan, oracle.policy)
    picks = propose(learned, pool, plan.problem, proposing, q, rng)
    return [pick.row for pick in picks], learned


def _settings(plan: BacktestPlan, policy: str) -> ProposeSettings:
    """Return the campaign's own settings for its policy; a twin does one thing alone."""
    if policy == plan.proposing.acquisition:
        return plan.proposing
    return replace(plan.proposing, acquisition=policy, shares=Shares(0.0, 0.0))


def _run_plain(
    data: BacktestData, job: tuple[str, int], batches: list[list[int]], targets: list[int]
) -> dict[str, Any]:
    wanted, order = set(targets), [row for batch in batches for row in batch]
    return {
        "policy": job[0],
        "seed": job[1],
        "batches": [[data.names[row] for row in batch] for batch in batches],
        "found_at": [place for place, row in enumerate(order, start=1) if row in wanted],
    }


Job = tuple[str, int]


def _all_batches(
    data: BacktestData,
    plan: BacktestPlan,
    jobs: list[Job],
    journal: Path | None,
    processes: int | None,
) -> Iterator[tuple[Job, list[list[int]]]]:
    """Yield the batches of each job as they are done."""
    count = min(processes or os.cpu_count() or 1, len(jobs))
    if count == 1:
        for policy, seed in jobs:
            yield (policy, seed), run_policy(Oracle(data, policy, seed, journal), plan)
        return
    context = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        ProcessPoolExecutor(count, context, _receive, (data, plan, journal)) as executor,
    ):
        futures = {executor.submit(_run_received, *job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()


_received: list[tuple[BacktestData, BacktestPlan, Path | None]] = []
"""What this process was given to work on, when it is a child of a backtest."""


def _receive(data: BacktestData, plan: BacktestPlan, journal: Path | None) -> None:
    _received.append((data, plan, journal))


def _run_received(policy: str, seed: int) -> list[list[int]]:
    data, plan, journal = _received[0]
    return run_policy(Oracle(data, policy, seed, journal), plan)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes started inside use one thread each: their runs are parallel already."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
