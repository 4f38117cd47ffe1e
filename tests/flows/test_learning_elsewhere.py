"""A campaign whose model is trained on a worker of another machine profile."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.tasks.store.records import Proposal
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

pytestmark = pytest.mark.usefixtures("served")
Command = Callable[..., "Said"]


def picks(store: Path, name: str) -> list[Proposal]:
    with open_store(None, store, write=False) as opened:
        return opened.proposals(name)


@pytest.mark.slow
def test_a_campaign_that_learns_on_a_worker_makes_the_picks_of_one_that_learns_in_the_driver(
    command: Command, campaign_file: WriteFile, store: Path
) -> None:
    said = command("run", campaign_file("here", compute={"workers": 1}))
    assert said.code == 0, said.err
    file = campaign_file("there", compute={"workers": 1, "learn": "local"})
    checked = command("check", file)
    assert re.search(r"ok    learning    local, on \d+ CPU threads: the same", checked.out), checked
    said = command("run", file)
    assert said.code == 0, said.err
    assert "learning happens" not in said.out + said.err
    here, there = picks(store, "here"), picks(store, "there")
    assert [each.structure for each in there] == [each.structure for each in here]
    for one, other in zip(here, there, strict=True):
        if one.why["mean"] is not None:
            assert other.why["mean"] == pytest.approx(one.why["mean"], abs=1e-6)


def test_a_profile_that_is_not_there_is_no_place_to_learn(
    command: Command, campaign_file: WriteFile
) -> None:
    said = command("check", campaign_file(compute={"learn": "nowhere"}))
    assert said.code == 1
    assert "no machine profile is called 'nowhere'" in said.out
