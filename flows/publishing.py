"""What a campaign shows of itself while it runs: the report, and what Prefect's UI shows.

The flow run's name says the round, one progress artifact how far the campaign is, one
page what is known; the log reads like a lab book, and events tell what automations
may wait for.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from leadline.flows.announcing import Announcer, closed
from leadline.flows.courier import Courier
from leadline.flows.lab_book import LabBook, closing, opening, result
from leadline.flows.loop import Loop
from leadline.flows.progress import Progress
from leadline.flows.store_of import store_folder
from leadline.flows.writing import write_whole
from leadline.tasks.calculate import Outcome
from leadline.tasks.errors import WriteError
from leadline.tasks.meaning import meaning
from leadline.tasks.report.markdown import Links, report_markdown
from leadline.tasks.report.page import report_html
from leadline.tasks.store.records import CalculationState, Proposal, Round
from leadline.tasks.store.store import Store
from leadline.tasks.viewing import campaign_view

REPUBLISH_S = 600.0
"""Seconds between two versions of page and report at least."""
REPORTS_URL = "LEADLINE_REPORTS_URL"
"""Address under which the folder of reports is served, if it is."""


@contextmanager
def published(loop: Loop) -> Iterator[None]:
    """Publish while the loop works, and once more however it ends."""
    announcer = Announcer(loop, str(flow_run.id), report_address(loop.name))
    courier = Courier(str(flow_run.id), announcer.told)
    publisher = _Publisher(loop, courier, announcer)
    loop.witness = publisher
    with courier.working(), _quiet_task_runs():
        announcer.catch_up(courier)
        try:
            yield
        finally:
            publisher.publish(over=True)
            announcer.tell_endings(courier)
    if courier.trouble:
        loop.watcher.note(f"Prefect's server did not take all that was to show: {courier.words()}")


def write_report(store: Store, name: str, path: Path | None = None) -> Path:
    """Write the report of a campaign and return where it is."""
    target = path or report_path(name)
    write_whole(target, report_html(campaign_view(store, name)))
    return target


def report_path(name: str) -> Path:
    """Return where the report of a campaign stands unless told otherwise."""
    return store_folder() / "reports" / f"{name}.html"


def report_address(name: str) -> str:
    """Return where people find the report: a link where the folder is served, else its path."""
    served = os.environ.get(REPORTS_URL)
    return f"{served.rstrip('/')}/{name}.html" if served else str(report_path(name))


@contextmanager
def _quiet_task_runs() -> Iterator[None]:
    """Let task runs log no line of their own where they end well: the lab book has one."""
    logger = logging.getLogger("prefect.task_runs")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Publisher:
    """Sees what the loop does, and shows it."""

    def __init__(self, loop: Loop, courier: Courier, announcer: Announcer) -> None:
        self._loop, self._courier, self._announcer = loop, courier, announcer
        self._book = LabBook(get_run_logger())
        self._meaning = meaning(loop.bench.problem, loop.bench.pool.elements)
        self._meaning.learn(loop.assessment, loop.book.answers)
        self._closed = {each.number for each in loop.rounds.values() if each.state == "assessed"}
        self._since = time.monotonic()

    def opened(self, round_: Round, picks: Sequence[Proposal]) -> None:
        """Write what a round picked, and why."""
        self._courier.name(f"{round_.campaign}, round {round_.number}")
        self._book.jot(opening(round_.number, picks, self._loop.book.structures))

    def asked(self, number: int, picks: Sequence[Proposal], silence: str) -> None:
        """Tell that picks wait for a person."""
        self._announcer.tell(self._announcer.waiting(number, picks, silence), self._courier)

    def ended(self, outcome: Outcome) -> None:
        """Write what a calculation gave."""
        record = outcome.calculation
        for proposal in self._loop.book.settled_by(record.id):
            if answer := self._loop.book.answer_of(proposal):
                self._book.jot(result(answer, self._meaning.of(answer), proposal.why))
        if record.state is CalculationState.QUARANTINED:
            self._announcer.tell(self._announcer.quarantined(record), self._courier)

    def assessed(self) -> None:
        """Write how rounds ended, tell what is new, and show it now and then."""
        loop = self._loop
        self._meaning.learn(loop.assessment, loop.book.answers)
        for each in loop.rounds.values():
            if each.state == "assessed" and each.number not in self._closed:
                self._closed.add(each.number)
                self._announcer.tell(closed(each), self._courier)
                self._book.jot(closing(each, loop.bench.spec.stop.calculations))
        self._announcer.tell_finds(self._courier)
        if time.monotonic() - self._since >= REPUBLISH_S:
            self.publish()

    def publish(self, *, over: bool = False) -> None:
        """Write the report, and show the page; when the run is ``over``, its cluster is, too."""
        self._since = time.monotonic()
        loop, name = self._loop, self._loop.name
        view = campaign_view(loop.store, name)
        try:
            write_whole(report_path(name), report_html(view))
        except WriteError as error:
            loop.watcher.note(f"the report was not written: {error}")
        links = Links(report_address(name), "" if over else loop.bench.cluster.dashboard or "")
        self._courier.show(
            f"campaign-{name}", "markdown", report_markdown(view, links), f"Campaign {name}"
        )

    def shown(self, now: Progress) -> None:
        """Let name and progress of the flow run say how far it is."""
        self._courier.name(f"{now.campaign}, round {now.round}")
        of = f" of {now.limit:,}" if now.limit else ""
        found = f"{len(now.found)} found" if now.found else "nothing found yet"
        self._courier.show(
            f"campaign-{now.campaign}-progress",
            "progress",
            round(100.0 * min(now.spent / max(now.limit, 1), 1.0), 1),
            f"{now.spent:,}{of} calculations; {found}; {now.left_words}",
        )
