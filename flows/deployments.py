"""Campaigns, their forms, and `reconcile` beside them, as deployments of a Prefect server.

One run at a time works on a campaign, by its lease: one that is due meanwhile ends at once
and names the other. A concurrency limit of Prefect would do so too, and do harm: it ends a
run whose server was started again, or was away when the limit's own lease had to be renewed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, cast

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.types.entrypoint import EntrypointType

from leadline.flows.campaign import campaign
from leadline.flows.changing import change_settings
from leadline.flows.events import CAMPAIGN, REVIEW
from leadline.flows.limits import RunLimits
from leadline.flows.reconcile import reconcile
from leadline.flows.review import review
from leadline.flows.spec import CampaignSpec
from leadline.flows.store_of import FOLDER, URI, store_folder
from leadline.flows.timetable import Timetable, by_interval, timetable
from leadline.flows.torch_warning import PYTHONWARNINGS
from leadline.tasks.compute.processes import host

RECONCILED_EVERY = "1 h"
TAG = "leadline"


def campaign_deployment(
    spec: CampaignSpec, limits: RunLimits, times: Timetable, pool: str | None = None
) -> RunnerDeployment:
    """Return the deployment of a campaign, named as the campaign is.

    Parameters
    ----------
    spec
        The campaign; its paths are absolute.
    limits
        How far each run goes.
    times
        When runs begin.
    pool
        Work pool whose workers run it; None where the process that serves it does.
    """
    made = campaign.to_deployment(
        name=spec.name,
        description=description_of(spec, limits),
        tags=[TAG, spec.name],
        parameters={"spec": spec.model_dump(mode="json"), **limits.parameters},
        **_common(times, pool),
    )
    return cast(RunnerDeployment, made)


def review_deployment(spec: CampaignSpec, pool: str | None = None) -> RunnerDeployment:
    """Return the form on which picks of a campaign are reviewed; it opens whenever some wait."""
    picks_wait = DeploymentEventTrigger(
        name=f"picks of {spec.name} wait", expect={REVIEW.name}, match={CAMPAIGN: spec.name}
    )
    made = review.to_deployment(
        name=spec.name,
        description=f"Shows picks of {spec.name} that wait for review, and takes your verdicts.",
        tags=[TAG, "review", spec.name],
        parameters={"name": spec.name},
        triggers=[picks_wait],
        **_common(timetable(), pool),
    )
    return cast(RunnerDeployment, made)


def settings_deployment(spec: CampaignSpec, pool: str | None = None) -> RunnerDeployment:
    """Return the form on which settings of a campaign are changed while it runs."""
    made = change_settings.to_deployment(
        name=spec.name,
        description=f"Changes settings of {spec.name} while it runs, or for its next run.",
        tags=[TAG, "set", spec.name],
        parameters={"name": spec.name},
        **_common(timetable(), pool),
    )
    return cast(RunnerDeployment, made)


def reconcile_deployment(beside: CampaignSpec, pool: str | None = None) -> RunnerDeployment:
    """Return the deployment that settles every hour what a crash left in this store.

    A process that serves campaigns has one of its own, named as the campaign that it is
    ``beside``: where the process ends, it pauses all that it serves.
    """
    made = reconcile.to_deployment(
        name=f"{host()}-{_store_name()}" if pool else beside.name,
        description="Settles what crashes left behind, in all campaigns of one store.",
        tags=[TAG, "reconcile"],
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        **_common(by_interval(RECONCILED_EVERY), pool),
    )
    return cast(RunnerDeployment, made)


def description_of(spec: CampaignSpec, limits: RunLimits) -> str:
    """Return what a person reads of a campaign in the list of deployments."""
    own = spec.description or f"{spec.objective.kind} campaign with engine {spec.engine.name}."
    return (
        f"{own}\n\nEach run carries the campaign on{limits.words}. To change a stop rule, edit "
        "`spec` here or for one run; what is learnt stays in the store."
    )


def _common(times: Timetable, pool: str | None) -> dict[str, Any]:
    """Return what all kinds have in common; loaded by module path, wherever they run."""
    on_pool = {"work_pool_name": pool, "job_variables": {"env": _variables()}} if pool else {}
    return {
        "schedule": times.schedule,
        "version": version("leadline"),
        "entrypoint_type": EntrypointType.MODULE_PATH,
        **on_pool,
    }


def _variables() -> Mapping[str, str]:
    """Return what a worker, which runs elsewhere on the disk, must know; no secret is in it."""
    asked = {name: os.environ[name] for name in ("LEADLINE_PROFILES",) if name in os.environ}
    # The process of a run loads Prefect and torch before it comes to a line of ours.
    asked |= {"DO_NOT_TRACK": "1", "PYTHONWARNINGS": PYTHONWARNINGS}
    return asked if URI in os.environ else {FOLDER: str(store_folder()), **asked}


def _store_name() -> str:
    if URI in os.environ:
        return "mongodb"
    return hashlib.sha256(str(store_folder()).encode()).hexdigest()[:6]
