"""A campaign: learn, propose, calculate, assess, until a stop rule answers.

Run it by `leadline run`, from Python, or as a Prefect deployment: the same flow.
"""

from __future__ import annotations

from prefect import flow
from prefect.runtime import flow_run

from leadline.flows.bench import opened
from leadline.flows.cancellation import cancelled_in_prefect
from leadline.flows.limits import RunLimits
from leadline.flows.loop import Loop
from leadline.flows.prefect_server import wait_for_task_runs
from leadline.flows.prefect_trouble import past_a_dead_server
from leadline.flows.publishing import published
from leadline.flows.spec import CampaignSpec
from leadline.flows.summary import CampaignSummary
from leadline.flows.watching import watcher
from leadline.tasks.drivers import log_run


def _run_name() -> str:
    return str(flow_run.parameters["spec"].name)


@flow(name="campaign", flow_run_name=_run_name, retries=0, persist_result=False)
def campaign(
    spec: CampaignSpec, calculations: int | None = None, hours: float | None = None
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

    Returns
    -------
    CampaignSummary
        What was found, as pymatgen entries, and why this run ended.

    Raises
    ------
    LeadlineError
        If the campaign cannot run as it is set up: nothing is lost.
    """
    with (
        past_a_dead_server(),
        watcher() as watch,
        opened(spec, watch) as bench,
        cancelled_in_prefect(watch),
    ):
        log_run(bench.store, spec.name, str(flow_run.id), bench.lease.owner)
        loop = Loop(bench, RunLimits(calculations, hours), watch)
        with published(loop):
            summary = _searched(loop)
        watch.ended(summary)
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
                loop.calculate()
            elif not loop.drained():
                return loop.end(verdict)
