"""How far one run of a campaign goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from leadline.flows.limits import RunLimits
from leadline.tasks.compute.profile import Profile
from leadline.tasks.errors import InputError
from leadline.tasks.ledger import node_hours
from leadline.tasks.store.records import Attempt, Calculation

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_node_hours_leave_room_for_what_fits_beside_what_runs() -> None:
    limits = RunLimits(node_hours=10.0)
    assert limits.room() is None  # nothing is known of what one takes
    limits.started, limits.price = 3, lambda: 3.0
    limits.charge(2.0)
    assert limits.room() == 0  # of the 8 that are left the two that run need 6
    limits.charge(2.0)
    limits.charge(0.5)
    assert (limits.room(), limits.reached()) == (1, "")
    limits.started = 4
    limits.charge(3.0)
    assert limits.reached() == (
        "another calculation would not fit into this run's 10 node-hours, of which it has spent 7.5"
    )


def test_the_narrowest_limit_counts() -> None:
    assert RunLimits(calculations=2, node_hours=100.0, price=lambda: 1.0).room() == 2
    assert RunLimits(calculations=99, node_hours=3.0, price=lambda: 1.0).room() == 3


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"calculations": 0}, "--calculations: found 0; allowed: 1 or more"),
        ({"hours": 0.0}, "--hours: found 0; allowed: more than 0"),
        ({"node_hours": float("inf")}, "--node-hours: found inf; allowed: more than 0"),
    ],
)
def test_a_limit_in_which_nothing_can_be_done_is_refused(
    limit: dict[str, float], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        RunLimits(**limit)  # type: ignore[arg-type]


def test_the_nodes_of_a_calculation_are_those_of_its_job_or_a_share_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    profile = Profile.model_validate(
        {
            "name": "both",
            "engines": {"espresso": {"ranks": 2, "threads": 2}},
            "larger": [
                {"above": 8, "cluster": {"kind": "slurm", "resources": {"nodes": 2, "ranks": 64}}}
            ],
        }
    )
    assert profile.nodes("espresso", sites=8) == pytest.approx(0.5)
    assert profile.nodes("espresso", sites=9) == pytest.approx(2.0)


def test_a_run_spends_what_engines_took_in_attempts_that_ended_in_it() -> None:
    attempts = (
        Attempt(1, ended=NOON - timedelta(hours=1), times={"wall": 7200.0}),
        Attempt(2, ended=NOON + timedelta(hours=1), times={"wall": 1800.0}),
        Attempt(3, ended=NOON + timedelta(hours=2)),  # lost with its worker
        Attempt(4, ended=NOON + timedelta(hours=3), times={"wall": 3600.0}),
    )
    record = Calculation("c", "s", {}, {}, "f", attempts=attempts)
    assert node_hours(record, 4.0, NOON) == pytest.approx(6.0)
