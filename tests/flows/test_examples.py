"""Every campaign file that ships: it is read, and it runs in small.

That of real DFT runs in ``test_dft_campaign.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadline.flows.examples import write_example
from leadline.flows.spec_file import read_spec

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/campaigns"
CAMPAIGNS = sorted(FOLDER.glob("*.yaml"))
SAMPLE = ROOT / "tests/data"
DATA = Path(os.environ.get("LEADLINE_DATA", "data"))

Leadline = Callable[..., "subprocess.Popen[str]"]


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


def changed(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


@pytest.mark.parametrize("file", CAMPAIGNS, ids=lambda file: file.stem)
def test_every_campaign_that_ships_is_read_and_is_called_as_its_file(file: Path) -> None:
    assert read_spec(file, (), os.environ).name == file.stem


@pytest.mark.parametrize("file", CAMPAIGNS, ids=lambda file: file.stem)
def test_every_campaign_that_ships_is_an_example_to_start_from(file: Path, tmp_path: Path) -> None:
    path = write_example("my-own", file.stem, tmp_path)
    assert read_spec(path, (), os.environ).name == "my-own"
    assert path.read_text(encoding="utf-8").count("#") >= 3


@pytest.mark.slow
def test_the_demo_runs_in_small(leadline: Leadline, tmp_path: Path) -> None:
    small = changed(
        "stop.calculations=12",
        "stop.expected_missed=null",
        "candidates.0.max_atoms=4",
        "start.random=4",
        "acquisition.batch=4",
    )
    ended(leadline("run", FOLDER / "cu-au.yaml", *small))
    status = json.loads(ended(leadline("status", "cu-au", "--json")))
    assert (status["state"], status["computed"], status["pool"]) == ("stopped", 12, 29)
    assert status["found"]


def backtested(
    leadline: Leadline, file: str, budget: int, folder: Path, seeds: int
) -> dict[str, Any]:
    small = changed(f"stop.calculations={budget}")
    out = folder / "out.json"
    printed = ended(leadline("backtest", FOLDER / file, "--seeds", seeds, "--json", out, *small))
    assert "n50" in printed
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert {each["policy"] for each in result["runs"]} == {
        "auto",
        "random",
        "greedy",
        "uncertainty",
    }
    for each in result["runs"]:
        picks = [pick for batch in each["batches"] for pick in batch]
        assert len(picks) == len(set(picks)) == budget
        places = {id_: nth for nth, id_ in enumerate(picks, start=1)}
        targets = [places[id_] for id_ in result["targets"]["ids"] if id_ in places]
        assert each["found_at"] == sorted(targets)
    return result


@pytest.mark.slow
def test_the_backtest_of_orderings_runs_in_small(
    leadline: Leadline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADLINE_DATA", str(SAMPLE))
    result = backtested(leadline, "backtest-cuagau.yaml", 40, tmp_path, seeds=2)
    assert result["data"]["path"].endswith("cuagau_fcc/dataset.extxyz.gz")
    summary = result["summary"]
    assert summary["auto"]["recall"] > summary["random"]["recall"]


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "perov5").is_dir(), reason="LEADLINE_DATA names no folder with perov5"
)
def test_the_backtest_of_perovskites_runs_in_small(leadline: Leadline, tmp_path: Path) -> None:
    result = backtested(leadline, "backtest-perov5.yaml", 20, tmp_path, seeds=1)
    assert len(result["targets"]["ids"]) == 41


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "liang2021").is_dir(), reason="LEADLINE_DATA names no folder with liang2021"
)
def test_the_backtest_of_a_table_runs_in_small(leadline: Leadline, tmp_path: Path) -> None:
    result = backtested(leadline, "backtest-table.yaml", 20, tmp_path, seeds=1)
    assert len(result["targets"]["ids"]) == 30
