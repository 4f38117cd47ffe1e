"""mongo-java-server over a file, as a process that a test can stop, kill, pause and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from loopback import free_port

HERE = Path(__file__).parent
DOWNLOAD_SECONDS = 240
END_SECONDS = 60


class JavaServer:
    """One server on one file and one port, however often it is started again.

    Parameters
    ----------
    folder
        Where its file and its log are.
    mended
        Whether it is put right where it does not do as MongoDB does; see Serve.java.
    """

    def __init__(self, folder: Path, *, mended: bool = True) -> None:
        self._classpath, self._kind = classpath(), "mended" if mended else "plain"
        self._file, self._log = folder / "mongodb.mv", folder / "mongodb.log"
        self.port = free_port()
        self.uri = f"mongodb://127.0.0.1:{self.port}/leadline"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and return once it answers."""
        java = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Xmx256m"]
        program = ["-cp", self._classpath, str(HERE / "Serve.java"), str(self._file)]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [*java, *program, str(self.port), self._kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "serving\n":
            self.kill()
            pytest.fail(f"the database did not start: {self._log.read_text()}")

    def stop(self) -> None:
        """End it in order: its file holds all that it acknowledged."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it neither answer nor refuse, from the moment when this returns."""
        self._running.send_signal(signal.SIGSTOP)
        while not all(_stopped(thread) for thread in self._threads()):
            time.sleep(0.01)

    def resume(self) -> None:
        """Let a paused one go on."""
        self._running.send_signal(signal.SIGCONT)

    def _threads(self) -> list[Path]:
        return list(Path(f"/proc/{self._running.pid}/task").iterdir())

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate(timeout=END_SECONDS)
        self._process = None


def _stopped(thread: Path) -> bool:
    try:
        return (thread / "stat").read_text().rpartition(") ")[2].startswith("T")
    except OSError:  # it ended meanwhile
        return True


@cache
def classpath() -> str:
    """Return where the server's packages are, fetched where they are not; skip if that fails."""
    for tool in ("javac", "mvn"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not here: no database on a socket")
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "classpath"
        said = _maven(found, "--offline")
        if said.returncode:
            said = _maven(found)
        if said.returncode:
            pytest.skip(f"Maven cannot fetch mongo-java-server: {said.stdout.strip()[:300]}")
        return found.read_text()


def _maven(found: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Have Maven write the class path into a file."""
    return subprocess.run(
        [
            *("mvn", "--quiet", "--batch-mode", *options, "--file", str(HERE / "pom.xml")),
            *("dependency:build-classpath", f"-Dmdep.outputFile={found}"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_SECONDS,
        env=os.environ | {"MAVEN_OPTS": "-XX:TieredStopAtLevel=1"},
    )
