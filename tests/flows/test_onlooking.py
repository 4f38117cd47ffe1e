"""`leadline watch`: a campaign from the store alone, while a driver works and afterwards."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

Command = Callable[..., "Said"]
SLOW = {"name": "moody-emt", "seconds": 1.0}


def test_a_campaign_is_watched_from_another_process_to_its_end(
    leadline: Run, campaign_file: WriteFile, store: Path
) -> None:
    stop = {"expected_missed": None, "calculations": 6}
    driver = leadline("run", campaign_file("seen", engine=SLOW, stop=stop))
    log, deadline = store / "calculations" / "engines.log", time.monotonic() + 200
    while not log.exists():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    watching = leadline("watch", "seen")
    out, err = watching.communicate(timeout=250)
    assert (watching.returncode, err) == (0, "")
    driver.communicate(timeout=60)
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in out.splitlines()]
    assert any(line.startswith("seen, round ") for line in lines)
    assert any(" eV/atom" in line for line in lines)
    assert any(re.match(r"Round \d+ is closed: ", line) for line in lines)
    assert lines[-1].startswith("seen: stopped. The budget is spent: 6 of 6 calculations.")
    assert "\x1b" not in out


@pytest.mark.usefixtures("served")
def test_a_campaign_at_rest_is_shown_once(command: Command, campaign_file: WriteFile) -> None:
    nothing = command("watch", "rests")
    assert (nothing.code, "there is no store in " in nothing.err) == (2, True)
    assert command("run", campaign_file("rests"), "--calculations", 4).code == 0
    unknown = command("watch", "rest")
    assert (unknown.code, "no campaign 'rest'" in unknown.err) == (2, True)
    shown = command("watch", "rests")
    assert shown.code == 0
    first, last = shown.out.splitlines()
    assert "rests, round 1; 2 of 12 calculations" in first
    assert last == "rests: resting. This run's 4 calculations are done."


def test_the_end_of_watching_is_not_the_end_of_the_campaign(
    leadline: Run, campaign_file: WriteFile, store: Path
) -> None:
    driver = leadline("run", campaign_file("goes-on", engine=SLOW), "--calculations", 6)
    log, deadline = store / "calculations" / "engines.log", time.monotonic() + 200
    while not log.exists():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    watching = leadline("watch", "goes-on")
    assert watching.stdout is not None
    assert "goes-on, round" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    out, _ = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert re.search(r"goes-on goes on, driven by process \d+ on ", out)
    driver.communicate(timeout=200)
    assert driver.returncode == 0


def test_watching_loads_neither_prefect_nor_torch() -> None:
    script = (
        "import sys, leadline.flows.onlooking\n"
        "print({'prefect', 'torch'} & {name.partition('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
