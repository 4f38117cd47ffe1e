from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leadline.flows.backtest import BacktestPlan, run_backtest, target_rows
from leadline.flows.backtest_data import BacktestData, backtest_data
from leadline.flows.backtest_oracle import Oracle
from leadline.flows.backtest_summary import picks_until, summary
from leadline.flows.backtesting import backtest_file
from leadline.surrogate.errors import LeadlineError
from leadline.surrogate.pool import Pool
from leadline.tasks.errors import CandidateError, OracleError, SpecError
from leadline.tasks.problem import HullProblem, PropertyProblem
from leadline.tasks.propose import ProposeSettings

N = 60
HULL = HullProblem(0.002)
FEW = ProposeSettings(samples=16)


@pytest.fixture
def data(tmp_path: Path) -> BacktestData:
    """Sixty binary phases, elements first, energies smooth in the features."""
    rng = np.random.default_rng(4)
    x = np.concatenate([[0.0, 1.0], rng.integers(1, 12, N - 2) / 12])
    order = np.concatenate([[0.0, 0.0], rng.normal(size=N - 2)])
    pool = Pool(
        ids=tuple(f"sha{i:02d}" for i in range(N)),
        formulas=tuple(f"X{i}" for i in range(N)),
        elements=("A", "B"),
        fractions=np.column_stack([x, 1 - x]),
        sites=np.full(N, 12),
        features=np.column_stack([4 * x, order]).astype(np.float32),
    )
    energies = 12 * (-5 * x - 3 * (1 - x) - x * (1 - x) * (1 + 0.3 * np.sin(2 * order)))
    path = tmp_path / "set.extxyz"
    path.write_text("the file of which the hash is stated")
    return backtest_data(
        path,
        pool,
        HULL,
        {id_: f"row-{id_}" for id_ in pool.ids},
        dict(zip(pool.ids, energies.tolist(), strict=True)),
    )


def run(data: BacktestData, plan: BacktestPlan, **options: object) -> dict[str, object]:
    return run_backtest(data, plan, [0, 1], spec_sha256="0" * 64, **options)  # type: ignore[arg-type]


def test_formation_energies_are_measured_from_the_elements_of_the_set(data: BacktestData) -> None:
    x = data.pool.fractions[:, 0]
    np.testing.assert_array_equal(data.given, [0, 1])
    np.testing.assert_allclose(data.y[data.given], 0.0, atol=1e-12)
    assert data.y[2:] == pytest.approx(
        -x[2:] * (1 - x[2:]) * (1 + 0.3 * np.sin(2 * data.pool.features[2:, 1])), abs=1e-6
    )


