"""Clusters: where calculations run, opened for a driver as a Dask client."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from uuid import uuid4

import dask
import distributed
from distributed.security import Security

from leadline.tasks.compute import worker
from leadline.tasks.compute.profile import LocalCluster, Profile, SchedulerCluster
from leadline.tasks.errors import ComputeError

START_SECONDS = 60.0
"""How long the workers of a cluster on this machine have to come up."""
SHORT_LIFE_S = 5.0
"""A worker that ended sooner had something in its way that starting it again does not remove."""
SHORT_LIVES = 3
"""After as many short lives in a row a worker is not started again."""
QUIET = {
    "distributed.scheduler.allowed-failures": 0,  # a lost worker is the driver's to judge
    "distributed.scheduler.work-stealing": False,  # a claimed calculation stays where it is
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
}


@dataclass(frozen=True)
class Cluster:
    """An open cluster.

    Parameters
    ----------
    client
        The Dask client.
    dashboard
        Address of the Dask dashboard, or None.
    notes
        What a person should know of it, one sentence each.
    kept
        The workers that are started again when they die; none on a scheduler that already runs.
    """

    client: distributed.Client
    dashboard: str | None
    notes: tuple[str, ...] = ()
    kept: tuple[_LocalWorker, ...] = ()

    @property
    def slots(self) -> int:
        """How many calculations can run at a time now."""
        return sum(self.client.nthreads().values())

    @property
    def capacity(self) -> int:
        """How many calculations can run at a time once each worker is up that was opened."""
        return len(self.kept) or self.slots

    def given_up(self) -> tuple[str, ...]:
        """Return a sentence for each worker that is not started again; they get no fewer."""
        return tuple(each.given_up for each in self.kept if each.given_up)


@contextmanager
def open_cluster(profile: Profile, workers: int | None = None) -> Iterator[Cluster]:
    """Open the cluster of a profile, and close what was opened at the end.

    Parameters
    ----------
    profile
        The machine.
    workers
        Calculations at a time on this machine; None takes the profile's number.
        A scheduler that already runs has the workers that it has.

    Raises
    ------
    ComputeError
        If no scheduler or no worker answers in time; the message says which.
    """
    with dask.config.set({**QUIET, **profile.dask}):
        if isinstance(profile.cluster, SchedulerCluster):
            with _existing(profile.cluster) as cluster:
                yield cluster
        else:
            with _local(profile.cluster, workers, dict(profile.dask)) as cluster:
                yield cluster


def check_shared_folder(client: distributed.Client, folder: Path) -> int:
    """Prove that driver and workers see one folder, both ways, and that it can hard link.

    Returns
    -------
    int
        How many workers were asked.

    Raises
    ------
    ComputeError
        If a worker does not see what the driver writes, the other way round, or
        cannot make the hard links by which attempts exclude each other.
    """
    token = uuid4().hex
    with _scratch(folder) as here:
        (here / "token").write_text(token, encoding="utf-8")
        answers = client.run(worker.exchange_token, str(here / "token"), on_error="return")
        links = [path for path in here.iterdir() if path.name.endswith(".link")]
        seen = [path.read_text(encoding="utf-8") for path in links]
    wrong = {name: answer for name, answer in answers.items() if answer != token}
    if wrong:
        name, answer = next(iter(wrong.items()))
        raise ComputeError(
            f"{len(wrong)} of {len(answers)} workers cannot share {folder} with the driver; "
            f"{name} answered: {answer!r}. Name a folder under `calculations:` of the profile "
            "that all see under one path and that allows hard links"
        )
    if answers and set(seen) != {token}:
        raise ComputeError(
            f"the driver does not see what workers write into {folder}: they see another folder "
            "under that path; name one that all share under `calculations:` of the profile"
        )
    return len(answers)


@contextmanager
def _local(
    settings: LocalCluster, workers: int | None, config: dict[str, Any]
) -> Iterator[Cluster]:
    count = workers or settings.workers or _cores()
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(
            prefix="leadline-", dir=settings.scratch, ignore_cleanup_errors=True
        )
        directory = stack.enter_context(scratch)
        security = Security.temporary()
        scheduler = stack.enter_context(
            distributed.LocalCluster(
                n_workers=0,
                host="127.0.0.1",
                security=security,
                dashboard_address=settings.dashboard,
                silence_logs=logging.CRITICAL,  # what became of a worker, its calculation says
            )
        )
        client = stack.enter_context(
            distributed.Client(scheduler, security=security, set_as_default=False)
        )
        orders = {
            "scheduler": scheduler.scheduler_address,
            "directory": directory,
            "tls": _certificates(security),
            "dask": QUIET | config,
        }
        hands = [_LocalWorker(orders | {"name": str(number)}) for number in range(count)]
        for hand in hands:
            stack.callback(hand.close)
        _wait_for_workers(client, hands)
        dashboard = client.dashboard_link if settings.dashboard else None
        yield Cluster(client, dashboard, kept=tuple(hands))


class _LocalWorker:
    """A worker process, and the thread that starts it again when it dies."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._name = orders["name"]
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
            env=_without_secrets(os.environ) | one,
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
            started = time.monotonic()
            self._process.wait()
            with self._lock:
                if self._closing:
                    return
                self._end_process()
                short_lives = short_lives + 1 if time.monotonic() - started < SHORT_LIFE_S else 0
                self._start_again(short_lives)

    def _start_again(self, short_lives: int) -> None:
        if short_lives >= SHORT_LIVES:
            self.given_up = (
                f"worker {self._name} ended within {SHORT_LIFE_S:g} s of its start {short_lives} "
                f"times in a row, the last time with exit code {self._process.returncode}, and is "
                "not started again"
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


@contextmanager
def _existing(settings: SchedulerCluster) -> Iterator[Cluster]:
    tls = settings.address.startswith("tls")
    security = _security(settings) if tls else None
    try:
        client = distributed.Client(
            settings.address, security=security, timeout=settings.timeout, set_as_default=False
        )
    except OSError as error:
        raise ComputeError(
            f"no Dask scheduler answers at {settings.address} within {settings.timeout:g} s "
            f"({error}); start one there, or set `cluster.address` of the profile"
        ) from None
    with client:
        _wait_for_any(client, settings)
        open_to_all = (
            f"{settings.address} runs whatever arrives there, from whoever can reach it: "
            "use tls:// and certificates"
        )
        notes = () if tls else (open_to_all,)
        yield Cluster(client, client.dashboard_link or None, notes)


def _wait_for_any(client: distributed.Client, settings: SchedulerCluster) -> None:
    try:
        client.wait_for_workers(1, timeout=settings.timeout)
    except TimeoutError:
        raise ComputeError(
            f"the Dask scheduler at {settings.address} has no worker after {settings.timeout:g} s; "
            f"start some: `dask worker {settings.address} --nthreads 1`"
        ) from None


def _wait_for_workers(client: distributed.Client, hands: list[_LocalWorker]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while len(client.nthreads()) < len(hands):
        if time.monotonic() > deadline or any(hand.given_up for hand in hands):
            raise ComputeError(
                f"{len(client.nthreads())} of {len(hands)} workers came up within "
                f"{START_SECONDS:g} s; what they said stands above. Try fewer: `cluster.workers` "
                "of the profile"
            )
        time.sleep(0.05)


def _security(settings: SchedulerCluster) -> Security:
    for key in ("ca", "certificate", "key"):
        path = getattr(settings, key)
        if not path.is_file():
            raise ComputeError(f"cluster.{key} of the profile: there is no file {path}")
    return Security(
        require_encryption=True,
        tls_ca_file=str(settings.ca),
        tls_client_cert=str(settings.certificate),
        tls_client_key=str(settings.key),
    )


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a worker and its engines may know: no way to Prefect or to a database.

    They need none, and an engine that prints its environment, as launchers of MPI do
    when they fail, would leave the passwords in its raw files.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PREFECT_") and not re.match(r"mongodb(\+srv)?://", value)
    }


def _certificates(security: Security) -> dict[str, str]:
    names = ("tls_ca_file", "tls_worker_cert", "tls_worker_key")
    return {name: getattr(security, name) for name in names}


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as here:
            yield Path(here)
    except OSError as error:
        raise ComputeError(
            f"the folder of calculations {folder} cannot be written: {error}"
        ) from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
