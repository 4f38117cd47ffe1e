"""A Dask scheduler with two workers that stand before the campaign and after it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from line import HOST, Line
from loopback import free_port

WRONG_CLOCK = Path(__file__).with_name("wrong_clock")


class Yard:
    """A scheduler and its workers, kept up as their administrator would.

    One worker has a nanny. The other stands elsewhere: it reaches the scheduler by a line
    that can be cut, and its clock may be wrong.

    Parameters
    ----------
    folder
        Where they work, and what they say is written.
    environment
        Variables of the processes.
    skew
        Seconds by which the clock of the worker elsewhere is wrong.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], skew: float = 0.0) -> None:
        self._folder, self._environment, self._skew = folder, environment, skew
        self._port = free_port()
        self.line = Line(self._port)
        self.scheduler = self._start_scheduler()
        self.nanny, self.elsewhere = self._start_nanny(), self._start_elsewhere()
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
        processes = (self.nanny, self.elsewhere, self.scheduler)
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()
        self.line.close()

    def _keep(self) -> None:
        """Start again what has ended: workers end some time after their scheduler."""
        while not self._closing.wait(0.5):
            if self.scheduler.poll() is not None:
                self.scheduler = self._start_scheduler()
            if self.nanny.poll() is not None:
                self.nanny = self._start_nanny()
            if self.elsewhere.poll() is not None:
                self.elsewhere = self._start_elsewhere()

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        return self._start("dask_scheduler", self._environment, "--port", str(self._port))

    def _start_nanny(self) -> subprocess.Popen[bytes]:
        return self._start_worker(self._port, self._environment)

    def _start_elsewhere(self) -> subprocess.Popen[bytes]:
        paths = [str(WRONG_CLOCK), self._environment["PYTHONPATH"]] if self._skew else []
        wrong = {"WRONG_CLOCK": str(self._skew), "PYTHONPATH": os.pathsep.join(paths)}
        environment = {**self._environment, **(wrong if self._skew else {})}
        return self._start_worker(self.line.port, environment, "--no-nanny")

    def _start_worker(
        self, port: int, environment: Mapping[str, str], *options: str
    ) -> subprocess.Popen[bytes]:
        return self._start(
            "dask_worker",
            environment,
            f"tcp://{HOST}:{port}",
            *("--nthreads", "1", *options),
            *("--local-directory", str(self._folder / "tmp")),
        )

    def _start(
        self, module: str, environment: Mapping[str, str], *options: str
    ) -> subprocess.Popen[bytes]:
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
                env={**environment, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"},
                start_new_session=True,
            )
