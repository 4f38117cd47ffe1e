"""A Prefect server of its own on this machine, and a small campaign to run on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadline.flows.loopback_server import HOST, Server

PLUGINS = Path(__file__).parents[1] / "plugins" / "moody_emt"
MAIN = "from leadline.flows.cli import main; main()"


@dataclass
class PrefectHere:
    """A server on loopback, whose database stands in its home or is another server's."""

    home: Path
    server: Server
    database: str | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server.port}"

    @property
    def variables(self) -> dict[str, str]:
        """What its clients need."""
        return {**_at_home(self.home), "PREFECT_API_URL": f"{self.url}/api"}

    @property
    def log(self) -> Path:
        return _log(self.home)

    def start_again(self) -> None:
        """Start it anew, after its end, on the same port and database."""
        self.server = _answering(self.home, self.server.port, self.database)


@contextmanager
def prefect_here(
    laid_out: Path, folder: Path, database: str | None = None
) -> Iterator[PrefectHere]:
    """Keep a server whose home in a folder begins as a copy of one that is laid out.

    With the address of another database, that one is laid out and used.
    """
    home = Path(shutil.copytree(laid_out, folder / "prefect"))
    # Others may be about to take the usual port.
    here = PrefectHere(home, _answering(home, 0, database), database)
    try:
        yield here
    finally:
        here.server.end()


def _answering(home: Path, first: int, database: str | None) -> Server:
    settings = {**_at_home(home), "PREFECT_SERVER_LOG_RETRYABLE_ERRORS": "true"}
    if database:
        settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
    server = Server.start(settings, _log(home), first)
    try:
        server.wait_until_it_answers(_log(home))
    except BaseException:
        server.end()
        raise
    return server


def _at_home(home: Path) -> dict[str, str]:
    return {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}


def _log(home: Path) -> Path:
    return home / "server.log"


def lay_out(home: Path) -> Path:
    """Lay out the database of a home, which takes ten seconds of CPU."""
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
        env=environment(home),
        check=True,
        capture_output=True,
    )
    return home


def environment(home: Path) -> dict[str, str]:
    """Return the variables of a process that knows the moody engine and no other server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    paths = [str(PLUGINS), kept.get("PYTHONPATH")]
    return kept | {
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def small_campaign(name: str = "small", **changes: Any) -> dict[str, Any]:
    """Return a campaign of 29 Cu-Au orderings, with the keys that a test changes."""
    content: dict[str, Any] = {
        "name": name,
        "candidates": [
            {"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 4}
        ],
        "engine": {"name": "emt"},
        "acquisition": {"batch": 4},
        "start": {"random": 4},
        "compute": {"workers": 2},
        "stop": {"expected_missed": None, "calculations": 12},
    }
    return content | changes
