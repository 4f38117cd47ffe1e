"""A campaign on a real Slurm whose jobs ask for what calculations like theirs took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from slurm_here import Slurm

from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import open_store
from tests.flows.test_slurm_campaign import finished, profile

if TYPE_CHECKING:
    from tests.flows.conftest import Run, WriteFile

__all__ = ["profile"]
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]

FULL = {"memory": "2 GB", "walltime": "10 min"}
RULES = {
    "walltime": {"after": 2, "least": "20 s"},
    "memory": {"after": 2, "least": "100 MB"},
}


def in_order(store: Path) -> list[Calculation]:
    """Return the calculations of the campaign, as they were proposed."""
    with open_store(None, store, write=False) as read:
        asked = [str(each.calculation) for each in read.proposals("small")]
        found = read.calculations(asked)
    return [found[each] for each in asked]


def test_later_jobs_ask_for_less_and_one_that_had_too_little_is_run_again_with_more(
    leadline: Run,
    store: Path,
    slurm: Slurm,
    profile: Callable[..., None],
    campaign_file: WriteFile,
) -> None:
    profile(need=FULL, way="jobs", margin=20)
    file = campaign_file(
        engine={"name": "moody-emt"},
        start={"random": 3},
        compute={"profile": "queue", "right_sizing": RULES},
        stop={"expected_missed": None, "calculations": 4},
    )
    finished(leadline("run", file, "--calculations", 5))
    first, last = in_order(store)[0], in_order(store)[-1]
    assert (
        first.attempts[0].asked["walltime"],
        slurm.limit(str(first.attempts[-1].where["job"])),
    ) == (600, "00:10:00")
    assert (
        last.attempts[-1].asked["walltime"],
        slurm.limit(str(last.attempts[-1].where["job"])),
    ) == (60, "00:01:00")
    assert last.attempts[-1].asked["memory"] < first.attempts[0].asked["memory"] == 2e9
    out = finished(leadline("run", file, "--set", "engine.seconds=45"))
    assert "Computed 4 of" in out
    slow = in_order(store)[-1]
    assert slow.state is CalculationState.DONE
    cut, *_, done = slow.attempts
    assert cut.failure is not None
    assert (cut.failure["kind"], cut.failure["reason"]) == ("remote", "walltime")
    assert cut.asked["walltime"] == 60 < done.asked["walltime"]
    assert cut.times["wall"] < 40 < done.times["wall"]
    assert slow.attempts[1].reason.startswith(
        "again with more walltime, after walltime: asked for 1 min 00 s and "
    )
