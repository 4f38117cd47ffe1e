"""Calculations under any order of calls, on every store: a model of their states beside it.

What the model does not allow is refused by ConflictError and changes nothing; states,
attempts and events agree after each call. The embedded store is killed on the way,
between two steps and within one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from store_machine import StoreMachine, run_machine

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.errors import ConflictError
from leadline.tasks.store.records import Calculation, CalculationState

State = CalculationState
CAMPAIGN = "cu-au"
IDS = ("c0", "c1", "c2")
LOST = Failure(FailureKind.REMOTE, "worker-lost", "the worker went away")
STARTED = (State.CLAIMED, State.RUNNING)
ENDED = (State.FAILED, State.CUT, State.CANCELLED)

ids = st.sampled_from(IDS)
away = st.sampled_from([0, 0, 0, 0, -1, 1])
"""How far from the last attempt the one is that a call names."""


@dataclass
class Modelled:
    """What is to be known of one calculation."""

    state: State
    attempts: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def become(self, state: State, *, attempt: bool = True) -> None:
        self.state = state
        self.events.append(f"calculation.{state}")
        if attempt:
            self.attempts[-1] = str(state)


class Calculations(StoreMachine):
    """Calculations, and what they should be."""

    def __init__(self, folder: Path, uri: str | None) -> None:
        super().__init__(folder, uri)
        self.model: dict[str, Modelled] = {}

    @rule(ids=st.lists(ids, min_size=1, max_size=4))
    def queue(self, ids: list[str]) -> None:
        asked = [Calculation(each, "s", {}, {}, "f", campaign=CAMPAIGN) for each in ids]
        found = self.store.ensure_calculations(asked)
        for each in ids:
            if each not in self.model:
                self.model[each] = Modelled(State.QUEUED, events=["calculation.queued"])
        assert [each.state for each in found] == [self.model[each].state for each in ids]

    @precondition(lambda self: self.model)
    @rule(id=ids, owner=st.sampled_from(["one", "two"]))
    def claim(self, id: str, owner: str) -> None:
        if (mine := self.model.get(id)) is None:
            return
        attempt = self.store.claim(id, owner, campaign=CAMPAIGN)
        assert (attempt is not None) == (mine.state is State.QUEUED)
        if attempt is not None:
            mine.attempts.append("")
            mine.become(State.CLAIMED)
            assert attempt.number == len(mine.attempts)

    @rule(id=ids, away=away)
    def start(self, id: str, away: int) -> None:
        self.attempt(
            id,
            away,
            (State.CLAIMED,),
            State.RUNNING,
            lambda number: self.store.start(id, number, {"host": "node1"}),
        )

    @rule(id=ids, away=away, energy=st.floats(-1e6, 1e6))
    def finish(self, id: str, away: int, energy: float) -> None:
        def end(number: int) -> None:
            self.store.finish(id, number, Result(id, number, True, energy=energy))

        self.attempt(id, away, STARTED, State.DONE, end)

    @rule(id=ids, away=away, state=st.sampled_from(ENDED))
    def fail(self, id: str, away: int, state: State) -> None:
        self.attempt(
            id, away, STARTED, state, lambda number: self.store.fail(id, number, LOST, state)
        )

    @rule(id=ids)
    def requeue(self, id: str) -> None:
        self.move(id, State.QUEUED, lambda: self.store.requeue(id))

    @rule(id=ids)
    def quarantine(self, id: str) -> None:
        self.move(id, State.QUARANTINED, lambda: self.store.quarantine(id, "enough"))

    @precondition(lambda self: self.uri is None and self.model)
    @rule(id=ids)
    def be_killed_within_a_step(self, id: str) -> None:
        with self.store.step():
            for each in self.model:
                self.store.claim(each, "the killed one", campaign=CAMPAIGN)
            self.store.log(CAMPAIGN, "lost", id)
            self.leave_behind()
        self.live_on()

    @invariant()
    def what_is_stored_is_what_the_model_knows(self) -> None:
        stored = self.store.calculations(IDS)
        assert stored.keys() == self.model.keys()
        for id, mine in self.model.items():
            found = stored[id]
            assert found.state is mine.state
            assert [each.state for each in found.attempts] == mine.attempts
            assert [each.number for each in found.attempts] == [*range(1, len(mine.attempts) + 1)]
            assert (found.energy is not None) == (mine.state is State.DONE)
            assert (found.failure is not None) == ("failed" in self.last(mine))
        queued = {id for id, mine in self.model.items() if mine.state is State.QUEUED}
        assert {each.id for each in self.store.by_state(State.QUEUED)} == queued

    @invariant()
    def events_tell_the_same(self) -> None:
        events = self.store.events(CAMPAIGN)
        assert "lost" not in [each.kind for each in events]
        for id, mine in self.model.items():
            assert [each.kind for each in events if each.subject == id] == mine.events

    def last(self, mine: Modelled) -> str:
        ended = [each for each in mine.attempts if each not in map(str, STARTED)]
        return "failed" if ended and ended[-1] in map(str, ENDED) else ""

    def attempt(
        self,
        id: str,
        away: int,
        before: tuple[State, ...],
        after: State,
        call: Callable[[int], None],
    ) -> None:
        """Make a call on an attempt; it is allowed on the last one, from some states."""
        if (mine := self.model.get(id)) is None:
            return
        if mine.state in before and away == 0:
            call(len(mine.attempts))
            mine.become(after)
        else:
            self.refused(id, lambda: call(len(mine.attempts) + away))

    def move(self, id: str, after: State, call: Callable[[], None]) -> None:
        if (mine := self.model.get(id)) is None:
            return
        if mine.state in ENDED:
            call()
            mine.become(after, attempt=False)
        else:
            self.refused(id, call)

    def refused(self, id: str, call: Callable[[], None]) -> None:
        record = self.store.calculation(id)
        with pytest.raises(ConflictError):
            call()
        assert self.store.calculation(id) == record


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["embedded", "wire"])
def test_calculations_obey_their_model(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = str(request.getfixturevalue("wire_uri")) if kind == "wire" else None

    run_machine(Calculations, tmp_path, uri, examples=40, steps=25)
