"""What waits is started, and what ends is handed over, whatever the driver does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Timer
from types import SimpleNamespace
from typing import Any

import pytest

from leadline.flows import dispatching
from leadline.flows.dispatching import Dispatching
from leadline.flows.limits import RunLimits
from leadline.tasks.calculate import Outcome
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.store.records import Calculation, CalculationState

SECONDS = 60.0


class Desk:
    """Carries a calculation until a test lets it end."""

    def __init__(self) -> None:
        self.begun: dict[str, Event] = {name: Event() for name in "abcdef"}
        self.ends: dict[str, Event] = {name: Event() for name in "abcdef"}
        self.wrong: set[str] = set()

    def expects(self, record: Calculation | None) -> float:
        return 0.0

    def carry(self, calculation: str, cancelled: Callable[[], bool]) -> Outcome:
        self.begun[calculation].set()
        assert self.ends[calculation].wait(SECONDS)
        if calculation in self.wrong:
            raise ConfigurationError(f"{calculation} is set up wrong")
        return Outcome(record(calculation, CalculationState.DONE))


def record(name: str, state: CalculationState = CalculationState.QUEUED) -> Calculation:
    return Calculation(name, name, {"name": "emt"}, {}, "f", state=state)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatching]:
    """Two workers at work, without Prefect: threads alone."""
    with ThreadPoolExecutor(6) as threads:

        def submit(carry: Callable[[str], Outcome]) -> Any:
            def begin(calculation: str, structure: str, formula: str) -> Any:
                future = threads.submit(carry, calculation)
                return SimpleNamespace(wait=lambda: future.exception(SECONDS))

            return SimpleNamespace(submit=begin)

        monkeypatch.setattr(dispatching, "calculation_task", submit)
        watch: Any = SimpleNamespace(stop_requested=False, stop_now=False, note=lambda words: None)
        given: Any = desk
        made = Dispatching(given, 2, RunLimits(), watch)
        with made.at_work():
            yield made
        for end in desk.ends.values():
            end.set()


def add(sent: Dispatching, names: str) -> None:
    sent.add([(record(name), "Cu") for name in names])


def test_a_worker_that_is_free_starts_what_waits_although_nobody_asks(
    sent: Dispatching, desk: Desk
) -> None:
    add(sent, "abc")
    assert desk.begun["a"].wait(SECONDS)
    assert desk.begun["b"].wait(SECONDS)
    assert (sent.room(), sent.room(ahead=2)) == (0, 1)
    assert not desk.begun["c"].is_set()
    desk.ends["a"].set()
    assert desk.begun["c"].wait(SECONDS)
    assert not sent.over


def test_what_ended_is_handed_over_until_there_is_room_and_then_until_all_has(
    sent: Dispatching, desk: Desk
) -> None:
    add(sent, "abc")
    found: list[str] = []

    def note(outcome: Outcome) -> None:
        found.append(outcome.calculation.id)

    desk.ends["b"].set()
    sent.run(until=lambda: bool(found), ended=note)
    assert found == ["b"]
    for name in "ac":
        desk.ends[name].set()
    sent.run(until=lambda: False, ended=note)
    assert sorted(found) == ["a", "b", "c"]
    assert sent.over
    assert sent.started == 3


def test_an_error_starts_nothing_more_and_is_raised_once_nothing_runs(
    sent: Dispatching, desk: Desk
) -> None:
    desk.wrong = {"a", "b"}
    add(sent, "abc")
    desk.ends["a"].set()
    assert desk.begun["b"].wait(SECONDS)
    Timer(0.5, desk.ends["b"].set).start()
    with pytest.raises(ConfigurationError, match="a is set up wrong"):
        sent.run(until=lambda: False, ended=lambda outcome: None)
    assert desk.ends["b"].is_set()
    assert not desk.begun["c"].is_set()
    assert not sent.over
