"""The demo beside the exhaustive answer: every ordering was relaxed to know it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from leadline.tasks.candidates.table import source

ROOT = Path(__file__).parents[1]
CAMPAIGN = ROOT / "deploy/campaigns/cu-au.yaml"
EXHAUSTIVE = ROOT / "tests/data/exhaustive_emt.json"
TOLERANCE = 0.001
ROUNDING = 2e-6
"""eV/atom: the file holds numbers to 1e-6."""

Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def exhaustive() -> Rows:
    rows = json.loads(EXHAUSTIVE.read_text(encoding="utf-8"))
    return {row["id"]: row for row in rows}


def leadline(folder: Path, *words: str) -> str:
    """Run the command in a folder of its own, as on a machine that has seen neither."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "LEADLINE_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "leadline.flows.cli", *words],
        cwd=folder,
        env=kept | {"PREFECT_HOME": str(folder / "prefect"), "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_exhaustive_answer_is_that_of_the_demo_s_own_pool(exhaustive: Rows) -> None:
    plain = yaml.safe_load(CAMPAIGN.read_text(encoding="utf-8"))
    (settings,) = plain["candidates"]
    orderings = source(settings.pop("source"), settings, ROOT)
    pool = [each.id for each in orderings.generate(np.random.default_rng(0))]
    assert sorted(pool) == sorted(exhaustive)
    assert plain["engine"] == {"name": "emt"}
    assert plain["recipe"] == {"name": "relax", "fmax": 0.02}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_finds_every_phase_of_the_exhaustive_hull(
    tmp_path: Path, exhaustive: Rows
) -> None:
    printed = leadline(tmp_path, "run", str(CAMPAIGN), "--store", "kept")
    status = json.loads(leadline(tmp_path, "status", "cu-au", "--json", "--store", "kept"))

    wanted = {
        row["phase"]
        for row in exhaustive.values()
        if row["energy_above_hull"] <= TOLERANCE and row["formula"] not in ("Cu", "Au")
    }
    found = {exhaustive[each["structure"]]["phase"] for each in status["found"]}
    assert len(wanted) == 4
    assert found == wanted
    for each in status["found"]:
        answer = exhaustive[each["structure"]]
        assert each["value"] == pytest.approx(answer["formation_energy"], abs=ROUNDING)
        assert each["energy_above_hull"] == pytest.approx(answer["energy_above_hull"], abs=ROUNDING)
    the_end_says_what_it_came_to(printed, status, tmp_path)


def the_end_says_what_it_came_to(printed: str, status: dict[str, Any], folder: Path) -> None:
    assert f"cu-au: {len(status['found'])} found" in printed
    for each in status["found"]:
        above, number = f"{each['energy_above_hull'] * 1e3:.2f}", each["calculation"]
        row = rf"^ *\d+ +{each['formula']} .* {above} +{number} *$"
        assert re.search(row, printed, re.MULTILINE)
    assert f"Computed {status['computed']} of 631 candidates." in printed
    assert status["computed"] <= 120

    random = re.search(r"A random search is expected to need (\d+) calculations", printed)
    assert random
    finds, others = len(status["found"]), 631 - len(status["found"])
    assert float(random[1]) == pytest.approx(finds + finds * others / (finds + 1), abs=0.5)
    assert "hypergeometric, on the condition that these are all there are" in printed

    assert status["state"] == "stopped"
    assert f"Stopped: {status['reason']}" in printed
    (report,) = re.findall(r"^Report: (.+)$", printed, re.MULTILINE)
    page = Path(report)
    assert page.is_relative_to(folder)
    assert "cu-au" in page.read_text(encoding="utf-8")
