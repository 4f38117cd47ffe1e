"""The inbox under any order of messages and deaths, on every store: a model of it beside it.

What others append is applied by the holder, in its order, and becomes one event each.
Wherever a holder dies, the next applies what has no event, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from store_machine import StoreMachine, run_machine

from leadline.tasks.store.records import Calculation, CalculationState, Event, Message
from leadline.tasks.store.store import Store

CAMPAIGN, OTHER = "cu-au", "cu-au-2"
nths = st.integers(0, 3)


class Inbox(StoreMachine):
    """The holder of a store, another process that asks it, and what should come of it."""

    def __init__(self, folder: Path, uri: str | None) -> None:
        self.reader: Store | None = None
        super().__init__(folder, uri)
        self.sent: list[Message] = []
        self.deleted = 0
        self.logged = 0
        """On a server one more than was deleted, where the holder died in between."""
        self.applied: list[Message] = []
        """By the holder of now, since it last looked."""

    def opened(self, *, write: bool = True) -> Store:
        if self.reader is not None:
            self.reader.close()
        holder = super().opened(write=write)
        self.reader = super().opened(write=False)
        return holder

    def teardown(self) -> None:
        assert self.reader is not None
        self.reader.close()
        super().teardown()

    @rule(asked=st.lists(st.sampled_from(["verdict", "setting", "stop"]), min_size=1, max_size=3))
    def ask(self, asked: list[str]) -> None:
        assert self.reader is not None
        for kind in asked:
            self.sent.append(self.reader.send(CAMPAIGN, kind, {"nth": len(self.sent)}))
            self.store.send(OTHER, kind, {})

    @rule()
    def take(self) -> None:
        self.applied = []
        self.store.take_inbox(CAMPAIGN, self.apply)
        assert self.applied == self.sent[self.logged :]
        self.deleted = self.logged = len(self.sent)

    @rule(nth=nths)
    def die_before_a_message_is_applied(self, nth: int) -> None:
        self.die(nth, "ensure_calculations")

    @rule(nth=nths)
    def die_before_a_message_is_logged(self, nth: int) -> None:
        self.die(nth, "_insert")

    @rule(nth=nths)
    def die_before_a_message_is_deleted(self, nth: int) -> None:
        self.die(nth, "_delete")

    def die(self, nth: int, before: str) -> None:
        """Die before a call of a method for one of the messages that wait."""
        if self.deleted == len(self.sent):
            return
        last = min(self.deleted + nth, len(self.sent) - 1)
        message = self.sent[last]
        at: dict[str, Callable[..., bool]] = {
            "ensure_calculations": lambda asked: asked[0].id == effect(message).id,
            "_insert": lambda document, record, **more: (
                isinstance(record, Event) and record.subject == message.id
            ),
            "_delete": lambda document, **query: query == {"pk": message.id},
        }
        unlogged = last >= self.logged
        self.applied = []
        with self.dying_in(before, at[before]):
            self.store.take_inbox(CAMPAIGN, self.apply)
        if before == "_delete" or unlogged:
            self.deleted, self.logged = last, max(self.logged, last)
            self.logged += before == "_delete" and unlogged and self.uri is not None
        else:  # it was logged before, and neither applied nor logged again
            self.deleted = self.logged = len(self.sent)

    @invariant()
    def each_message_is_one_event_or_waits(self) -> None:
        events = [each for each in self.store.events(CAMPAIGN) if each.kind.startswith("inbox.")]
        assert [
            (each.kind, each.subject, each.details["payload"], each.details["sender"])
            for each in events
        ] == [
            (f"inbox.{each.kind}", each.id, each.payload, each.sender)
            for each in self.sent[: self.logged]
        ]
        waiting = self.store._documents.inbox.objects(campaign=CAMPAIGN).order_by("pk")
        assert [each.id for each in waiting] == [each.id for each in self.sent[self.deleted :]]

    @invariant()
    def what_is_logged_was_applied(self) -> None:
        done = {each.id for each in self.store.by_state(CalculationState.QUEUED)}
        logged = {effect(each).id for each in self.sent[: self.logged]}
        at_hand = {effect(each).id for each in self.sent[self.logged : self.logged + 1]}
        assert logged <= done <= logged | (at_hand if self.uri else set())

    def apply(self, message: Message) -> None:
        self.applied.append(message)
        self.store.ensure_calculations([effect(message)])


def effect(message: Message) -> Calculation:
    """Return what the holder makes for a message: it bears to be made twice."""
    return Calculation(f"for {message.id}", "s", {}, {}, "f", campaign=OTHER)


@pytest.mark.timeout(900)  # to make a failure small takes minutes
@pytest.mark.parametrize("kind", ["embedded", "wire"])
def test_the_inbox_obeys_its_model(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = str(request.getfixturevalue("wire_uri")) if kind == "wire" else None
    run_machine(Inbox, tmp_path, uri, examples=15, steps=15)
