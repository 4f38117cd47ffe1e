"""The Prefect server that a run is recorded on, and how much it has recorded.

``PREFECT_API_URL`` names it where set. Else the runs of one person on one host share
a server on loopback whose database stays in ``PREFECT_HOME``: `prefect server start`
shows the record again.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_HOME,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    PREFECT_UI_URL,
    temporary_settings,
)

from leadline.flows.loopback_server import HOST
from leadline.flows.process_settings import no_proxy, process_settings
from leadline.flows.server_register import Lobby
from leadline.tasks.compute.processes import host
from leadline.tasks.errors import PrefectServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

logger = logging.getLogger(__name__)

_SERVER_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # States of task runs are recorded many at a time: 9 ms of CPU each instead of 35 one by one.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
_ENDED = ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]


@dataclass(frozen=True)
class PrefectServer:
    """A server that answers.

    Parameters
    ----------
    api
        Address of the API, as in ``PREFECT_API_URL``.
    url
        Address to open in a browser.
    started
        Whether this run started it.
    words
        One line for people: where it is, whose, and what stays of it.
    """

    api: str
    url: str
    started: bool
    words: str


@contextmanager
def prefect_server(meanwhile: Callable[[], object] = lambda: None) -> Iterator[PrefectServer]:
    """Give the block a Prefect server, and this process the settings that reach it.

    Parameters
    ----------
    meanwhile
        Called once while a started server comes up (four seconds, the very first
        start ten more), e.g. to import what the run needs.

    Raises
    ------
    PrefectServerError
        If ``PREFECT_API_URL`` is set and nothing answers there, or if no server
        can be started.
    """
    if PREFECT_API_URL.value():
        meanwhile()
        yield _named_server()
        return
    lobby = Lobby(PREFECT_HOME.value())
    port, started = lobby.enter(_settings_for(lobby), meanwhile)
    api = f"http://{HOST}:{port}/api"
    try:
        with process_settings({"PREFECT_API_URL": api, **no_proxy()}):
            try:
                yield PrefectServer(api, PREFECT_UI_URL.value(), started, _words(port, started))
            finally:
                _send_what_waits()
    finally:
        lobby.leave()


def wait_for_task_runs(flow_run_id: UUID | str, expected: int, timeout: float = 60.0) -> int:
    """Wait until the server has recorded the end of as many task runs as we count.

    States travel as events beside the run, so they arrive late, and would be lost
    with a server that ends too early.

    Parameters
    ----------
    flow_run_id
        The flow run that the task runs belong to.
    expected
        How many of its task runs ended, by our own count.
    timeout
        Seconds to wait at most. A server that is gone is not waited for.

    Returns
    -------
    int
        How many are missing; a warning is logged if any is. Never raises.
    """
    deadline = time.monotonic() + timeout
    missing, reason = expected, f"within {timeout:.0f} s"
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 10}):
        try:
            with get_client(sync_client=True) as client:
                while missing := max(0, expected - _ended_task_runs(client, flow_run_id)):
                    if time.monotonic() >= deadline:
                        break
                    time.sleep(0.1)
        except Exception as error:  # whatever the network or a broken server does
            reason = f"the server no longer answers ({error})"
    if missing:
        logger.warning(
            "Prefect recorded the end of %d of %d task runs: %s. The store has all results.",
            expected - missing,
            expected,
            reason,
        )
    return missing


def _ended_task_runs(client: SyncPrefectClient, flow_run_id: UUID | str) -> int:
    asked = {
        "flow_runs": {"id": {"any_": [str(flow_run_id)]}},
        "task_runs": {"state": {"type": {"any_": _ENDED}}},
    }
    return int(client.request("POST", "/task_runs/count", json=asked).json())


def _named_server() -> PrefectServer:
    api, url = str(PREFECT_API_URL.value()), str(PREFECT_UI_URL.value())
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 10}):
        try:
            with get_client(sync_client=True) as client:
                client.api_version()
        except Exception as error:  # no address, no route, no certificate, no right, no server
            cause = error.__cause__ or error
            raise PrefectServerError(
                f"PREFECT_API_URL is {api}, and no Prefect server answers there: {cause}. "
                "Start that server (`prefect server start`), or name another, or unset the "
                "variable (`prefect config unset PREFECT_API_URL` if it stands in the profile) "
                "and leadline starts one on this machine."
            ) from error
    return PrefectServer(api, url, started=False, words=f"Prefect: {url} (PREFECT_API_URL)")


def _words(port: int, started: bool) -> str:
    whose = "started for this run" if started else "shared with another run"
    return (
        f"Prefect: http://{HOST}:{port} ({whose}, ends with the last that uses it; "
        "`prefect server start` shows the record again)"
    )


def _settings_for(lobby: Lobby) -> dict[str, str]:
    database = str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value())
    if not (database.startswith("sqlite") and lobby.other_hosts):
        return _SERVER_SETTINGS
    # Two hosts must not write one SQLite file: over a network file system it breaks.
    own = f"sqlite+aiosqlite:///{PREFECT_HOME.value()}/leadline-{host()}.db"
    return {**_SERVER_SETTINGS, "PREFECT_SERVER_DATABASE_CONNECTION_URL": own}


def _send_what_waits() -> None:
    """Send events and logs that still stand in queues; the workers start anew when needed."""
    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=5)
