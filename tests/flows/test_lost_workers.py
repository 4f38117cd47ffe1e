"""Workers of this machine that die again as soon as they are started: real processes.

What stands in a new worker's way is a file that it looks for before anything else; the
file says after how many seconds it dies of it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, WriteFile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WORKER = "leadline.tasks.compute.local_worker"
IN_THE_WAY = f"""
import os, sys, time
if {WORKER!r} in sys.orig_argv and os.path.exists(os.environ["IN_THE_WAY"]):
    time.sleep(float(open(os.environ["IN_THE_WAY"]).read()))
    os._exit(3)
"""


@pytest.fixture
def in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that ends each worker at its start for as long as it is there."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(IN_THE_WAY)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("IN_THE_WAY", str(tmp_path / "in-the-way"))
    return tmp_path / "in-the-way"


def workers(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(driver.pid).children()
    return [each for each in children if WORKER in each.cmdline()]


def until(driver: subprocess.Popen[str], true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not true():
        assert time.monotonic() < deadline
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)


def started(store: Path) -> int:
    log = store / "calculations" / "engines.log"
    return log.read_text().count('"start"') if log.exists() else 0


def test_a_worker_that_does_not_come_back_is_told_of_once_and_the_rest_go_on(
    leadline: Run, campaign_file: WriteFile, store: Path, in_the_way: Path
) -> None:
    engine = {"name": "moody-emt", "seconds": 3.0}
    driver = leadline("run", campaign_file(engine=engine))
    until(driver, lambda: started(store) >= 2)
    in_the_way.write_text("6")
    workers(driver)[0].kill()
    out, err = driver.communicate(timeout=400)
    assert driver.returncode == 0, out + err
    told = "with nothing computed, the last time with exit code 3, and is not started again"
    assert "did not stay up 3 times in a row" in out + err
    assert (out + err).count(told) == 1
    assert "the campaign goes on with 1" in out + err
    assert "Computed 12 of 29 candidates" in out


def test_a_campaign_without_workers_ends_with_what_to_do_and_is_carried_on_later(
    leadline: Run, campaign_file: WriteFile, store: Path, in_the_way: Path
) -> None:
    file = campaign_file(engine={"name": "moody-emt", "seconds": 1.0})
    driver = leadline("run", file)
    until(driver, lambda: started(store) >= 2)
    in_the_way.write_text("0")
    for worker in workers(driver):
        worker.kill()
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 2
    assert "leadline: no worker is left: worker" in err
    assert "then run again" in err
    assert "Traceback" not in out + err
    with open_store(None, store, write=False) as opened:
        (campaign,) = opened.campaigns()
        assert campaign.state is CampaignState.RESTING
        assert "no worker is left" in campaign.reason
        assert not opened.by_state(CalculationState.QUARANTINED)
    in_the_way.unlink()
    again = leadline("run", file)
    out, err = again.communicate(timeout=400)
    assert again.returncode == 0, out + err
    assert "Computed 12 of 29 candidates" in out
