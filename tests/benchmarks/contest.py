"""Leadline and its peers on one data set: the same starts, the same oracle, paired seeds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers import PEERS, peer_order, standardised

from leadline.flows.backtest import BacktestPlan, one_thread_each, run_policy, target_rows
from leadline.flows.backtest_data import BacktestData
from leadline.flows.backtest_oracle import Oracle
from leadline.flows.backtest_summary import RESAMPLES, median, picks_until
from leadline.flows.backtesting import data_of, plan_of
from leadline.flows.bench import parts_of
from leadline.flows.spec_file import read_spec
from leadline.flows.store_of import store_folder
from leadline.surrogate.descriptors.table import descriptor
from leadline.tasks.problem import HullProblem, PropertyProblem

CAMPAIGNS = Path(__file__).parents[2] / "deploy" / "campaigns"
PREPARED = "prepared"
OURS = "leadline"

Floats = NDArray[np.float64]
Orders = dict[str, list[list[int]]]


@dataclass(frozen=True)
class Contest:
    """A data set, what leadline does with it, and the features that peers may choose from."""

    data: BacktestData
    plan: BacktestPlan
    features: dict[str, Floats]

    def labels(self) -> list[str]:
        """Return the names of those who take part; peers once for each kind of features."""
        peers = [f"{peer} on {features}" for peer in PEERS for features in self.features]
        if isinstance(self.plan.problem, PropertyProblem):
            return [OURS, *peers]
        return [f"{OURS} at {tolerance:g}" for tolerance in (0.001, 0.005)] + peers

    def order(self, label: str, seed: int) -> list[int]:
        """Return the rows in the order in which one of those who take part picks them."""
        if label.startswith(OURS):
            plan = self.plan
            if isinstance(plan.problem, HullProblem):
                plan = replace(plan, problem=HullProblem(float(label.rpartition(" ")[2])))
            batches = run_policy(Oracle(self.data, plan.proposing.acquisition, seed), plan)
            return [row for batch in batches for row in batch]
        peer, _, features = label.partition(" on ")
        problem = self.plan.problem
        return peer_order(
            PEERS[peer],
            self.features[features],
            self.data,
            seed,
            hull=problem.kind == "hull",
            sign=problem.aim.sign if isinstance(problem, PropertyProblem) else 1,
            batch=self.plan.batch,
            start=self.plan.start,
            budget=self.plan.budget,
        )


def contest(file: str, budget: int | None, *raw: str) -> Contest:
    """Return the contest of a campaign file; ``raw`` names descriptors given to peers as is."""
    parts = parts_of(read_spec(CAMPAIGNS / file, (), os.environ))
    data, plan = data_of(parts), plan_of(parts)
    pool = parts.built(store_folder())
    candidates = {one.id: one for one in pool.candidates()}
    ordered = [candidates[id_] for id_ in data.pool.ids]
    features = {PREPARED: data.pool.features.astype(np.float64)}
    for name in raw:
        features[name] = standardised(descriptor(name, pool.elements).describe(ordered))
    return Contest(data, replace(plan, budget=budget or plan.budget), features)


def held(games: Contest, labels: Sequence[str], seeds: Sequence[int], processes: int) -> Orders:
    """Return everybody's orders, one a seed."""
    context = multiprocessing.get_context("spawn")
    found: dict[tuple[str, int], list[int]] = {}
    with (
        one_thread_each(),
        ProcessPoolExecutor(processes, context, _receive, (games,)) as executor,
    ):
        futures = {
            executor.submit(_order, label, seed): (label, seed)
            for seed in seeds
            for label in labels
        }
        for future in as_completed(futures):
            found[futures[future]] = future.result()
    return {label: [found[label, seed] for seed in seeds] for label in labels}


def places(
    games: Contest, orders: list[list[int]], problem: HullProblem | PropertyProblem
) -> list[list[int]]:
    """Return at which picks the targets of a problem were found, for each seed."""
    targets = set(target_rows(games.data, problem))
    return [[n for n, row in enumerate(order, 1) if row in targets] for order in orders]


def counts(found_at: list[list[int]], targets: int, share: float, budget: int) -> Floats:
    """Return each seed's picks until a share was found; one past the budget if never."""
    return np.minimum(picks_until(found_at, targets, share), budget + 1.0)


def difference(ours: Floats, theirs: Floats) -> tuple[float, float, float]:
    """Return our median less theirs, with its paired bootstrap 95 % interval."""
    rows = np.random.default_rng(0).integers(len(ours), size=(RESAMPLES, len(ours)))
    resampled = np.sort(median(ours[rows], axis=1) - median(theirs[rows], axis=1))
    low, high = resampled[int(0.025 * RESAMPLES)], resampled[int(0.975 * RESAMPLES) - 1]
    return float(median(ours) - median(theirs)), float(low), float(high)


_games: list[Contest] = []


def _receive(games: Contest) -> None:
    _games.append(games)


def _order(label: str, seed: int) -> list[int]:
    return _games[0].order(label, seed)
