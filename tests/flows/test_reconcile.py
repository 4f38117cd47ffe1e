"""`leadline reconcile` after real crashes: in plain words, beside others, twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.tasks.reconcile_rules import RULES
from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    import subprocess

    from tests.flows.conftest import Run, Said, WriteFile

    Command = Callable[..., Said]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_the_readme_is_the_table_of_rules(command: Command) -> None:
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", README, re.M)
    for rule in RULES.values():
        assert (rule.difference, rule.proof, rule.done) in rows
    shown = command("reconcile", "--rules").out
    assert [
        name for name, rule in RULES.items() if name not in shown or rule.done not in shown
    ] == []


def test_where_there_is_no_store_none_is_made(command: Command, store: Path) -> None:
    said = command("reconcile")
    assert (said.code, "there is no store in" in said.err) == (2, True)
    assert not store.exists()


def engine_starts(store: Path) -> int:
    file = store / "calculations" / "engines.log"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return sum(line["event"] == "start" for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("served")
def test_what_a_killed_driver_left_is_settled_once_and_prefect_is_told(
    leadline: Run, command: Command, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(engine={"name": "moody-emt", "seconds": 600.0})
    driver = leadline("run", file)
    deadline = time.monotonic() + 600
    while engine_starts(store) < 2:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _is_held(command("reconcile"), driver)
    driver.kill()
    driver.wait()
    said = _until_all_is_cut(command)
    assert f"campaign small: its driver, process {driver.pid} on " in said
    assert RULES["dead-driver"].done in said
    assert re.search("run small.*: Prefect shows it as Running, and its driver", said), said
    again = command("reconcile", "small")
    assert (again.code, again.out.splitlines()[-1]) == (0, "Nothing was to be settled.")
    with open_store(None, store) as opened:
        (campaign,) = opened.campaigns()
        assert (campaign.state, campaign.owner) == (CampaignState.RESTING, None)
        first, second = opened.by_state(CalculationState.CUT)
        opened.quarantine(first.id, "remote: cut too often")
    _is_retried(command, first.id, second.id)


def _is_held(said: Said, driver: subprocess.Popen[str]) -> None:
    assert said.code == 0, said.err
    assert f"is held for writing by process {driver.pid} on " in said.out
    assert "So nothing is changed here, and this is what would be done:" in said.out
    assert "Settled" not in said.out


def _until_all_is_cut(command: Command) -> str:
    """Reconcile until the engines, which end with their workers, have been seen to end."""
    said, deadline = "", time.monotonic() + 120
    while said.count(RULES["over"].done) < 2:
        assert time.monotonic() < deadline, said
        told = command("reconcile")
        assert told.code == 0, told.err
        said += told.out
    return said


def _is_retried(command: Command, quarantined: str, other: str) -> None:
    wrong = command("reconcile", "--retry", other[:12])
    assert (wrong.code, "names no quarantined calculation" in wrong.err) == (2, True)
    told = command("reconcile", "--retry", quarantined[:12], "--why", "node mended")
    assert (told.code, "is in the queue again, for one more attempt" in told.out) == (0, True)
    again = command("reconcile", "--retry", quarantined[:12])
    assert (again.code, "none in quarantine" in again.err) == (2, True)


def test_a_campaign_that_is_not_there_is_named(command: Command, store: Path) -> None:
    open_store(None, store).close()
    said = command("reconcile", "nameless")
    assert (said.code, "there is no campaign 'nameless'" in said.err) == (2, True)
