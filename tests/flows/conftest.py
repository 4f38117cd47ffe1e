"""What tests of flows share: a Prefect home of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.Popen[str]"]


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


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}
