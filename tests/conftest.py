"""What tests of several rooms share: servers, a store, a campaign file, a folder of cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from java_server import JavaServer
from prefect_here import PrefectHere, lay_out, prefect_here, small_campaign
from proxy import Proxy, proxied
from slurm_here import Slurm, missing, slurm_here


@pytest.fixture(scope="session")
def java_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JavaServer]:
    """A database on a socket for tests that leave it alone: starting one takes a second."""
    server = JavaServer(tmp_path_factory.mktemp("database"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[JavaServer]:
    """A database on a socket of its own for one test, which may do to it what it likes."""
    server = JavaServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(java_server: JavaServer) -> Iterator[Proxy]:
    """A way to the shared database that a test may disturb."""
    with proxied(java_server.port) as standing:
        yield standing


@pytest.fixture(scope="session")
def own_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A real Slurm on this machine, for all tests that need one."""
    if why := missing():
        pytest.skip(why)
    with slurm_here(tmp_path_factory.mktemp("slurm") / "own") as running:
        yield running


@pytest.fixture
def slurm(own_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The Slurm that this process and all it starts submit to; no job is left behind."""
    for name, value in own_slurm.variables.items():
        monkeypatch.setenv(name, value)
    yield own_slurm
    own_slurm.end_jobs()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all the cases of a module."""
    return tmp_path_factory.mktemp("cases")


@pytest.fixture(scope="session")
def laid_out_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database is laid out, which takes ten seconds of CPU: once a session."""
    return lay_out(tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="session")
def prefect_server(
    laid_out_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectHere]:
    """One Prefect server for all tests that leave it alone: starting one takes 5 s of CPU."""
    with prefect_here(laid_out_home, tmp_path_factory.mktemp("server")) as here:
        yield here


@pytest.fixture(scope="session")
def prefect_api(prefect_server: PrefectHere) -> dict[str, str]:
    """Variables of the shared Prefect server's clients."""
    return prefect_server.variables


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of a store of its own."""
    return tmp_path / "store"


@pytest.fixture
def campaign_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a small campaign, with the keys that a test changes."""

    def write(name: str = "small", **changes: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(small_campaign(name, **changes)))
        return path

    return write
