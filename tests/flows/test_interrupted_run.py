"""Ctrl-C on a campaign that computes: once it rests, twice it stops; both are carried on."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil
import pytest

from leadline.flows import cli
from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

SLOW = {"name": "moody-emt", "seconds": 4.0}
BUDGET = {"expected_missed": None, "calculations": 4}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def engines(store: Path) -> list[dict[str, object]]:
    file = store / "calculations" / "engines.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wait_for_starts(process: subprocess.Popen[str], store: Path, number: int) -> None:
    deadline = time.monotonic() + 120
    while sum(line["event"] == "start" for line in engines(store)) < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> str:
    words, errors = process.communicate(timeout=200)
    assert process.returncode == 0, words + errors
    return words + errors


def state(store: Path) -> tuple[CampaignState, str, dict[CalculationState, int]]:
    with open_store(None, store, write=False) as opened:
        (campaign,) = opened.campaigns()
        counts = {each: len(opened.by_state(each)) for each in CalculationState}
    return campaign.state, campaign.reason, {each: n for each, n in counts.items() if n}


def lines(stream: IO[str] | None) -> Iterator[str]:
    assert stream is not None
    return iter(stream.readline, "")


def test_ctrl_c_once_finishes_what_runs_and_twice_stops_at_once(
    leadline: Run, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(engine=SLOW, stop=BUDGET)
    _rests(leadline("run", file), store)
    _stops_at_once(leadline("run", file), store)
    words = ended(leadline("run", file, "--set", "engine.seconds=0"))
    assert "carrying on" in words
    assert state(store)[0] is CampaignState.STOPPED
    assert state(store)[2] == {CalculationState.DONE: 6}


def _rests(run: subprocess.Popen[str], store: Path) -> None:
    wait_for_starts(run, store, 2)
    run.send_signal(signal.SIGINT)
    words = ended(run)
    assert "finishing what runs; Ctrl-C again stops at once" in words
    assert "Resting: Stopped by hand." in words
    found, reason, counts = state(store)
    assert (found, reason) == (CampaignState.RESTING, "Stopped by hand.")
    assert counts == {CalculationState.DONE: 2}


def _stops_at_once(run: subprocess.Popen[str], store: Path) -> None:
    wait_for_starts(run, store, 4)
    alive = [psutil.Process(int(str(line["pid"]))) for line in engines(store)[-2:]]
    run.send_signal(signal.SIGINT)
    assert any("finishing what runs" in line for line in lines(run.stdout))
    run.send_signal(signal.SIGINT)
    gone, left = psutil.wait_procs(alive, timeout=3)
    assert (len(gone), left) == (2, [])
    ended(run)
    found, _, counts = state(store)
    assert found is CampaignState.RESTING
    assert counts[CalculationState.CANCELLED] == 2
    assert counts[CalculationState.DONE] == 2


def test_a_second_driver_is_told_who_holds_the_store(
    leadline: Run, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(engine=SLOW)
    first = leadline("run", file)
    wait_for_starts(first, store, 1)
    second = leadline("run", file)
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 2
    assert f"is held for writing by process {first.pid} on " in errors
    assert "Traceback" not in errors


def test_ctrl_c_before_a_run_has_begun_ends_the_command_without_a_word(
    command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    said = command("run", "file.yaml")
    assert (said.code, said.out, said.err) == (cli.INTERRUPTED, "", "")


def test_ctrl_c_that_a_library_takes_for_an_error_ends_the_command_without_a_word(
    command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def serialising() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        except KeyboardInterrupt as interrupt:
            raise ValueError("cannot be serialised") from interrupt

    monkeypatch.setattr(cli, "app", serialising)
    said = command("run", "file.yaml")
    assert (said.code, said.out, said.err) == (cli.INTERRUPTED, "", "")


def test_ctrl_c_in_the_midst_of_an_import_that_takes_exceptions_for_its_own_is_not_lost(
    command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "greedy.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(0.2)\n"
        "except BaseException:\n"
        "    print('lost')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def importing() -> None:
        importlib.import_module("greedy")
        time.sleep(60)

    monkeypatch.setattr(cli, "app", importing)
    said = command("run", "file.yaml")
    assert (said.code, said.out, said.err) == (cli.INTERRUPTED, "", "")
