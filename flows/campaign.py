"""A campaign: learn, propose, review, calculate, assess, until a stop rule answers.

Run it by `leadline run`, from Python, or as a Prefect deployment: the same flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from leadline.flows.already_stopped import already_stopped
from leadline.flows.bench import opened
from leadline.flows.cancellation import cancelled_in_prefect
from leadline.flows.limits import RunLimits
from leadline.flows.loop import Loop
from leadline.flows.prefect_server import wait_for_task_runs
from leadline.flows.prefect_trouble import past_a_dead_server
from leadline.flows.publishing import published
from leadline.flows.receiving import received
from leadline.flows.run_parameters import Calculations, NodeHours, Spec, WallHours, explained
from leadline.flows.run_states import ends_in_states
from leadline.flows.spec import CampaignSpec
from leadline.flows.summary import CampaignSummary
from leadline.flows.watching import Watcher, watcher
from leadline.tasks.drivers import log_run


def _run_name() -> str:
    spec: CampaignSpec | Mapping[str, Any] = flow_run.parameters["spec"]
    return str(spec.name if isinstance(spec, CampaignSpec) else spec.get("name"))


# Prefect's own validation would say in its words what `received` says in those of `check`.
@flow(
    name="campaign",
    flow_run_name=_run_name,
    retries=0,
    persist_result=False,
    validate_parameters=False,
)
@explained
@ends_in_states
def campaign(
    spec: Spec,
    calculations: Calculations = None,
    hours: WallHours = None,
    node_hours: NodeHours = None,
) -> CampaignSummary:
    """Start a campaign, or carry it on from where the store says it is.

    Parameters
    ----------
    spec
        Everything that the campaign is.
    calculations
        Calculations that this run may start; then the campaign rests.
    hours
        Wall time of this run; it starts nothing that would not end within it.
    node_hours
        Node-hours of this run; it starts nothing that would not fit into them.

    Returns
    -------
    CampaignSummary
        What was found, as pymatgen entries, and why this run ended.

    Raises
    ------
    LeadlineError
        If the campaign cannot run as it is set up: nothing is lost.
    CancelledRun
        If a person cancelled this run: nothing is lost then either.
    """
    with past_a_dead_server(), watcher() as watch:
        limits = RunLimits(calculations, hours, node_hours)
        spec = received(spec)
        summary = already_stopped(spec) or _carried_on(spec, limits, watch)
        watch.ended(summary)
    return summary


def _carried_on(spec: CampaignSpec, limits: RunLimits, watch: Watcher) -> CampaignSummary:
    with opened(spec, watch) as bench, cancelled_in_prefect(watch):
        log_run(bench.store, spec.name, str(flow_run.id), bench.lease.owner)
        loop = Loop(bench, limits, watch)
        with published(loop):
            summary = _searched(loop)
        wait_for_task_runs(str(flow_run.id), loop.steps.count + loop.dispatching.started)
    return summary


def _searched(loop: Loop) -> CampaignSummary:
    with loop.working():
        loop.resume()
        while True:
            loop.learn()
            verdict = loop.assess()
            if not verdict.stop and loop.goes_on:
                loop.propose()
                loop.review()
                loop.calculate()
            elif not loop.drained():
                return loop.end(verdict)
