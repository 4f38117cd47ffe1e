"""What a campaign shows of itself while it runs: the report, the artifact, the events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.settings import temporary_settings

from leadline.flows.loop import Loop
from leadline.flows.prefect_trouble import IMPATIENT, reason_of
from leadline.flows.store_of import store_folder
from leadline.flows.writing import write_whole
from leadline.tasks.assess import Find
from leadline.tasks.report.markdown import report_markdown
from leadline.tasks.report.page import report_html
from leadline.tasks.store.store import Store
from leadline.tasks.viewing import campaign_view

REPUBLISH = 600.0
"""Seconds between two versions of the artifact at least."""


@contextmanager
def published(loop: Loop) -> Iterator[None]:
    """Publish while the loop works, and once more however it ends."""
    publisher = _Publisher(loop)
    loop.after_assessing = publisher.publish_sometimes
    try:
        yield
    finally:
        publisher.publish()


def write_report(store: Store, name: str, path: Path | None = None) -> Path:
    """Write the report of a campaign and return where it is."""
    target = path or report_path(name)
    write_whole(target, report_html(campaign_view(store, name)))
    return target


def report_path(name: str) -> Path:
    """Return where the report of a campaign stands unless told otherwise."""
    return store_folder() / "reports" / f"{name}.html"


class _Publisher:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._since = time.monotonic()
        self._announced = {find.answer.phase for find in loop.assessment.finds}

    def publish_sometimes(self) -> None:
        self._announce(self._loop.assessment.finds)
        if time.monotonic() - self._since >= REPUBLISH:
            self.publish()

    def publish(self) -> None:
        """Publish the artifact; a server that is away loses nothing that the store has."""
        self._since = time.monotonic()
        name = self._loop.name
        page = report_markdown(campaign_view(self._loop.store, name))
        try:
            with temporary_settings(IMPATIENT):
                create_markdown_artifact(
                    page, key=f"campaign-{name}", description=f"Campaign {name}"
                )
        except Exception as error:  # whatever the network does: `leadline report` has the page
            self._loop.watcher.note(f"Prefect's server did not take the page: {reason_of(error)}")

    def _announce(self, finds: tuple[Find, ...]) -> None:
        """Emit an event for each phase that is found for the first time."""
        for find in finds:
            if find.answer.phase in self._announced:
                continue
            self._announced.add(find.answer.phase)
            emit_event(
                "leadline.structure.stable",
                resource={
                    "prefect.resource.id": f"leadline.structure.{find.answer.structure}",
                    "prefect.resource.name": find.answer.formula,
                    "leadline.campaign": self._loop.name,
                },
                payload={
                    "formula": find.answer.formula,
                    "structure": find.answer.structure,
                    "value": find.value,
                    "energy_above_hull": find.energy_above_hull,
                },
            )
