"""The driver's own cost of a calculation, as a ratio to Prefect's and Dask's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = os.environ.get("LEADLINE_BENCHMARK") == "full"
HELD, COUNT = (10_000, 400) if FULL else (500, 60)
RATIO = 3.0
"""Times the peer's CPU time: claim, turn, result file, record and three events are in it."""


@pytest.mark.benchmark
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_recorded_calculation_costs_the_driver_at_most_three_bare_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Path(__file__).with_name("driver_cost.py")
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "DO_NOT_TRACK": "1"}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(
        [sys.executable, str(script), str(HELD), str(COUNT)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\ndriver's cost of a calculation, ms: {json.dumps(figures)}")
    assert figures["ours"]["cpu_ms"] <= RATIO * figures["peer"]["cpu_ms"]
