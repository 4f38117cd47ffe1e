"""How a calculation ended, as the state of its task run tells it."""

from __future__ import annotations

import pytest

from leadline.flows.steps import state_of
from leadline.tasks.calculate import Outcome
from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.store.records import Attempt, Calculation, CalculationState

State = CalculationState


def outcome(
    state: State,
    kind: FailureKind | None = None,
    reason: str = "",
    waiting: str = "",
    detached: bool = False,
) -> Outcome:
    failure = Failure(kind, reason, "in the words of the engine").to_plain() if kind else None
    attempts = (Attempt(1, failure=failure),) if failure or state is State.DONE else ()
    record = Calculation(
        "c" * 64, "s" * 64, {}, {}, "f", state=state, attempts=attempts, steps=12,
        times={"wall": 4.2},
    )  # fmt: skip
    return Outcome(record, waiting, detached)


@pytest.mark.parametrize(
    ("ended", "name", "message"),
    [
        (outcome(State.DONE), "Completed", "converged in 12 ionic steps, 4.2 s"),
        (
            outcome(State.QUARANTINED, FailureKind.PHYSICS, "scf-not-converged"),
            "Quarantined",
            "physics: scf-not-converged: in the words of the engine",
        ),
        (
            outcome(State.QUARANTINED, FailureKind.REMOTE, "worker-lost"),
            "Quarantined",
            "remote: worker-lost: in the words of the engine",
        ),
        (
            outcome(State.FAILED, FailureKind.PHYSICS, "scf-not-converged"),
            "PhysicsFailure",
            "scf-not-converged: in the words of the engine",
        ),
        (
            outcome(State.CUT, FailureKind.REMOTE, "walltime"),
            "RemoteFailure",
            "walltime: in the words of the engine",
        ),
        (
            outcome(State.FAILED, FailureKind.CONFIGURATION, "no-binary"),
            "ConfigurationFailure",
            "no-binary: in the words of the engine",
        ),
        (
            outcome(State.CANCELLED, FailureKind.CANCELLED, "cancelled"),
            "Cancelled",
            "in the words of the engine",
        ),
        (outcome(State.QUEUED), "Cancelled", "ended before an engine started"),
        (
            outcome(State.CLAIMED, waiting="nothing proves that it is gone"),
            "Waiting",
            "nothing proves that it is gone",
        ),
        (outcome(State.RUNNING, waiting="job 17 goes on", detached=True), "Detached", "job 17"),
    ],
)
def test_the_state_tells_what_a_person_has_to_do(ended: Outcome, name: str, message: str) -> None:
    state = state_of(ended)
    assert state.name == name
    assert str(state.message).startswith(message)


def test_only_an_answer_and_a_job_that_goes_on_are_completed() -> None:
    states = [
        state_of(outcome(state, FailureKind.REMOTE, "lost")) for state in State if state != "done"
    ]
    assert {state.is_completed() for state in states} == {False}
    assert state_of(outcome(State.DONE)).is_completed()
