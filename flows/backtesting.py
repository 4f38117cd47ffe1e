"""`leadline backtest`: the campaign of a file over the data set that its engine replays."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from leadline.flows.backtest import BacktestPlan, run_backtest
from leadline.flows.backtest_data import BacktestData, backtest_data, table_data
from leadline.flows.bench import Parts, parts_of
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import file_digest, read_spec
from leadline.flows.store_of import store_folder
from leadline.flows.writing import write_whole
from leadline.tasks.candidates.dataset import DatasetSettings, read_data_ids, read_labels
from leadline.tasks.candidates.feature_table import is_table
from leadline.tasks.candidates.features import pool_features
from leadline.tasks.candidates.table import source_settings
from leadline.tasks.engines.replay import ReplaySettings
from leadline.tasks.errors import SpecError
from leadline.tasks.problem import HullProblem


def backtest_file(file: Path, changes: Sequence[str], seeds: int, out: Path | None) -> str:
    """Run the backtest of a campaign file and return its summary as a table.

    Raises
    ------
    SpecError
        If the file's engine is not ``replay``: there is no finished data set.
    """
    spec = read_spec(file, changes, os.environ)
    return summary_table(run_backtest_of(spec, seeds, out, file_digest(file), changes))


def run_backtest_of(
    spec: CampaignSpec, seeds: int, out: Path | None, sha256: str, changes: Sequence[str] = ()
) -> dict[str, Any]:
    """Run the backtest of a campaign, write it to ``out`` where that is given, and return it.

    ``sha256`` and ``changes`` say where the campaign comes from, for who reads the result.

    Raises
    ------
    SpecError
        If the engine is not ``replay``: there is no finished data set.
    """
    parts = parts_of(spec)
    data, plan = data_of(parts), plan_of(parts)
    result = run_backtest(data, plan, range(seeds), spec_sha256=sha256, journal=_journal(out))
    result["spec"]["changes"] = list(changes)
    if out is not None:
        write_whole(out, json.dumps(result, allow_nan=False))
    return result


def data_of(parts: Parts) -> BacktestData:
    """Return the pool and the answers of a campaign that replays a data set."""
    settings = parts.engine.settings
    if not isinstance(settings, ReplaySettings):
        raise SpecError(
            f"engine.name: is {parts.spec.engine.name!r}; a backtest needs engine `replay`, which "
            "answers from a finished data set"
        )
    if is_table(settings.path):
        return table_data(settings.path, _key(parts, settings), _columns(parts, settings))
    folder = store_folder()
    file = parts.built(folder)
    chosen, _ = parts.descriptor(file)
    pool, _ = pool_features(file, chosen, folder / "features")
    return backtest_data(
        settings.path,
        pool,
        parts.problem,
        read_data_ids(settings.path, settings.id_key),
        _labels(parts, settings),
    )


def plan_of(parts: Parts) -> BacktestPlan:
    """Return what the backtest repeats, as the campaign file says."""
    spec = parts.spec
    if spec.stop.calculations is None:
        raise SpecError("stop.calculations: is missing; a backtest needs a budget")
    return BacktestPlan(
        problem=parts.problem,
        batch=spec.acquisition.batch,
        start=spec.start.random,
        budget=spec.stop.calculations,
        learning=parts.learning,
        proposing=parts.proposing,
    )


def summary_table(result: dict[str, Any]) -> str:
    """Return the summary for a person."""
    targets = result["targets"]
    table = Table(box=None)
    for name in ("policy", "n50", "n90", "all", "recall", "acceleration"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for policy, row in result["summary"].items():
        cells = (row[name] for name in ("n50", "n90", "all", "recall", "acceleration"))
        table.add_row(policy, *(_cell(value) for value in cells))
    console = Console(width=110, highlight=False)
    with console.capture() as captured:
        console.print(f"{len(targets['ids'])} targets: {targets['criterion']}")
        console.print(table)
    return captured.get().rstrip()


def _labels(parts: Parts, settings: ReplaySettings) -> dict[str, float]:
    """Return by structure id what counts: total energy of the cell in eV, or the property."""
    key = _key(parts, settings)
    found = read_labels(settings.path, settings.id_key, (key,))
    return {id_: labels[key] for id_, labels in found.items() if key in labels}


def _key(parts: Parts, settings: ReplaySettings) -> str:
    """Return what the data set calls the numbers that the objective is about."""
    if isinstance(parts.problem, HullProblem):
        if settings.energy_key is None:
            raise SpecError(
                "engine.energy_key: is missing; the hull of a backtest needs the total energy of "
                "each cell in eV"
            )
        return settings.energy_key
    if parts.problem.name not in settings.properties:
        raise SpecError(
            f"engine.properties: does not name {parts.problem.name!r}, the objective's "
            f"property; it names: {', '.join(settings.properties) or 'none'}"
        )
    return settings.properties[parts.problem.name]


def _columns(parts: Parts, settings: ReplaySettings) -> tuple[str, ...]:
    """Return which columns of a table the campaign's one source learns from."""
    if isinstance(parts.problem, HullProblem):
        raise SpecError(
            f"objective.kind: is 'hull'; {settings.path.name} is a table without structures, in "
            "which only a property can be searched: kind property"
        )
    sources = [source_settings(each.source, each.settings) for each in parts.spec.candidates]
    match sources:
        case [DatasetSettings(path=path, features=columns)] if Path(path) == settings.path:
            return columns
    raise SpecError(
        f"candidates: must be the one source `dataset` over {settings.path.name}, the table that "
        "the engine answers from"
    )


def _journal(out: Path | None) -> Path | None:
    return None if out is None else out.with_name(out.name + ".journal")


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
