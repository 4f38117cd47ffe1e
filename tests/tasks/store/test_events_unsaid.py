"""A driver that dies on a server between a change and its event leaves the event in the record."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from java_server import JavaServer

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.store.records import Calculation, CalculationState, Campaign
from leadline.tasks.store.store import Store, open_store

ID = "a" * 64
LOST = Failure(FailureKind.REMOTE, "worker-lost", "gone")


class KilledError(BaseException):
    """Stands for SIGKILL: nothing of the driver runs after it."""


@pytest.fixture
def store(java_server: JavaServer) -> Iterator[Store]:
    with open_store(f"{java_server.uri}test_{secrets.token_hex(4)}") as opened:
        opened.create_campaign(Campaign("one", {}))
        yield opened


def queue(store: Store) -> None:
    store.ensure_calculations([Calculation(ID, "s", {}, {}, "f", campaign="one")])


def claim(store: Store) -> None:
    store.claim(ID, "somebody", campaign="one")


def cut(store: Store) -> None:
    store.fail(ID, 1, LOST, CalculationState.CUT)


def requeue(store: Store) -> None:
    store.requeue(ID)


def finish(store: Store) -> None:
    store.finish(ID, 2, Result(ID, 2, converged=True, energy=-1.0))


WAY = (queue, claim, cut, requeue, claim, finish)


def told(store: Store) -> list[str]:
    events = [each for each in store.events("one") if each.subject == ID]
    return [each.kind.removeprefix("calculation.") for each in events]


@pytest.mark.parametrize("step", range(len(WAY)))
def test_what_a_dead_driver_left_unsaid_is_logged_by_the_next(
    store: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change in WAY[:step]:
        change(store)
    _dies_in(WAY[step], store, monkeypatch)
    before = told(store)
    store.log_again([ID])
    store.log_again([ID])
    assert told(store) == [*before, str(store.calculations([ID])[ID].state)]
    for change in WAY[step + 1 :]:
        change(store)
    assert told(store) == ["queued", "claimed", "cut", "queued", "claimed", "done"]


def _dies_in(
    change: Callable[[Store], None], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_append", die)
        with pytest.raises(KilledError):
            change(store)
