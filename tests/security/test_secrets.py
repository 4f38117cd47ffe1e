"""Passwords are found in nothing that a campaign writes, whatever goes wrong with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

PLUGINS = Path(__file__).parents[1] / "plugins"
MAIN = "from leadline.flows.cli import main; main()"
PASSWORD, KEY = "s3cr3tPassw0rd", "pnu_s3cr3tKey"
URI = f"mongodb://keeper:{PASSWORD}@127.0.0.1:9/leadline?serverSelectionTimeoutMS=500"
ORDERINGS = {"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 2}
STOP = {"expected_missed": None, "calculations": 2}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Place:
    """A folder of its own in which campaigns run, with secrets in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {n: value for n, value in os.environ.items() if not n.startswith("PREFECT_")}
        paths = [*map(str, PLUGINS.iterdir()), kept.get("PYTHONPATH")]
        self.environment = kept | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_KEY": KEY,
            "PREFECT_API_AUTH_STRING": f"keeper:{PASSWORD}",
            "PREFECT_SERVER_API_AUTH_STRING": f"keeper:{PASSWORD}",
            "GROUP_DATABASE": URI,
            "LEADLINE_STORE": str(folder / "store"),
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }
        self.said: list[str] = []

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment | variables,
            start_new_session=True,
        )

    def says(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        words = "".join(process.communicate(timeout=400))
        self.said.append(words)
        return process.returncode, words

    def write(self, name: str, engine: dict[str, object], **more: object) -> str:
        content = {
            "name": name,
            "candidates": [ORDERINGS],
            "engine": engine,
            "start": {"random": 2},
            "acquisition": {"batch": 2},
            "compute": {"workers": 1, "keep": "all"},
            "objective": {"references": {"kind": "values", "values": {"Cu": -1.0, "Au": -1.0}}},
            "stop": STOP,
        }
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(content | more))
        return f"{name}.yaml"

    def telltales(self) -> list[str]:
        """Return where a secret stands: in what was said, or in any file."""
        found = [words for words in self.said if PASSWORD in words or KEY in words]
        for path in self.folder.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            if PASSWORD.encode() in content or KEY.encode() in content:
                found.append(str(path.relative_to(self.folder)))
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_database_that_is_away_is_named_without_its_password(place: Place) -> None:
    file = place.write("small", {"name": "emt"}, store={"uri_from": "GROUP_DATABASE"})
    code, words = place.says(place.start("check", file))
    assert code == 1
    assert "mongodb://***@127.0.0.1:9" in words
    code, words = place.says(place.start("status", LEADLINE_MONGODB_URI=URI))
    assert code == 2
    assert "mongodb://***@127.0.0.1:9" in words
    assert "Traceback" not in words
    assert place.telltales() == []


def test_no_secret_is_written_by_a_campaign_that_fails_crashes_and_is_told_of(
    place: Place,
) -> None:
    chatty = {"name": "stand-in", "grandchild": "env; env >&2", "seconds": 1.0}
    file = place.write("small", chatty)
    killed = place.start("run", file)
    _wait_for_an_engine(place, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    place.says(killed)
    code, words = place.says(place.start("run", file))
    assert code == 0, words
    assert any(b"LEADLINE_ATTEMPT=" in each for each in _engines_words(place))
    for command in (("status", "small"), ("report", "small"), ("show", "small", "Cu")):
        place.says(place.start(*command))
    assert (place.folder / "prefect" / "prefect.db").exists()
    assert place.telltales() == []


def _wait_for_an_engine(place: Place, process: subprocess.Popen[str]) -> None:
    log, deadline = place.folder / "store" / "calculations" / "engines.log", time.monotonic() + 200
    while not log.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _engines_words(place: Place) -> list[bytes]:
    root = place.folder / "store" / "calculations"
    return [path.read_bytes() for path in root.rglob("*") if path.is_file()]
