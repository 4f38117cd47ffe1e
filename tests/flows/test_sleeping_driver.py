"""A driver that is stopped for longer than every patience around it, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import WriteFile

PATIENCE = 6.0
"""Seconds of silence after which the lease is stale, and Dask gives a worker up."""
DRIVER = f"""
from leadline.flows import lease
lease.BEAT, lease.STALE = 1.0, {PATIENCE}
from leadline.flows.cli import main
main()
"""


def starts(store: Path) -> list[str]:
    file = store / "calculations" / "engines.log"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [line["calculation"] for line in lines if line["event"] == "start"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_driver_that_was_stopped_for_long_carries_its_campaign_on(
    prefect_api: dict[str, str], campaign_file: WriteFile, store: Path, tmp_path: Path
) -> None:
    from prefect_here import environment

    settings = {
        "distributed.scheduler.worker-ttl": f"{PATIENCE}s",
        "distributed.comm.timeouts.connect": f"{2 * PATIENCE}s",
    }
    (tmp_path / "hasty.yaml").write_text(yaml.safe_dump({"dask": settings}))
    file = campaign_file(
        engine={"name": "moody-emt", "seconds": 2.0},
        stop={"expected_missed": None, "calculations": 4},
        compute={"profile": "hasty", "workers": 2},
    )
    variables = {"LEADLINE_STORE": str(store), "LEADLINE_PROFILES": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, "run", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(Path()) | prefect_api | variables,
        start_new_session=True,
    ) as driver:
        try:
            deadline = time.monotonic() + 600
            while not starts(store):
                assert driver.poll() is None, driver.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            driver.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, driver.pid, os.WSTOPPED | os.WNOWAIT)
            time.sleep(3 * PATIENCE)
            driver.send_signal(signal.SIGCONT)
            words, errors = driver.communicate(timeout=900)
        finally:
            driver.kill()
    assert (driver.returncode, "Stopped: " in words) == (0, True), words + errors
    assert "Traceback" not in errors
    with open_store(None, store, write=False) as opened:
        (campaign,) = opened.campaigns()
        ended = opened.by_state(*CalculationState)
    assert (campaign.state, campaign.owner) == (CampaignState.STOPPED, None)
    assert [each.state for each in ended] == [CalculationState.DONE] * 6
    assert len(starts(store)) == sum(len(each.attempts) for each in ended)
