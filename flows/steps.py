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
from leadline.tasks.report.formatting import counted, duration
from leadline.tasks.store.records import Calculation, CalculationState

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


def calculation_task(work: Callable[[str], Outcome]) -> Task[[str, str, str], Any]:
    """Return the task that carries one calculation; its state tells how it ended.

    A run is named as the lab book names a structure: by formula, and the start of its id.
    """

    @task(
        name="calculate",
        task_run_name="{formula} {structure:.8}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
    )
    def calculate(calculation: str, structure: str, formula: str) -> State[None]:
        return state_of(work(calculation))

    return calculate


def state_of(outcome: Outcome) -> State[None]:
    """Return the Prefect state that says how a calculation ended.

    Its name tells apart what a person does about it: nothing (Completed), nothing yet
    (Detached), look at the machine (RemoteFailure) or the settings (ConfigurationFailure),
    run again (PhysicsFailure, which has remedies left; Cancelled), settle what cannot be
    proved (Waiting), decide (Quarantined, and whose trouble it was).
    """
    if outcome.detached:
        return Completed(name="Detached", message=outcome.waiting)
    if outcome.waiting:
        return Failed(name="Waiting", message=outcome.waiting)
    failure = outcome.failure
    if outcome.state is CalculationState.DONE:
        return Completed(message=_gave(outcome.calculation))
    if failure is None:
        return Cancelled(message="ended before an engine started")
    words = f"{failure.reason}: {failure.message}"
    if outcome.state is CalculationState.QUARANTINED:
        return Failed(name="Quarantined", message=f"{failure.kind}: {words}")
    if outcome.state is CalculationState.CANCELLED or failure.kind is FailureKind.CANCELLED:
        return Cancelled(message=failure.message)
    return Failed(name=NAMES[failure.kind], message=words)


def _gave(record: Calculation) -> str:
    """Return what a finished calculation took."""
    tries = f", attempt {len(record.attempts)}" if len(record.attempts) > 1 else ""
    steps = f" in {counted(record.steps, 'ionic step')}" if record.steps else ""
    return f"converged{steps}, {duration(record.times.get('wall'))}{tries}"
