"""Prefect's pages as a person uses them, and the pictures that are kept of them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from uuid import UUID

from PIL import Image
from playwright.sync_api import Locator, Page, Response, expect

LIMIT_S = 900.0
"""Seconds that a run may take on a machine with much else to do."""
PAGE_LIMIT_S = 120.0
"""Seconds that a page may take there."""
BUSY = 503
"""The answer of a Prefect server that may be asked again."""
TALL = 2600
"""Pixels of a picture that shows a long page as a whole: it scrolls in a part of its own."""

expect.set_options(timeout=1000 * PAGE_LIMIT_S)


@dataclass(frozen=True)
class Pages:
    """The pages of a Prefect server.

    Parameters
    ----------
    page
        The browser's one page.
    url
        Address of the server.
    pictures
        Folder of the screenshots.
    """

    page: Page
    url: str
    pictures: Path

    def open_deployment(self, flow: str, name: str) -> None:
        """Open a deployment from the list of all."""
        self.page.goto(f"{self.url}/deployments")
        row = self.page.get_by_role("row").filter(
            has=self.page.get_by_role("link", name=flow, exact=True)
        )
        row.get_by_role("link", name=name, exact=True).click()
        expect(self.page.get_by_role("button", name="Run", exact=True)).to_be_visible()

    def open_form(self) -> None:
        """Open the form for a run of the deployment that is open."""
        self._choose("Custom run")

    def run_by_form(self) -> UUID:
        """Run what the open form says, and open that run; return its id."""
        return self._begun(self.page.get_by_role("button", name="Submit", exact=True))

    def quick_run(self) -> UUID:
        """Run the deployment that is open as it is, and open that run; return its id."""
        self._choose("Quick run")
        dialog = self.page.get_by_role("dialog")
        return self._begun(dialog.get_by_role("button", name="Run", exact=True))

    def _begun(self, button: Locator) -> UUID:
        """Press a button; the notice with the link to the run is gone too soon to be pressed."""
        id_ = UUID(self.send(button, "create_flow_run").json()["id"])
        self.open_run(id_)
        return id_

    def send(self, button: Locator, call: str) -> Response:
        """Press the button of a form, which sends it by a call of the API.

        A server whose database is busy says so; the form then stays, and a person presses again.
        """
        until = time.monotonic() + PAGE_LIMIT_S
        answer = self._pressed(button, call)
        while answer.status == BUSY and time.monotonic() < until:
            self.page.wait_for_timeout(1000)
            answer = self._pressed(button, call)
        assert answer.ok, answer.text()
        return answer

    def _pressed(self, button: Locator, call: str) -> Response:
        with self.page.expect_response(f"**/{call}") as answer:
            button.click()
        return answer.value

    def _choose(self, way: str) -> None:
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text(way, exact=True).click()

    def field(self, label: str) -> Locator:
        """Return a field of a form, with its help."""
        named = self.page.locator(".schema-form-property__label").get_by_text(label, exact=True)
        return self.page.locator(".schema-form-property", has=named).last

    def open_run(self, id_: UUID) -> None:
        """Open a run by its id."""
        self.page.goto(f"{self.url}/runs/flow-run/{id_}")

    def open_runs(self) -> None:
        """Open the list of all runs."""
        self.page.goto(f"{self.url}/runs")

    def open_run_named(self, name: str) -> None:
        """Open a run by its name, from the list of all."""
        self.open_runs()
        self.page.get_by_role("link", name=name, exact=True).first.click()
        self.page.wait_for_url("**/runs/flow-run/*")

    def cancel(self) -> None:
        """Cancel the run that is open."""
        self.page.get_by_role("button", name="Cancel", exact=True).click()
        self.page.get_by_role("dialog").get_by_role("button", name="Confirm").click()

    def is_in_state(self, name: str, limit: float = LIMIT_S) -> None:
        """Expect the run that is open to come to a state, in so many seconds."""
        badge = self.page.locator(".state-badge").first
        expect(badge).to_have_text(name, timeout=1000 * limit)

    def open_tab(self, name: str) -> None:
        """Turn to a tab of the run that is open."""
        self.page.get_by_text(name, exact=True).first.click()

    def graph(self) -> Image.Image:
        """Return the graph of the run that is open, without the line of time below it."""
        self.page.get_by_role("button", name="Recenter graph").click()
        seen = self.page.locator(".run-graph canvas").screenshot()
        whole = Image.open(BytesIO(seen)).convert("RGB")
        return whole.crop((0, 0, whole.width, whole.height - 15))

    def shows(self, *texts: str | re.Pattern[str]) -> None:
        """Expect texts on the page."""
        for text in texts:
            expect(self.page.get_by_text(text).first).to_be_visible()

    def picture(self, name: str, height: int | None = None) -> None:
        """Keep what is seen, of a page of some height in pixels."""
        size = self.page.viewport_size
        assert size is not None
        if height:
            self.page.set_viewport_size({**size, "height": height})
        self.page.screenshot(path=self.pictures / f"{name}.png")
        self.page.set_viewport_size(size)
