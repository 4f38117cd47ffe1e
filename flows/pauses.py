"""Deployments that somebody pauses while they are served: said where they are served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.settings import temporary_settings

from leadline.flows.prefect_trouble import IMPATIENT
from leadline.tasks.beside import beside

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LOOK = 10.0
"""Seconds between two looks."""


@contextmanager
def told_of_pauses(deployments: Mapping[UUID, str], say: Callable[[str], object]) -> Iterator[None]:
    """Say while the block lasts which deployments somebody pauses in Prefect, or resumes."""
    with beside("pauses", lambda ended: _watch(deployments, say, ended)):
        yield


def _watch(
    deployments: Mapping[UUID, str], say: Callable[[str], object], ended: threading.Event
) -> None:
    """Say what two looks agree on: as it ends, this process pauses them itself."""
    told: set[UUID] = set()
    before: set[UUID] = set()
    with temporary_settings(IMPATIENT), get_client(sync_client=True) as client:
        while not ended.wait(LOOK):
            with suppress(Exception):  # whatever the network does; what is away pauses nothing
                now = _paused(client, deployments)
                if now == before != told:
                    for line in _changes(deployments, told, now):
                        say(line)
                    told = now
                before = now


def _paused(client: SyncPrefectClient, deployments: Mapping[UUID, str]) -> set[UUID]:
    these = DeploymentFilter(id=DeploymentFilterId(any_=list(deployments)))
    return {each.id for each in client.read_deployments(deployment_filter=these) if each.paused}


def _changes(deployments: Mapping[UUID, str], before: set[UUID], now: set[UUID]) -> Iterator[str]:
    if new := now - before:
        yield (
            f"Somebody paused {_named(deployments, new)} in Prefect: no run begins by itself until "
            "it is resumed there, or served anew"
        )
    if resumed := before - now:
        yield f"Somebody resumed {_named(deployments, resumed)}: runs begin by themselves again"


def _named(deployments: Mapping[UUID, str], ids: set[UUID]) -> str:
    return ", ".join(sorted(deployments[each] for each in ids))
