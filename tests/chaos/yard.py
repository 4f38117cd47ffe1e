"""A Dask scheduler with two workers that stand before the campaign and after it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from plan import WORKERS

HOST = "127.0.0.1"


class Yard:
    """A scheduler and its workers, kept up as their administrator would.

    Parameters
    ----------
    folder
        Where they work, and what they say is written.
    environment
        Variables of the processes.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._port = _free_port()
        self.scheduler = self._start_scheduler()
        self.nannies = self._start_nannies()
        self._closing = Event()
        self._keeper = Thread(target=self._keep, name="keeper of the yard", daemon=True)
        self._keeper.start()

    @property
    def cluster(self) -> dict[str, object]:
        """What a machine profile says of it."""
        return {"kind": "scheduler", "address": f"tcp://{HOST}:{self._port}", "timeout": 60}

    def close(self) -> None:
        """End scheduler and workers."""
        self._closing.set()
        self._keeper.join()
        for process in (self.nannies, self.scheduler):
            process.terminate()
        for process in (self.nannies, self.scheduler):
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()

    def _keep(self) -> None:
        """Start again what has ended: workers end some time after their scheduler."""
        while not self._closing.wait(0.5):
            if self.scheduler.poll() is not None:
                self.scheduler = self._start_scheduler()
            if self.nannies.poll() is not None:
                self.nannies = self._start_nannies()

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        return self._start("dask_scheduler", "--port", str(self._port))

    def _start_nannies(self) -> subprocess.Popen[bytes]:
        return self._start(
            "dask_worker",
            f"tcp://{HOST}:{self._port}",
            *("--nthreads", "1", "--nworkers", str(WORKERS)),
            *("--local-directory", str(self._folder / "tmp")),
        )

    def _start(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{module}.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", f"distributed.cli.{module}"),
                    *("--no-dashboard", "--host", HOST, *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={**self._environment, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"},
                start_new_session=True,
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
