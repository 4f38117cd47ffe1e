"""What tests of several rooms share: a database on a real socket, a folder for many cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from java_server import JavaServer
from proxy import Proxy, proxied


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all the cases of a module."""
    return tmp_path_factory.mktemp("cases")
