"""A cluster on this machine: workers that are opened for a driver and end with it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock, Thread
from typing import Any

import distributed
from distributed import SchedulerPlugin
from distributed.security import Security

from leadline.tasks.compute.environment import without_secrets
from leadline.tasks.compute.profile import LocalCluster
from leadline.tasks.compute.silence import quiet_scheduler
from leadline.tasks.errors import ComputeError

START_SECONDS = 60.0
"""How long the workers of a cluster on this machine have to come up."""
SHORT_LIFE_S = 60.0
"""A worker that ends sooner after it came, and has computed nothing, did not stay up."""
SHORT_LIVES = 3
"""After as many short lives in a row a worker is not started again: what is in its way stays."""
Opened = tuple[distributed.Client, "LocalWorkers"]


@contextmanager
def local_cluster(
    settings: LocalCluster, workers: int | None, config: Mapping[str, Any]
) -> Iterator[Opened]:
    """Open a scheduler and workers on this machine, and end them with the block.

    Parameters
    ----------
    settings, workers
        The profile's, and how many workers instead of its number; or None.
    config
        Settings of Dask for the workers.

    Raises
    ------
    ComputeError
        If the workers do not come up in time.
    """
    count = workers or settings.workers or _cores()
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(
            prefix="leadline-", dir=settings.scratch, ignore_cleanup_errors=True
        )
        directory = stack.enter_context(scratch)
        security = Security.temporary()
        stack.enter_context(quiet_scheduler())
        scheduler = stack.enter_context(
            distributed.LocalCluster(
                n_workers=0,
                host="127.0.0.1",
                security=security,
                # Dask opens a port for its own health in any case.
                dashboard_address=settings.dashboard or "127.0.0.1:0",
                scheduler_kwargs={"dashboard": settings.dashboard is not None},
                silence_logs=logging.CRITICAL,  # what became of a worker, its calculation says
            )
        )
        attendance = Attendance()
        scheduler.scheduler.add_plugin(attendance)
        client = stack.enter_context(
            distributed.Client(scheduler, security=security, set_as_default=False)
        )
        orders = {
            "scheduler": scheduler.scheduler_address,
            "host": "127.0.0.1",
            "directory": directory,
            "tls": _certificates(security),
            "dask": dict(config),
        }
        crew = LocalWorkers(client, orders, attendance)
        stack.callback(crew.close)
        crew.open(count)
        yield client, crew


class Attendance(SchedulerPlugin):
    """Knows of each worker when it came last, and whether it has computed anything since."""

    name = "leadline attendance"

    def __init__(self) -> None:
        self._lock = Lock()
        self._came: dict[str, float] = {}
        self._names: dict[str, str] = {}

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Note that a worker came: called by the scheduler."""
        with self._lock:
            self._names[worker] = name = str(scheduler.workers[worker].name)
            self._came[name] = time.monotonic()

    def transition(
        self, key: Any, start: str, finish: str, *_: Any, worker: str = "", **__: Any
    ) -> None:
        """Note that a worker has computed something: called by the scheduler."""
        if (start, finish) == ("processing", "memory"):
            with self._lock:
                self._came[self._names[worker]] = -float("inf")

    def lived_long(self, name: str) -> bool:
        """Tell whether a worker that has ended had stayed up; forget that it was there."""
        with self._lock:
            came = self._came.pop(name, None)
        return came is not None and time.monotonic() - came >= SHORT_LIFE_S


class LocalWorkers:
    """The workers of a cluster; more of them may be opened while it works."""

    def __init__(
        self, client: distributed.Client, orders: dict[str, Any], attendance: Attendance
    ) -> None:
        self._client, self._orders, self._attendance = client, orders, attendance
        self.hands: list[LocalWorker] = []

    def open(self, count: int) -> None:
        """Open workers until there are so many, and wait for them.

        Raises
        ------
        ComputeError
            If they do not come up in time.
        """
        for number in range(len(self.hands), count):
            orders = self._orders | {"name": str(number)}
            self.hands.append(LocalWorker(orders, self._attendance))
        _wait_for_workers(self._client, self.hands)

    def hire(self, count: int) -> int:
        """Open more workers while some work; return how many may compute at a time.

        None is ended: a worker that is not needed has no work, and costs some memory.
        """
        with suppress(ComputeError):  # the campaign goes on with those that are there
            self.open(count)
        return min(count, len(self._client.nthreads()))

    def close(self) -> None:
        """End all of them."""
        for hand in self.hands:
            hand.close()


class LocalWorker:
    """A worker process, and the thread that starts it again when it dies.

    ``given_up`` says why it is not started again, once it is not.
    """

    def __init__(self, orders: dict[str, Any], attendance: Attendance) -> None:
        self._name, self._attendance = orders["name"], attendance
        self._orders = json.dumps(orders).encode() + b"\n"
        self._closing = False
        self._lock = Lock()
        self.given_up = ""
        self._process = self._start()
        self._thread = Thread(target=self._keep, daemon=True, name="leadline worker")
        self._thread.start()

    def close(self) -> None:
        """End the worker, and with it whatever it computes."""
        with self._lock:
            self._closing = True
            self._end_process()
        self._thread.join()

    def _start(self) -> subprocess.Popen[bytes]:
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        process = subprocess.Popen(
            [sys.executable, "-m", "leadline.tasks.compute.local_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=without_secrets(os.environ) | one,
            start_new_session=True,  # Ctrl-C at a terminal is for the driver to judge
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(self._orders)
            process.stdin.flush()
        return process

    def _keep(self) -> None:
        short_lives = 0
        while not self.given_up:
            self._process.wait()
            with self._lock:
                if self._closing:
                    return
                self._end_process()
                stayed = self._attendance.lived_long(self._name)
                short_lives = 0 if stayed else short_lives + 1
                self._start_again(short_lives)

    def _start_again(self, short_lives: int) -> None:
        if short_lives >= SHORT_LIVES:
            self.given_up = (
                f"worker {self._name} did not stay up {short_lives} times in a row: it ended "
                f"before it came to work, or within {SHORT_LIFE_S:g} s and with nothing computed, "
                f"the last time with exit code {self._process.returncode}, and is not started again"
            )
            return
        try:
            self._process = self._start()
        except OSError as error:
            self.given_up = f"worker {self._name} cannot be started again: {error}"

    def _end_process(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()


def _wait_for_workers(client: distributed.Client, hands: list[LocalWorker]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while len(client.nthreads()) < len(hands):
        if time.monotonic() > deadline or any(hand.given_up for hand in hands):
            raise ComputeError(
                f"{len(client.nthreads())} of {len(hands)} workers came up within "
                f"{START_SECONDS:g} s; what they said stands above. Try fewer: `cluster.workers` "
                "of the profile"
            )
        time.sleep(0.05)


def _certificates(security: Security) -> dict[str, str]:
    names = ("tls_ca_file", "tls_worker_cert", "tls_worker_key")
    return {name: getattr(security, name) for name in names}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
