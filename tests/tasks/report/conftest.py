"""A made-up campaign with the numbers of Cu-Au orderings in effective medium theory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm

from leadline.surrogate.hull import energies_above_hull
from leadline.tasks.problem import PropertyProblem
from leadline.tasks.report.view import (
    CampaignView,
    FailureView,
    LedgerView,
    Objective,
    Phase,
    Pick,
    PoolPredictions,
    Reference,
    RoundView,
    VerdictView,
)
from leadline.tasks.requested import Requested
from leadline.tasks.utilisation import Utilisation

TOLERANCE = 0.003
THRESHOLD = -0.05
MakeView = Callable[..., CampaignView]


@dataclass(frozen=True)
class _Truth:
    """A pool whose answers are known: composition, height above the hull, value."""

    fractions: np.ndarray
    height: np.ndarray
    value: np.ndarray
    ids: tuple[str, ...]
    formulas: tuple[str, ...]


def _truth(elements: Sequence[str], size: int, seed: int) -> _Truth:
    rng = np.random.default_rng(seed)
    atoms = rng.integers(3, 9, size)
    counts = np.array(
        [rng.multinomial(n, np.full(len(elements), 1 / len(elements))) for n in atoms]
    )
    counts = np.where((counts == atoms[:, None]).any(axis=1)[:, None], 1, counts)
    fractions = counts / counts.sum(axis=1, keepdims=True)
    bottom = -0.24 * (fractions[:, 0] * (1 - fractions[:, 0])) * (1 + 0.2 * fractions[:, -1])
    value = bottom + rng.gamma(2.2, 0.013, size)
    corners = np.eye(len(elements))
    height = energies_above_hull(
        np.vstack([corners, fractions]), np.concatenate([np.zeros(len(elements)), value])
    )[len(elements) :]
    return _Truth(
        fractions,
        height,
        value,
        tuple(hashlib.sha256(f"{seed}:{i}".encode()).hexdigest() for i in range(size)),
        tuple(_formula(elements, row) for row in counts),
    )


def _formula(elements: Sequence[str], row: np.ndarray) -> str:
    row = row // np.gcd.reduce(row)
    pairs = zip(elements, row, strict=True)
    return "".join(f"{name}{n if n > 1 else ''}" for name, n in pairs if n)


@pytest.fixture
def make_view() -> MakeView:
    """Return a builder of views: elements, pool size, number of rounds, picks in each."""

    def build(
        elements: Sequence[str] = ("Au", "Cu"),
        size: int = 430,
        rounds: int = 6,
        batch: int = 10,
        kind: str = "hull",
        seed: int = 7,
    ) -> CampaignView:
        truth = _truth(elements, size, seed)
        rng = np.random.default_rng(seed)
        order = _order(truth, rounds * batch, batch, rng)
        sd = np.full(size, 0.012)
        mean = truth.value + rng.normal(0, 0.011, size)
        chosen = [
            _rounds(truth, order[i * batch : (i + 1) * batch], i, i * batch, mean, sd, kind)
            for i in range(rounds)
        ]
        computed = np.isin(np.arange(size), order)
        return CampaignView(
            name="cu-au",
            objective=_objective(kind, elements),
            state="stopped" if rounds > 4 else "running" if rounds else "new",
            elements=tuple(elements),
            generated="22 November 2026, 16:40 UTC",
            pool_size=size,
            computed=len(order),
            failed=0,
            quarantined=1 if rounds else 0,
            verdict=_verdict() if rounds > 4 else None,
            phases=_phases(truth, order, batch, kind),
            references=tuple(
                Reference(name, -0.002 * i, "lowest of 1 phase computed", "ab" * 32, "Fm-3m")
                for i, name in enumerate(elements)
            ),
            pool=_pool(truth, mean, sd, computed, kind) if rounds > 1 else None,
            rounds=tuple(chosen),
            calibration=_calibration() if rounds > 1 else {},
            failures=_failures() if rounds else (),
            ledger=_ledger() if rounds else LedgerView(),
            drops={"atoms closer than 0.5 of their radii": 3, "duplicate": 41},
            versions={"leadline": "0.1.0", "ase": "3.29.0", "pymatgen": "2025.6.14"},
            spec_yaml="campaign: cu-au\nobjective:\n  hull: {tolerance: 0.003}\n",
            notes=(),
        )

    return build


@pytest.fixture
def view(make_view: MakeView) -> CampaignView:
    """Return a finished binary campaign."""
    return make_view()


def _order(truth: _Truth, total: int, start: int, rng: np.random.Generator) -> np.ndarray:
    first = rng.permutation(len(truth.ids))[:start]
    guess = truth.height + rng.gamma(1.0, 0.006, len(truth.ids))
    order = np.argsort(guess, kind="stable")
    rest = order[~np.isin(order, first)]
    return np.concatenate([first, rest]).astype(int)[:total]


def _rounds(
    truth: _Truth,
    places: np.ndarray,
    number: int,
    before: int,
    mean: np.ndarray,
    sd: np.ndarray,
    kind: str,
) -> RoundView:
    picks = tuple(
        Pick(
            structure=truth.ids[i],
            formula=truth.formulas[i],
            fractions=tuple(truth.fractions[i]),
            share="start" if not number else ("uncertainty", "random", "exploit")[min(rank, 2)],
            words=f"Predicted {1000 * mean[i]:.0f} meV/atom; nearest known phase Cu₃Au."
            if number
            else "One of the random picks that start a campaign.",
            state="done",
            mean=float(mean[i]) if number else None,
            sd=float(sd[i]) if number else None,
            stable_probability=float(np.exp(-80 * truth.height[i])) if number else None,
            nth=before + rank + 1,
            value=float(truth.value[i]),
            energy_above_hull=float(truth.height[i]) if kind == "hull" else None,
        )
        for rank, i in enumerate(places)
    )
    return RoundView(
        number=number + 1,
        picks=picks,
        training_size=before,
        expected_missed=6.0 / (number + 1) if number else None,
        none_missed=float(np.exp(-6.0 / (number + 1))) if number else None,
        words="Goes on: 1.0 phases are expected to be missing, more than 0.3." if number else "",
    )


def _phases(truth: _Truth, order: np.ndarray, batch: int, kind: str) -> tuple[Phase, ...]:
    found = [
        Phase(
            formula=truth.formulas[i],
            structure=truth.ids[i],
            space_group=("Pm-3m", "P4/mmm", "I4/mmm", "C2/m")[nth % 4],
            fractions=tuple(truth.fractions[i]),
            value=float(truth.value[i]),
            energy_above_hull=float(truth.height[i]) if kind == "hull" else None,
            nth=nth,
            round=(nth - 1) // batch + 1,
        )
        for nth, i in enumerate(order, start=1)
        if (truth.height[i] <= TOLERANCE if kind == "hull" else truth.value[i] <= THRESHOLD)
    ]
    return tuple(sorted(found, key=lambda phase: phase.energy_above_hull or 0.0))


def _objective(kind: str, elements: Sequence[str]) -> Objective:
    if kind == "hull":
        words = f"Find the phases within 3 meV/atom of the convex hull of {'-'.join(elements)}."
        return Objective("hull", words, tolerance=TOLERANCE)
    words = "Find the candidates with the lowest heat of formation, -0.05 eV/atom or less."
    return Objective(
        "property",
        words,
        "heat_all",
        "eV/atom",
        sought=PropertyProblem("heat_all", threshold=THRESHOLD),
    )


def _pool(
    truth: _Truth, mean: np.ndarray, sd: np.ndarray, computed: np.ndarray, kind: str
) -> PoolPredictions:
    height = truth.height + mean - truth.value
    hull = {"energy_above_hull": height, "stable_probability": norm.cdf((TOLERANCE - height) / sd)}
    return PoolPredictions(
        truth.ids,
        truth.formulas,
        truth.fractions,
        mean,
        sd,
        computed,
        **(hull if kind == "hull" else {}),
    )


def _calibration() -> dict[str, float | None]:
    return {
        "rmse": 0.0111, "mae": 0.0089, "nll": -3.02, "crps": 0.0062, "z_std": 0.94,
        "coverage_50": 0.54, "coverage_95": 0.96, "miscalibration_area": 0.021,
        "sharpness": 0.012, "error_sd_rank_correlation": None,
    }  # fmt: skip


def _verdict() -> VerdictView:
    words = (
        "3 rounds in a row (30 calculations) found no new phase; 0.2 are expected to be missing."
    )
    evidence = {"rounds_without_discovery": 3, "allowed": 3, "expected_missed": 0.21}
    return VerdictView("rounds_without_discovery", words, evidence)


def _failures() -> tuple[FailureView, ...]:
    message = "the cell shrank to less than half of its volume after 12 steps"
    return (FailureView("cd" * 32, "Au3Cu5", "quarantined", "physics", "collapsed", message, 2, 3),)


def _ledger() -> LedgerView:
    seconds = {
        "engine": 412.0, "queue": 31.5, "learning": 22.1, "proposing": 9.4, "store": 2.2,
        "references": 3.1,
    }  # fmt: skip
    wasted = {"worker-lost": 12.5, "collapsed": 4.0}
    use = Utilisation(busy=0.91, starting=0.02, unpicked=0.07, drain=8.0)
    asked = Requested(12, 43200.0, 8640.0, 64e9, 2.1e9)
    return LedgerView(seconds, wasted, 148.0, use, asked)
