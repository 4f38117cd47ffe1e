"""Runs that Prefect shows as running although their driver is gone.

Prefect marks nobody as crashed who could not say so himself. The store's log knows
which process drove which flow run, and that process can be proved gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import Crashed

from leadline.tasks.drivers import owners_of_runs
from leadline.tasks.errors import PrefectServerError
from leadline.tasks.reconcile import Difference
from leadline.tasks.store.owner import in_words
from leadline.tasks.store.store import Store

OPEN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
LATEST = 200
"""Runs of the past that are asked for: Prefect gives so many at once."""


def crashed_runs(
    store: Store, campaigns: Iterable[str], is_dead: Callable[[str], bool]
) -> Iterator[Difference]:
    """Yield the flow runs that are open in Prefect while their driver is gone.

    Raises
    ------
    Exception
        Whatever the way to the server does.
    """
    began = (each for name in campaigns for each in owners_of_runs(store, name).items())
    owners = {UUID(run): owner for run, owner in began}
    dead = [run for run, owner in owners.items() if is_dead(owner)][-LATEST:]
    if not dead:
        return
    asked_once = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 10}
    with temporary_settings(asked_once), get_client(sync_client=True) as client:
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=OPEN))
        for run in client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=dead), state=state)
        ):
            who = in_words(owners[run.id])
            found = f"Prefect shows it as {run.state_name}, and its driver, {who}, is gone"
            subject = f"run {run.name} {str(run.id)[:8]}"
            yield Difference("prefect-run", subject, found, partial(_crash, client, run, who))


def _crash(client: SyncPrefectClient, run: FlowRun, who: str) -> None:
    state = TaskRunFilterState(type=TaskRunFilterStateType(any_=OPEN))
    words = f"its driver, {who}, was killed; "
    try:
        for task in client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
            task_run_filter=TaskRunFilter(state=state),
        ):
            known: State[None] = Crashed(
                message=words + "the store knows what became of the calculation"
            )
            client.set_task_run_state(task.id, known, force=True)
        carried: State[None] = Crashed(message=words + "`leadline run` carries the campaign on")
        client.set_flow_run_state(run.id, carried, force=True)
    except Exception as error:  # whatever the network or a broken server does
        raise PrefectServerError(f"{type(error).__name__}: {error}") from error
