"""A budget in node-hours, and what is expected of a pick's calculation besides its answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

pytestmark = pytest.mark.usefixtures("served")
SECONDS = 0.4
BUDGET = 14 * SECONDS / (os.cpu_count() or 1) / 3600
"""Of 14 calculations that take no longer than that, a core each."""


def test_a_budget_in_node_hours_ends_a_campaign_and_picks_say_what_they_may_take(
    command: Callable[..., Said], campaign_file: WriteFile, store: Path
) -> None:
    stop = {"node_hours": BUDGET, "expected_missed": None, "calculations": None}
    engine = {"name": "moody-emt", "seconds": SECONDS}
    file = campaign_file("worth", engine=engine, acquisition={"batch": 2}, stop=stop)
    said = command("run", file)
    assert said.code == 0, said.err
    assert f"of {BUDGET:g} node-hours" in said.out
    with open_store(None, store, write=False) as opened:
        last = opened.rounds("worth")[-1]
        proposals = opened.proposals("worth")
    assert last.verdict is not None
    assert last.verdict["rule"] == "node_hours"
    spent, price = last.verdict["evidence"]["node_hours"], last.verdict["evidence"]["price"]
    assert 0 < spent < BUDGET + 2 * price
    assert spent + price > BUDGET
    late = [each for each in proposals if each.why["share"] == "exploit"]
    assert late
    assert all(each.why["expected_cost"] > 0 for each in late)
    assert "at most in nine of ten" in command("show", "worth", late[-1].structure[:12]).out
    again = command("run", file)
    assert (again.code, "nothing was run" in again.out) == (0, True)
    assert f"stop.node_hours={2 * BUDGET:g}" in again.out
    assert json.loads(command("status", "worth", "--json").out)["state"] == "stopped"
