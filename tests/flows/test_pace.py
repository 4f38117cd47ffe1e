from __future__ import annotations

import pytest

from leadline.flows.pace import RECENT, Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that a pace sees: its last number."""
    now = [0.0]
    monkeypatch.setattr("leadline.flows.pace.monotonic", lambda: now[-1])
    return now


def after_rounds(clock: list[float], *seconds: float, took: float | None = 100.0) -> Pace:
    made = Pace()
    if took is not None:
        made.ended(took)
    for each in seconds:
        clock.append(clock[-1] + each)
        with made.waiting():
            clock.append(clock[-1] + 1000.0)
    return made


def test_as_many_picks_wait_as_workers_take_while_two_rounds_are_made(clock: list[float]) -> None:
    assert after_rounds(clock, 1.5, took=30.0).ahead(64) == 7  # 2 rounds of 1.5 s, 64 ends in 30 s


def test_the_longest_of_the_last_rounds_counts_and_long_past_ones_no_more(
    clock: list[float],
) -> None:
    assert after_rounds(clock, 1.0, 5.0, 1.0).ahead(10) == 1
    assert after_rounds(clock, 1.0, 15.0, 1.0).ahead(10) == 3
    assert after_rounds(clock, 15.0, *[1.0] * RECENT).ahead(10) == 1


def test_no_worker_has_more_than_one_pick_waiting(clock: list[float]) -> None:
    assert after_rounds(clock, 5.0, took=0.0).ahead(4) == 4


def test_nothing_is_picked_ahead_before_the_pace_is_known(clock: list[float]) -> None:
    assert after_rounds(clock, 5.0, took=None).ahead(4) == 0
    assert after_rounds(clock).ahead(4) == 0
