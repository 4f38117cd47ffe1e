"""A Prefect server that is away: how long to wait for it, and how to say so.

Prefect's own patience (six minutes for one request that is not answered, without an
end for events at the exit of the process) is made for servers that come back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from json import JSONDecodeError
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from leadline.flows.process_settings import process_settings

IMPATIENT = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 10}
"""Settings for requests that nothing depends on: asked once, for ten seconds at most."""
PATIENT = {"PREFECT_API_REQUEST_TIMEOUT": "20"}
"""Settings for the start and the end of a flow: with Prefect's five retries three minutes."""
SENDING_S = 60.0
"""How long a server that answers may take for what still stands in queues."""
GIVING_UP_S = 20.0
"""How long a worker may take to let go of a connection."""
_RETRIES = "PREFECT_CLIENT_MAX_RETRIES"
_LENT: ContextVar[bool] = ContextVar("lent_retries", default=False)


def reason_of(error: BaseException) -> str:
    """Return why Prefect refused, as the rest of a sentence about its server."""
    if isinstance(error, ObjectNotFound):
        return "it no longer knows this run"
    if isinstance(error, httpx.TransportError):
        return f"it does not answer ({type(error).__name__})"
    return f"{type(error).__name__}: {error}"


def why_no_server(error: Exception, api: str) -> str:
    """Return what was found at an address in place of a Prefect server, and what to do.

    Parameters
    ----------
    error
        What asking for the server's version came to.
    api
        The address.
    """
    status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        known = bool(PREFECT_API_AUTH_STRING.value())
        found = "refuses the password given" if known else "asks for a password, and none is given"
        return (
            f"the server there {found} (HTTP {status}): set PREFECT_API_AUTH_STRING to its "
            "USER:PASSWORD"
        )
    if status == HTTPStatus.NOT_FOUND or isinstance(error, JSONDecodeError):
        ends_well = api.rstrip("/").endswith("/api")
        should = "look at host, port and path" if ends_well else "the address should end in /api"
        return f"what answers there is not Prefect's API: {should}"
    return (
        f"no Prefect server answers there: {error.__cause__ or error}. Start that server "
        "(`prefect server start`), or name another, or unset the variable (`prefect config unset "
        "PREFECT_API_URL` if it stands in the profile) and leadline starts one on this machine"
    )


@contextmanager
def lent_retries() -> Iterator[None]:
    """Let the end of a flow inside take away Prefect's retries; they are back after the block."""
    token = _LENT.set(True)
    try:
        with process_settings({_RETRIES: str(PREFECT_CLIENT_MAX_RETRIES.value())}):
            yield
    finally:
        _LENT.reset(token)


@contextmanager
def past_a_dead_server() -> Iterator[None]:
    """Let the flow around end at once where its server refuses connections by then.

    Prefect records the end of a flow after its last line, so with the settings of the
    process alone, and would try for a minute. A server that hangs is waited for.
    """
    try:
        yield
    finally:
        if _LENT.get() and isinstance(_health(), httpx.ConnectError):
            os.environ[_RETRIES] = "0"
            refresh_global_settings_context()


def send_what_waits() -> None:
    """Send events and logs that still stand in queues; drop them where no server takes them.

    Else the process would not end before Prefect has tried eleven times to send each.
    """
    senders: Any = EventsWorker
    services = list(senders._instances.values())  # of every kind: the base class has them
    working = [(each._loop, each._task) for each in services]
    ends = [each._drain(at_exit=True) for each in services]
    if not (ends and wait(ends, timeout=2).not_done):
        return
    if _answers() and not wait(ends, timeout=SENDING_S).not_done:
        return
    for loop, task in working:
        if loop is not None and task is not None:
            loop.call_soon_threadsafe(task.cancel)
    wait(ends, timeout=GIVING_UP_S)


def _answers() -> bool:
    return _health() is None


def _health() -> Exception | None:
    """Return why the server does not answer, or None where it does."""
    try:
        with temporary_settings(IMPATIENT), get_client(sync_client=True) as client:
            return client.api_healthcheck()
    except Exception as error:  # no address, no server
        return error
