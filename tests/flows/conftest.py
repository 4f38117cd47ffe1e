"""What tests of flows share: a Prefect home, the command, a deployment that is served."""

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

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect_here import MAIN, PLUGINS, environment

from leadline.flows.cli import main
from leadline.flows.process_settings import process_settings

Run = Callable[..., "subprocess.Popen[str]"]
WriteFile = Callable[..., Path]


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
            env=environment(prefect_home) | variables,
            start_new_session=True,
        )

    return start


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
            env=environment(Path()) | prefect_api | {"LEADLINE_STORE": str(store)},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


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
