"""`leadline run`: a campaign on this terminal, recorded by Prefect."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.exceptions import CancelledRun
from rich.console import Console
from rich.table import Table

from leadline.flows.console_logging import quiet_prefect
from leadline.flows.lease import refuse_second_driver
from leadline.flows.limits import RunLimits
from leadline.flows.prefect_server import PrefectServer, prefect_server
from leadline.flows.prefect_trouble import reason_of
from leadline.flows.progress import ProgressDisplay
from leadline.flows.spec import CampaignSpec
from leadline.flows.summary import CampaignSummary
from leadline.flows.watching import DISPLAY, ERROR, SUMMARY
from leadline.surrogate.errors import LeadlineError
from leadline.tasks.errors import PrefectServerError


def run_campaign(spec: CampaignSpec, limits: RunLimits) -> None:
    """Run a campaign with a live display, and print what it came to."""
    refuse_second_driver(spec)
    with prefect_server(meanwhile=_import_campaign) as server:
        from leadline.flows.campaign import campaign
        from leadline.flows.publishing import report_path

        with quiet_prefect(), ProgressDisplay() as display, _shown_on(display):
            display.note(server.words)
            summary = _whatever_prefect_makes_of_it(
                lambda: campaign(spec, limits.calculations, limits.hours, limits.node_hours),
                display,
                server,
            )
    print_summary(summary, str(report_path(spec.name)))


def _whatever_prefect_makes_of_it(
    run: Callable[[], CampaignSummary], display: ProgressDisplay, server: PrefectServer
) -> CampaignSummary:
    """Return what a run came to, or raise what ended it: a server that is away does neither."""
    SUMMARY.set(None)
    ERROR.set(None)
    try:
        return run()
    except Exception as error:
        ended, cause = SUMMARY.get(), ERROR.get()
        if ended is not None and isinstance(error, CancelledRun):
            return ended
        if cause is not None and cause is not error:
            raise cause from None
        if cause is not None or isinstance(error, LeadlineError):
            raise
        if ended is None:
            raise PrefectServerError(
                f"Prefect's server at {server.url} did not take this run: {reason_of(error)}. "
                "Nothing was started and nothing is lost; see that the server answers, and run "
                "again"
            ) from error
        display.note(
            f"Prefect's server did not record the end of this run: {reason_of(error)}. The "
            "campaign itself ended as it says here, and the store has all of it"
        )
        return ended


def print_summary(summary: CampaignSummary, report: str) -> None:
    """Print what a run came to, as a stranger would want to read it."""
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    if summary.found:
        console.print(_table(summary))
        for each in (each for each in summary.found if each.changed):
            console.print(f"* {each.formula}: with {each.changed}, unlike the rest of the hull")
    else:
        console.print(f"Nothing found yet: {summary.nothing_found}.")
    console.print(
        f"Computed {summary.computed} of {summary.pool} candidates"
        + (f"; {summary.failed} in quarantine" if summary.failed else "")
        + "."
        + (f" Not counted: {summary.free} elements and imported results." if summary.free else "")
    )
    if summary.random_expected is not None:
        console.print(
            f"A random search is expected to need {summary.random_expected:.0f} calculations for "
            "the same finds (hypergeometric, on the condition that these are all there are)."
        )
    console.print(f"{summary.state.capitalize()}: {summary.reason}")
    for calculation, why in summary.waiting.items():
        console.print(f"Waiting: {calculation[:12]}: {why}")
    console.print(f"Report: {report}")


def _table(summary: CampaignSummary) -> Table:
    hull = summary.found[0].energy_above_hull is not None
    table = Table(
        title=f"{summary.name}: {len(summary.found)} found", title_justify="left", box=None
    )
    table.add_column("", justify="right")
    table.add_column("phase")
    table.add_column("space group")
    table.add_column("formation energy (eV/atom)" if hull else "value", justify="right")
    if hull:
        table.add_column("above hull (meV/atom)", justify="right")
    table.add_column("found by calculation", justify="right")
    for place, each in enumerate(summary.found, start=1):
        above = [f"{(each.energy_above_hull or 0.0) * 1e3:.2f}"] if hull else []
        nth = str(each.nth) if each.nth else "known"
        name = each.formula + ("*" if each.changed else "")
        table.add_row(str(place), name, each.space_group, f"{each.value:.4f}", *above, nth)
    return table


@contextmanager
def _shown_on(display: ProgressDisplay) -> Iterator[None]:
    token = DISPLAY.set(display)
    try:
        yield
    finally:
        DISPLAY.reset(token)


def _import_campaign() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
