"""How much of their time workers compute, in steady mode beside batches.

Small by default; ``LEADLINE_BENCHMARK=full`` has 64 workers compute 640 calculations of 30 s
in steady mode and in batches of 64, and then of 1 s. What is real is said in ``idle.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FULL = os.environ.get("LEADLINE_BENCHMARK") == "full"
WORKERS, CALCULATIONS, SECONDS = (64, 640, 30.0) if FULL else (8, 48, 12.0)
BUSY = 0.95 if FULL else 0.9
"""Share of worker time. A start costs what it does, and weighs more in a shorter calculation."""


def measured(seconds: float, mode: str) -> dict[str, Any]:
    script = Path(__file__).with_name("idle.py")
    asked = [str(WORKERS), str(CALCULATIONS), str(seconds), mode]
    done = subprocess.run(
        [sys.executable, str(script), *asked], capture_output=True, text=True, check=True
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{WORKERS} workers, {CALCULATIONS} calculations of {seconds:g} s, {mode}: {figures}")
    return figures


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_in_steady_mode_workers_do_not_wait_for_the_driver(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with capsys.disabled():
        figures = measured(SECONDS, "steady")
    assert figures["computed"] == CALCULATIONS
    assert figures["busy"] >= BUSY


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FULL, reason="takes twenty minutes: LEADLINE_BENCHMARK=full")
@pytest.mark.parametrize(("seconds", "mode"), [(SECONDS, "batch"), (1.0, "steady")])
def test_what_keeps_workers_from_computing_is_said(
    seconds: float, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        figures = measured(seconds, mode)
    causes = figures["busy"] + figures["starting"] + figures["unpicked"]
    assert causes == pytest.approx(1.0, abs=1e-3)
