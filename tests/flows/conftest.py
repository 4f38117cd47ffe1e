"""What tests of flows share: a Prefect home, a Prefect server, the command, a campaign file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from leadline.flows.cli import main
from leadline.flows.loopback_server import HOST, Server
from leadline.flows.process_settings import process_settings

PLUGINS = Path(__file__).parents[1] / "plugins" / "moody_emt"
MAIN = "from leadline.flows.cli import main; main()"
Run = Callable[..., "subprocess.Popen[str]"]
WriteFile = Callable[..., Path]


@pytest.fixture(scope="session")
def laid_out_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database is laid out, which takes ten seconds of CPU: once a session."""
    home = tmp_path_factory.mktemp("prefect")
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
        env=_environment(home),
        check=True,
        capture_output=True,
    )
    return home


@pytest.fixture
def prefect_home(laid_out_home: Path, tmp_path: Path) -> Path:
    """A home with an empty database."""
    return Path(shutil.copytree(laid_out_home, tmp_path / "prefect"))


@pytest.fixture
def run_script(prefect_home: Path) -> Run:
    """Start a Python script, with arguments and variables, as a person's shell would."""

    def start(script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(prefect_home) | variables,
            start_new_session=True,
        )

    return start


@pytest.fixture(scope="session")
def prefect_api(
    laid_out_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Variables of one Prefect server for all tests: starting one takes five seconds of CPU."""
    home = Path(shutil.copytree(laid_out_home, tmp_path_factory.mktemp("server") / "prefect"))
    variables = {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}
    # Others may be about to take the usual port.
    server = Server.start(variables, home / "server.log", first=0)
    try:
        server.wait_until_it_answers(home / "server.log")
        yield variables | {"PREFECT_API_URL": f"http://{HOST}:{server.port}/api"}
    finally:
        server.end()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of a store of its own."""
    return tmp_path / "store"


@pytest.fixture
def leadline(prefect_api: dict[str, str], tmp_path: Path, store: Path) -> Iterator[Run]:
    """Start the command, as a shell would, recorded by the shared server; none is left behind."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=_environment(Path()) | prefect_api | {"LEADLINE_STORE": str(store)},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


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


@pytest.fixture
def campaign_file(tmp_path: Path) -> WriteFile:
    """Write a small campaign, with the keys that a test changes."""

    def write(name: str = "small", **changes: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(small_campaign(name, **changes)))
        return path

    return write


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Path, tmp_path: Path
) -> Callable[..., Said]:
    """Run the command in this process: what it prints, and its exit code."""
    monkeypatch.setenv("LEADLINE_STORE", str(store))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["leadline", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Said(int(end.value.code or 0), out, err)

    return run


@pytest.fixture
def served(prefect_api: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let flows run in this process, recorded by the shared server, with the moody engine."""
    monkeypatch.syspath_prepend(PLUGINS)
    with process_settings({**prefect_api, "PYTHONPATH": str(PLUGINS), "OMP_NUM_THREADS": "1"}):
        yield


SERVE = """
import sys
from leadline.flows.campaign import campaign
campaign.serve(name=sys.argv[1], print_starting_message=False, pause_on_shutdown=False)
"""


@pytest.fixture(scope="module")
def serving(
    request: pytest.FixtureRequest,
    prefect_api: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Serve the campaign flow under the module's name ``DEPLOYMENT``; its store is ours, too."""
    folder = tmp_path_factory.mktemp("serving")
    variables = {**prefect_api, "LEADLINE_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"}
    with process_settings(variables), (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, request.module.DEPLOYMENT],
            cwd=folder,
            env=os.environ | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for_deployment(f"campaign/{request.module.DEPLOYMENT}", process, folder / "log")
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def _wait_for_deployment(name: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 600
    with get_client(sync_client=True) as client:
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            with suppress(ObjectNotFound):
                client.read_deployment_by_name(name)
                return
            time.sleep(0.5)


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    paths = [str(PLUGINS), kept.get("PYTHONPATH")]
    return kept | {
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
