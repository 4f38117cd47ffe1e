"""Steps of the loop as Prefect tasks: shown in the UI, never cached, never retried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from leadline.tasks.calculate import Outcome
from leadline.tasks.calculation import FailureKind
from leadline.tasks.store.records import CalculationState

T = TypeVar("T")

NAMES = {
    FailureKind.PHYSICS: "PhysicsFailure",
    FailureKind.REMOTE: "RemoteFailure",
    FailureKind.CONFIGURATION: "ConfigurationFailure",
}


class Steps:
    """Does steps as task runs, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def do(self, name: str, run_name: str, work: Callable[[], T]) -> T:
        """Do a step of the loop as a task run that the UI shows by ``run_name``."""
        self.count += 1
        run = task(name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)(
            work
        )
        return run()


def calculation_task(work: Callable[[str], Outcome]) -> Task[[str, str], Any]:
    """Return the task that carries one calculation; its state tells how it ended."""

    @task(
        name="calculate",
        task_run_name="{formula} {calculation:.8}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
    )
    def calculate(calculation: str, formula: str) -> State[None]:
        return state_of(work(calculation))

    return calculate


def state_of(outcome: Outcome) -> State[None]:
    """Return the Prefect state that says how a calculation ended."""
    if outcome.detached:
        return Completed(name="Detached", message=outcome.waiting)
    if outcome.waiting:
        return Failed(name="Waiting", message=outcome.waiting)
    failure = outcome.failure
    if failure is None:
        return Completed(message="converged")
    if outcome.state is CalculationState.CANCELLED or failure.kind is FailureKind.CANCELLED:
        return Cancelled(message=failure.message)
    name = "Quarantined" if failure.kind is FailureKind.PHYSICS else NAMES[failure.kind]
    return Failed(name=name, message=f"{failure.reason}: {failure.message}")
