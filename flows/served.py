"""One process serves a campaign: noted where its deployment is, on the Prefect server.

Of two, the one that ends would pause the deployment of both. So the second is refused,
unless the first is proved gone, or, where nothing can be proved from here, unless nobody is
seen to ask for the deployment's runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.objects import DeploymentStatus
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import temporary_settings

from leadline.flows.prefect_trouble import IMPATIENT
from leadline.tasks.errors import ServedError
from leadline.tasks.store.owner import in_words, is_alive, is_gone, this_process

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

WATCHED_S = 30.0
"""Seconds for which a process on another host is watched: one that serves asks every 13."""


@contextmanager
def served_here(names: Sequence[str]) -> Iterator[None]:
    """Note that this process serves campaigns, and take the notes back at the end.

    Raises
    ------
    ServedError
        If another process serves one of them; the message names it.
    """
    me = this_process()
    with ExitStack() as notes:
        for each in names:
            _note(each, me)
            notes.callback(_take_back, each, me)
        yield


def _note(name: str, me: str) -> None:
    with get_client(sync_client=True) as client:
        if other := _noted(client, name):
            if _serves(client, name, other):
                raise _refusal(name, other)
            with suppress(ObjectNotFound):
                client.delete_variable_by_name(_variable(name))
        try:
            client.create_variable(VariableCreate(name=_variable(name), value=me))
        except ObjectAlreadyExists:  # another process was quicker just now
            raise _refusal(name, _noted(client, name)) from None


def _noted(client: SyncPrefectClient, name: str) -> str:
    found = client.read_variable_by_name(_variable(name))
    return str(found.value) if found else ""


def _refusal(name: str, other: str) -> ServedError:
    return ServedError(
        f"campaign {name} is served by {in_words(other)}, and by one process at a time: the end "
        "of either would pause the schedules of both. Nothing was registered. End that "
        "`leadline serve` first, or leave this campaign to it"
    )


def _take_back(name: str, me: str) -> None:
    # A server that is gone by now keeps the note, which is then a dead process's.
    with suppress(Exception), temporary_settings(IMPATIENT), get_client(sync_client=True) as client:
        if _noted(client, name) == me:
            client.delete_variable_by_name(_variable(name))


def _serves(client: SyncPrefectClient, name: str, owner: str) -> bool:
    if is_gone(owner) or is_alive(owner):
        return is_alive(owner)
    before = _deployment(client, name)
    until = time.monotonic() + WATCHED_S
    while before and before.status is DeploymentStatus.READY and time.monotonic() < until:
        time.sleep(1)
        now = _deployment(client, name)
        if now and now.last_polled != before.last_polled:
            return True
    return False


def _deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    with suppress(ObjectNotFound):
        return client.read_deployment_by_name(f"campaign/{name}")
    return None


def _variable(name: str) -> str:
    return f"leadline-served-{name}"
