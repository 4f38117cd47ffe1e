"""Settings that change while a campaign runs: a real driver, and commands beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flows.steered import campaign_of, ended, engines, until

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.usefixtures("served"),
]
Command = Callable[..., "Said"]


def test_a_running_campaign_takes_over_what_is_set_and_an_old_file_takes_none_of_it_back(
    leadline: Run, command: Command, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(
        engine={"name": "moody-emt", "seconds": 3.0},
        stop={"expected_missed": None, "calculations": 29},
        compute={"workers": 1},
    )
    driver = leadline("run", file)
    until(lambda: engines(store), driver)
    wanted = ("stop.calculations=4", "acquisition.batch=2", "compute.workers=2")
    said = command("set", "small", *wanted, "--why", "a short one")
    assert " has taken over acquisition.batch = 2, compute.workers = 2" in said.out, said.err
    words = ended(driver)
    assert "set by " in words
    assert "(a short one)" in words
    status = json.loads(command("status", "small", "--json").out)
    assert (status["state"], status["computed"]) == ("stopped", 4)
    assert _most_at_once(store) == 2
    _is_on_record(store)
    _holds_over_the_old_file(leadline, command, file)


def _most_at_once(store: Path) -> int:
    alive, most = 0, 0
    for line in engines(store):
        alive += 1 if line["event"] == "start" else -1
        most = max(most, alive)
    return most


def _is_on_record(store: Path) -> None:
    campaign = campaign_of(store)
    (version,) = campaign.versions
    assert (version["why"], version["how"]) == ("a short one", "leadline set")
    assert version["by"]
    assert version["spec"]["stop"]["calculations"] == 29
    assert campaign.spec["stop"]["calculations"] == 4
    assert campaign.in_flight["stop.calculations"]["file"] == 29


def _holds_over_the_old_file(leadline: Run, command: Command, file: Path) -> None:
    refused = command("set", "small", "engine.seconds=1")
    assert (refused.code, "engine.seconds: cannot change" in refused.err) == (2, True)
    waits = command("set", "small", "stop.calculations=5")
    assert waits.out == "no run works on small: the next takes over stop.calculations = 5\n"
    assert "pending: set stop.calculations = 5, by " in command("status", "small").out
    words = ended(leadline("run", file))
    assert "stop.calculations is 5, set by " in words
    assert "and not 29 as in the file" in words
    found = json.loads(command("status", "small", "--json").out)
    assert (found["computed"], found["pending"]) == (5, [])
    assert "  set: stop.calculations = 5, by " in command("status", "small").out
    words = ended(leadline("run", file, "--set", "stop.calculations=6"))
    assert "stop.calculations is 6 by the file, which changed since 5 was set by " in words