def test_a_stranger_can_check_every_number(data: BacktestData, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    plan = BacktestPlan(HULL, batch=5, start=5, budget=25, proposing=FEW)
    result = json.loads(json.dumps(run(data, plan, journal=journal, processes=1)))
    assert set(result) == {"data", "spec", "targets", "runs", "summary"}
    assert [(r["policy"], r["seed"]) for r in result["runs"]] == [
        (policy, seed) for seed in (0, 1) for policy in ("auto", "random", "greedy", "uncertainty")
    ]
    targets = set(result["targets"]["ids"])
    assert targets
    assert not targets & {"row-sha00", "row-sha01"}
    for each in result["runs"]:
        order = [name for batch in each["batches"] for name in batch]
        assert len(set(order)) == len(order) == 25
        assert [len(batch) for batch in each["batches"]] == [5] * 5
        assert each["found_at"] == [i for i, name in enumerate(order, 1) if name in targets]
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        written = [
            line["batch"]
            for line in lines
            if (line["policy"], line["seed"]) == (each["policy"], each["seed"])
        ]
        assert written == each["batches"]


def test_policies_start_a_seed_with_the_same_picks(data: BacktestData) -> None:
    runs = run(data, BacktestPlan(HULL, batch=5, start=5, budget=10, proposing=FEW), processes=1)[
        "runs"
    ]
    starts = {(r["seed"], tuple(r["batches"][0])) for r in runs}  # type: ignore[attr-defined]
    assert len(starts) == 2


def test_the_search_beats_chance(data: BacktestData) -> None:
    plan = BacktestPlan(HULL, batch=5, start=5, budget=40, proposing=FEW)
    numbers = run(data, plan, processes=1)["summary"]
    assert numbers["auto"]["n50"] < numbers["random"]["n50"]  # type: ignore[index]
    assert numbers["auto"]["acceleration"] > 1.3  # type: ignore[index]


def test_runs_in_parallel_are_the_runs_one_by_one(data: BacktestData) -> None:
    plan = BacktestPlan(HULL, batch=5, start=5, budget=15, proposing=FEW)
    assert run(data, plan, processes=2)["runs"] == run(data, plan, processes=1)["runs"]


def test_an_answer_before_its_pick_is_on_record_is_refused(data: BacktestData) -> None:
    oracle = Oracle(data, "auto", 0)
    with pytest.raises(OracleError, match=r"row-sha07.*record the batch first"):
        oracle.reveal([0, 7])
    oracle.record([7])
    np.testing.assert_array_equal(oracle.reveal([0, 7]), data.y[[0, 7]])


@pytest.mark.parametrize("again", [[7], [0], [9, 9]])
def test_a_pick_made_twice_is_refused(data: BacktestData, again: list[int]) -> None:
    oracle = Oracle(data, "auto", 0)
    oracle.record([7])
    with pytest.raises(OracleError, match="picked once"):
        oracle.record(again)


def test_a_budget_larger_than_the_pool_ends_with_the_pool(data: BacktestData) -> None:
    plan = BacktestPlan(HULL, batch=20, start=20, budget=500, proposing=FEW)
    result = run(data, plan, processes=1)
    for each in result["runs"]:  # type: ignore[attr-defined]
        assert sum(len(batch) for batch in each["batches"]) == N - 2
        assert len(each["found_at"]) == len(target_rows(data, HULL))


def test_a_threshold_that_nothing_reaches_is_refused(data: BacktestData) -> None:
    plan = BacktestPlan(PropertyProblem("gap", "minimise", -99.0))
    with pytest.raises(CandidateError, match="gap <= -99"):
        run(replace(data, given=np.empty(0, np.int64)), plan)


def test_a_hull_without_one_of_its_elements_is_refused(data: BacktestData, tmp_path: Path) -> None:
    labels = dict.fromkeys(data.pool.ids[1:], -1.0)
    names = {id_: id_ for id_ in data.pool.ids}
    with pytest.raises(CandidateError, match=r"pure element\(s\) B"):
        backtest_data(Path(data.path), data.pool, HULL, names, {**labels, "sha00": float("nan")})
    with pytest.raises(CandidateError, match="none of the 60 candidates"):
        backtest_data(Path(data.path), data.pool, HULL, names, {})


def test_counts_are_medians_with_the_unfinished_as_infinite() -> None:
    runs = [
        {"policy": "auto", "found_at": [3, 8, 20, 40]},
        {"policy": "auto", "found_at": [5, 6, 30]},
        {"policy": "auto", "found_at": [1, 9]},
    ]
    numbers = summary(runs, candidates=99, targets=4)["auto"]
    assert (numbers["n50"], numbers["n90"], numbers["all"]) == (8, None, None)
    assert numbers["recall"] == pytest.approx(9 / 12)
    assert numbers["acceleration"] == pytest.approx(2 * 100 / 5 / 8)
    assert numbers["interval"] == [6, 9]
    np.testing.assert_array_equal(picks_until([[1, 2], [4]], 2, 1.0), [2, np.inf])


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    """A campaign file over a table of forty runs, whose yield is best in the middle."""
    x = np.linspace(0, 1, 40)
    rows = [f"{each:.4f},{1 - each:.4f},{1 - (each - 0.5) ** 2:.6f}" for each in x]
    (tmp_path / "runs.csv").write_text("\n".join(["flow,heat,yield", *rows, rows[0]]))
    file = tmp_path / "table.yaml"
    file.write_text(
        """\
leadline: 1
name: table
objective: {kind: property, property: yield, direction: maximise, best: 4}
candidates: [{source: dataset, path: runs.csv}]
engine: {name: replay, path: runs.csv, properties: {yield: yield}}
acquisition: {batch: 1}
start: {random: 5}
stop: {calculations: 20}
"""
    )
    return file


def test_a_table_without_structures_is_searched(table_file: Path) -> None:
    said = backtest_file(table_file, (), 2, table_file.with_suffix(".json"))
    assert "4 targets: the 4 candidates of highest yield" in said
    result = json.loads(table_file.with_suffix(".json").read_text())
    assert set(result["targets"]["ids"]) == {"line 20", "line 21", "line 22", "line 23"}
    numbers = result["summary"]
    assert numbers["auto"]["all"] < 15
    assert numbers["auto"]["recall"] == 1.0 > numbers["random"]["recall"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("candidates.0.geometry=ideal", "a table without structures"),
        ("candidates.0.features=[flow, heats]", "has no column 'heats'"),
        ("candidates.0.path=other.csv", "must be the one source `dataset` over runs.csv"),
        ("engine.properties={yields: yield}", "does not name 'yield'"),
        ("engine.properties={yield: yields}", "has no column 'yields'"),
        ("objective={kind: hull}", "only a property can be searched"),
        ("objective.threshold=0.9", "found threshold and best; allowed: threshold alone"),
        ("objective.best=0", "objective.best"),
        ("objective.window=[0.1, 0.2]", "found window and best; allowed: window alone"),
        ("objective={kind: property, property: yield, window: [2, 1]}", "the lower value first"),
        (
            "objective={kind: property, property: yield, target: 1, direction: maximise}",
            "found target and direction maximise",
        ),
    ],
)
def test_a_table_that_cannot_be_searched_so_is_refused(
    table_file: Path, change: str, words: str
) -> None:
    changes = [change, "engine.energy_key=yield"] if "hull" in change else [change]
    with pytest.raises(LeadlineError, match=words):
        backtest_file(table_file, changes, 1, None)


def test_features_are_for_tables_and_geometry_for_structures(table_file: Path) -> None:
    for settings, words in (
        ("{source: dataset, path: a.extxyz, geometry: ideal, features: [b]}", "is no .csv"),
        ("{source: dataset, path: a.extxyz}", "geometry is missing; allowed: ideal"),
    ):
        with pytest.raises(SpecError, match=words):
            backtest_file(table_file, [f"candidates=[{settings}]"], 1, None)
