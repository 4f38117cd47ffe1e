"""The Prefect server that a run is recorded on, and how much it has recorded.

``PREFECT_API_URL`` names it where set. Else the runs of one person on one host share
a server on loopback whose database stays in ``PREFECT_HOME``: `prefect server start`
shows the record again.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    PREFECT_UI_URL,
    temporary_settings,
)

from leadline.flows.console_logging import quiet_senders
from leadline.flows.loopback_server import HOST
from leadline.flows.prefect_trouble import (
    IMPATIENT,
    PATIENT,
    lent_retries,
    reason_of,
    send_what_waits,
    why_no_server,
)
from leadline.flows.process_settings import defaults, no_proxy, process_settings
from leadline.flows.server_register import Lobby, Origin
from leadline.tasks.beside import beside
from leadline.tasks.compute.processes import host
from leadline.tasks.errors import PrefectServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prefect.client.orchestration import SyncPrefectClient

logger = logging.getLogger(__name__)

_SERVER_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # The second UI lets the browser ask a host of Amplitude's for settings, whatever is set here.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    # States of task runs are recorded many at a time: 9 ms of CPU each instead of 35 one by one.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
WATCH_S = 2.0
"""Seconds between two looks at a server of this host."""
REVIVALS = 3
"""How often one run starts a server again that dies."""
STALLED_S = 20.0
"""A server that records task runs records the next within this, however busy."""
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
        If ``PREFECT_API_URL`` is set and no Prefect server answers there, or refuses
        the password, or if no server can be started.
    """
    with quiet_senders(), process_settings(defaults(PATIENT)):
        if PREFECT_API_URL.value():
            meanwhile()
            server = _named_server()
            try:
                with lent_retries():
                    yield server
            finally:
                send_what_waits()
        else:
            with _own_server(meanwhile) as server:
                yield server


@contextmanager
def _own_server(meanwhile: Callable[[], object]) -> Iterator[PrefectServer]:
    lobby = Lobby(PREFECT_HOME.value())
    environment = _settings_for(lobby)
    port, origin = lobby.enter(environment, meanwhile)
    api = f"http://{HOST}:{port}/api"
    try:
        with process_settings({"PREFECT_API_URL": api, **no_proxy()}):
            try:
                with _kept_alive(lobby, environment, port):
                    started = origin is Origin.STARTED
                    yield PrefectServer(api, PREFECT_UI_URL.value(), started, _words(port, origin))
            finally:
                send_what_waits()
    finally:
        lobby.leave()


@contextmanager
def _kept_alive(lobby: Lobby, environment: dict[str, str], port: int) -> Iterator[None]:
    """Start the server again if it dies meanwhile: its database has the record so far."""

    def watch(ended: threading.Event) -> None:
        left = REVIVALS
        while left and not ended.wait(WATCH_S):
            try:
                left -= not lobby.has_server and lobby.revive(environment, port)
            except PrefectServerError as error:
                left -= 1
                logger.warning("%s", error)

    with beside("prefect-server", watch):
        yield


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
    missing, reason = expected, f"nothing more of them came within {STALLED_S:.0f} s"
    deadline = stalled = time.monotonic() + timeout
    least = expected + 1
    with temporary_settings(IMPATIENT):
        try:
            with get_client(sync_client=True) as client:
                client.read_flow_run(UUID(str(flow_run_id)))
                while missing := max(0, expected - _ended_task_runs(client, flow_run_id)):
                    if missing < least:
                        least, stalled = missing, time.monotonic() + STALLED_S
                    if time.monotonic() >= min(deadline, stalled):
                        break
                    time.sleep(0.1)
        except Exception as error:  # whatever the network or a broken server does
            reason = reason_of(error)
    if missing:
        logger.warning(
            "Prefect's server recorded the end of %d of %d task runs: %s. The store has all "
            "results.",
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
    with temporary_settings(IMPATIENT):
        try:
            with get_client(sync_client=True) as client:
                client.api_version()
        except Exception as error:  # no address, no route, no certificate, no right, no server
            raise PrefectServerError(
                f"PREFECT_API_URL is {api}, and {why_no_server(error, api)}"
            ) from error
    return PrefectServer(api, url, started=False, words=f"Prefect: {url} (PREFECT_API_URL)")


def _words(port: int, origin: Origin) -> str:
    return (
        f"Prefect: http://{HOST}:{port} ({origin}, ends with the last that uses it; "
        "`prefect server start` shows the record again)"
    )


def _settings_for(lobby: Lobby) -> dict[str, str]:
    database = str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value())
    if not (database.startswith("sqlite") and lobby.other_hosts):
        return _SERVER_SETTINGS
    # Two hosts must not write one SQLite file: over a network file system it breaks.
    own = f"sqlite+aiosqlite:///{PREFECT_HOME.value()}/leadline-{host()}.db"
    return {**_SERVER_SETTINGS, "PREFECT_SERVER_DATABASE_CONNECTION_URL": own}
