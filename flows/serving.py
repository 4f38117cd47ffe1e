"""`leadline serve` and `leadline deploy`: campaigns that run by themselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.deployments.runner import DeploymentApplyError, RunnerDeployment
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL

from leadline.flows.checking import check_without_store
from leadline.flows.deployments import (
    campaign_deployment,
    reconcile_deployment,
    review_deployment,
    settings_deployment,
)
from leadline.flows.findings import Say
from leadline.flows.limits import RunLimits
from leadline.flows.pauses import told_of_pauses
from leadline.flows.prefect_server import PrefectServer, prefect_server
from leadline.flows.receiving import ROOTS, named_paths, opened_to
from leadline.flows.served import served_here
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import read_spec
from leadline.flows.store_of import FOLDER, URI, store_folder
from leadline.flows.timetable import Timetable, timetable
from leadline.tasks.errors import InputError, PrefectServerError

RUNS_OF_EACH = 4
"""Runs at once for each campaign, forms included; what is due beyond that waits as late."""


def serve_campaigns(
    files: Sequence[Path],
    changes: Sequence[str],
    times: Timetable,
    limits: RunLimits,
    say: Say,
) -> bool:
    """Register campaigns and run what is due, until a signal ends it; False if one is refused.

    Raises
    ------
    SpecError
        If a file is refused; nothing was registered.
    ServedError
        If another process serves one of them; nothing was registered either.
    """
    specs = _specs(files, changes)
    checked = [check_without_store(each, say) for each in specs]
    if not all(checked):
        return False
    # A run is a process of its own: it has to find the store that is meant here, and may read
    # what the files name.
    os.environ[FOLDER], os.environ[ROOTS] = str(store_folder()), opened_to(specs)
    with prefect_server() as server, served_here([each.name for each in specs]):
        say(server.words)
        runner = Runner(name="leadline", limit=RUNS_OF_EACH * len(specs) + 1)
        registered = {}
        for each in _deployments(specs, limits, times):
            id_ = cast(UUID, runner.add_deployment(each))
            registered[id_] = each.full_name
            _say_registered(each, id_, times, server, say)
        say(
            "Serving; Ctrl-C or SIGTERM ends what runs, and pauses the schedules until this is "
            "started again."
        )
        with told_of_pauses(registered, say), suppress(KeyboardInterrupt, TerminationSignal):
            asyncio.run(runner.start())
        say("Ended; the schedules are paused, and the store has every result.")
    return True


def deploy_campaigns(
    files: Sequence[Path],
    changes: Sequence[str],
    times: Timetable,
    limits: RunLimits,
    pool: str,
    say: Say,
) -> None:
    """Register campaigns for the workers of a work pool.

    Raises
    ------
    SpecError
        If a file is refused; nothing was registered.
    PrefectServerError
        If no server is named, or it has no such work pool.
    """
    specs = _specs(files, changes)
    if not PREFECT_API_URL.value():
        raise PrefectServerError(
            "a work pool is a Prefect server's, and none is named: set PREFECT_API_URL. On one "
            "machine `leadline serve` needs neither"
        )
    with prefect_server() as server:
        _refuse_unknown(pool)
        for each in _deployments(specs, limits, times, pool):
            try:
                id_ = cast(UUID, each.apply())
            except DeploymentApplyError as error:
                raise PrefectServerError(f"{each.full_name} was not registered: {error}") from None
            _say_registered(each, id_, times, server, say)
    say(f"Its workers run what is due: prefect worker start --pool {pool}")
    if URI in os.environ:
        say(f"Each needs {URI} in its environment: no secret is kept with a deployment.")
    profiles = sorted({each.compute.profile for each in specs})
    say(f"Each needs the machine {_plural('profile', profiles)} {', '.join(profiles)}.")
    if paths := sorted({path for each in specs for _, path in named_paths(each)}):
        say(f"data_roots of the profile there must open what runs read: {', '.join(paths)}")


def _specs(files: Sequence[Path], changes: Sequence[str]) -> list[CampaignSpec]:
    specs = [read_spec(each, changes, os.environ) for each in files]
    names = [each.name for each in specs]
    if twice := sorted({each for each in names if names.count(each) > 1}):
        raise InputError(
            f"{', '.join(twice)}: found in more than one file; allowed: each name once, since it "
            "is the deployment's, too"
        )
    return specs


def _deployments(
    specs: Sequence[CampaignSpec], limits: RunLimits, times: Timetable, pool: str | None = None
) -> list[RunnerDeployment]:
    campaigns = [campaign_deployment(each, limits, times, pool) for each in specs]
    forms = [settings_deployment(each, pool) for each in specs]
    forms += [review_deployment(each, pool) for each in specs if each.review is not None]
    return [*campaigns, *forms, reconcile_deployment(specs[0], pool)]


def _refuse_unknown(pool: str) -> None:
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            raise PrefectServerError(
                f"--pool: the server has no work pool {pool!r}; make it by "
                f"`prefect work-pool create {pool} --type process`"
            ) from None


def _say_registered(
    deployed: RunnerDeployment, id_: UUID, times: Timetable, server: PrefectServer, say: Say
) -> None:
    begun = {"campaign": times.words, "reconcile": "every hour", "review": "whenever picks wait"}
    words = begun.get(deployed.flow_name or "", timetable().words)
    say(f"Registered {deployed.full_name}, {words}")
    say(f"  look at it  {server.url}/deployments/deployment/{id_}")
    command = f"prefect deployment run {deployed.full_name}"
    say(f"  run it now  PREFECT_API_URL={server.api} {command}")


def _plural(noun: str, things: Sequence[object]) -> str:
    return noun if len(things) == 1 else f"{noun}s"
