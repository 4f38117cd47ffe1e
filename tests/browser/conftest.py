"""What tests of Prefect's pages share: Debian's chromium, campaigns that are served."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from prefect_here import MAIN, PrefectHere, environment, prefect_here

from tests.browser.pages import LIMIT_S, PAGE_LIMIT_S, Pages
from tests.flows.steered import until

CHROMIUM = Path("/usr/bin/chromium")
WIDTH, HEIGHT = 1400, 1000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of this room."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(3000))


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """The folder of pictures that are kept."""
    folder = Path(os.environ.get("LEADLINE_SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(request: pytest.FixtureRequest, screenshots: Path) -> Iterator[Page]:
    """An empty page of a browser of its own: the driver's event loop must not outlive a test."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}; on Debian: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-extensions"],
            timeout=1000 * PAGE_LIMIT_S,
        )
        opened = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        opened.set_default_timeout(1000 * PAGE_LIMIT_S)
        opened.add_init_script("localStorage.setItem('color-scheme', '\"light\"')")
        yield opened
        opened.screenshot(path=screenshots / f"{request.node.name}.png")
        browser.close()


@pytest.fixture
def pages(page: Page, prefect_server: PrefectHere, screenshots: Path) -> Pages:
    """The pages of the shared Prefect server; what they show is kept as pictures."""
    return Pages(page, prefect_server.url, screenshots)


@pytest.fixture
def mortal_prefect(laid_out_home: Path, tmp_path: Path) -> Iterator[PrefectHere]:
    """A Prefect server of its own for one test, which may do to it what it likes."""
    with prefect_here(laid_out_home, tmp_path) as here:
        yield here


@pytest.fixture
def own_pages(page: Page, mortal_prefect: PrefectHere, screenshots: Path) -> Pages:
    """The pages of that server."""
    return Pages(page, mortal_prefect.url, screenshots)


@pytest.fixture
def serve(
    prefect_api: dict[str, str], tmp_path: Path, store: Path
) -> Iterator[Callable[..., None]]:
    """Let `leadline serve` serve a file, by the shared server or another, while the test lasts."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, api: dict[str, str] = prefect_api) -> None:
        log = tmp_path / f"serve-{len(started)}.log"
        with log.open("w") as words:
            process = subprocess.Popen(
                [sys.executable, "-c", MAIN, "serve", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                text=True,
                cwd=tmp_path,
                env=environment(Path()) | api | {"LEADLINE_STORE": str(store)},
                start_new_session=True,
            )
        started.append(process)
        until(lambda: "Serving;" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LIMIT_S)
        finally:
            process.kill()
