"""What a Dask worker runs: one calculation, in processes that end with the worker.

Loads neither prefect nor mongoengine nor torch. A worker needs no database and
no Prefect server: plain values come in, plain values go out, and what matters
lies in the folder that it shares with the driver.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute import processes
from leadline.tasks.compute.attempt_files import read_result, turns
from leadline.tasks.errors import ComputeError


class Nursery:
    """The way of this process to its nursery, started when first needed and again if it dies."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._orders: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def guardian(self) -> socket.socket:
        """Return a socket to a guardian forked just now."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            try:
                self._send(theirs)
            except OSError:
                self._start()
                self._send(theirs)
        return ours

    def close(self) -> None:
        """End the nursery; guardians that it forked live on with their calculations."""
        if self._orders is not None and self._process is not None:
            self._orders.close()
            self._process.wait()

    def _send(self, theirs: socket.socket) -> None:
        assert self._orders is not None
        socket.send_fds(self._orders, [b"g"], [theirs.fileno()])

    def _start(self) -> None:
        self.close()
        self._orders, theirs = socket.socketpair()
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "leadline.tasks.compute.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | threads,
                start_new_session=True,
            )


_END: list[float] = []
"""When the batch job around this process ends its engines, by the monotonic clock; or nothing."""


def ends_in(seconds: float) -> None:
    """Say how long this process may compute: then its batch job ends."""
    _END[:] = [time.monotonic() + seconds]


def seconds_left() -> float:
    """Return how long a calculation may take that starts now; endless outside of a job."""
    return _END[0] - time.monotonic() if _END else float("inf")


_NURSERY = Nursery()
atexit.register(_NURSERY.close)


def run_calculation(request: Mapping[str, Any]) -> dict[str, str]:
    """Run one attempt and wait for its end; every end of the engine is an answer.

    Parameters
    ----------
    request
        ``Request.to_plain()``.

    Returns
    -------
    dict[str, str]
        ``{"result": json}``, the text of a :class:`Result`: of this attempt, or
        the complete one of another; or ``{"refused": why}`` where no engine was
        started because another attempt is not proved gone.

    Raises
    ------
    ComputeError
        If the guardian itself failed, which is an error of leadline.
    """
    with _NURSERY.guardian() as guardian:
        try:
            guardian.sendall(json.dumps(_within_job(request)).encode() + b"\n")
            answer: dict[str, str] = json.loads(_read_all(guardian))
        except (OSError, ValueError):
            return _without_guardian(Request.from_plain(request))
    if "error" in answer:
        raise ComputeError(f"the guardian of a calculation failed:\n{answer['error']}")
    return answer


def _within_job(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the request with no more time than the batch job has left."""
    left, limit = seconds_left(), request.get("time_limit")
    if left >= (float("inf") if limit is None else limit):
        return request
    return {**request, "time_limit": max(left, 1.0), "limited_by": "walltime"}


def exchange_token(path: str) -> str:
    """Return what a file of the driver says, and write the same beside it with a hard link."""
    token = Path(path).read_text(encoding="utf-8")
    answer = Path(f"{path}.{processes.host()}.{os.getpid()}")
    answer.write_text(token, encoding="utf-8")
    Path(f"{answer}.link").hardlink_to(answer)
    return token


def _read_all(guardian: socket.socket) -> bytes:
    parts = []
    while part := guardian.recv(65536):
        parts.append(part)
    return b"".join(parts)


def _without_guardian(request: Request) -> dict[str, str]:
    """End what a killed guardian left, and answer from the folder."""
    folder = Path(request.folder)
    for running in turns(folder):
        if running.attempt == request.attempt and running.host == processes.host():
            processes.kill(processes.marked(running.pid, running.mark))
    result = read_result(folder, request.attempt)
    if result is None:
        failure = Failure(FailureKind.REMOTE, "guardian-lost", "the engine's guardian was killed")
        result = Result(request.calculation, request.attempt, converged=False, failure=failure)
    return {"result": result.to_json()}
