"""Drivers as processes, started cold or forked from the nursery, that are handled alike."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

NURSERY = Path(__file__).with_name("driver_nursery.py")
MAIN = (
    "import signal; signal.signal(2, signal.SIG_DFL); "
    "signal.pthread_sigmask(signal.SIG_UNBLOCK, {2}); from leadline.flows.cli import main; "
    "signal.signal(2, signal.default_int_handler); main()"
)
"""What a shell's `leadline` does, but silent where Ctrl-C comes before its first line."""
START_SECONDS = 300.0
"""Time that a nursery has to import everything, on a loaded machine too."""


class Driver(Protocol):
    """What the harness asks of a driver: as ``subprocess.Popen`` answers it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


def cold_start(
    arguments: list[str], folder: Path, log: Path, environment: Mapping[str, str]
) -> Driver:
    """Start a driver as a shell does, with all that it imports still to be imported."""
    with log.open("wb") as words, _interrupts_later():
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Let what is started hear Ctrl-C from its first line on: before it, Python itself answers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class DriverNursery:
    """The process from which the nurseries of all stages are forked."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._orders, theirs = _pair()
        with theirs, log.open("wb") as words:
            self._process = subprocess.Popen(
                [sys.executable, str(NURSERY), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def for_stage(self, environment: Mapping[str, str]) -> StageNursery:
        """Return a nursery whose drivers have an environment."""
        return StageNursery(_ordered(self._orders, dict(environment)))

    def close(self) -> None:
        """End it; the nurseries of stages end with their stages."""
        self._orders.close()
        self._process.wait()


class StageNursery:
    """The process from which the drivers of one stage are forked."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders

    def start(self, arguments: list[str], folder: Path, log: Path) -> Driver:
        """Start a driver."""
        order = {"arguments": arguments, "folder": str(folder), "log": str(log)}
        return _ForkedDriver(_ordered(self._orders, order))

    def close(self) -> None:
        """End it; drivers live on."""
        self._orders.close()


class _ForkedDriver:
    """A driver that is the nursery's child: it hears of its end from there."""

    def __init__(self, nursery: socket.socket) -> None:
        self._nursery = nursery
        self.returncode: int | None = None
        self.pid = self._told(START_SECONDS)

    def poll(self) -> int | None:
        if self.returncode is None and self._is_ready(0):
            self.returncode = self._told(0)
            self._nursery.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._is_ready(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(f"driver {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _is_ready(self, timeout: float | None) -> bool:
        return bool(select.select([self._nursery], [], [], timeout)[0])

    def _told(self, timeout: float) -> int:
        if not self._is_ready(timeout):
            raise TimeoutError(f"the nursery has forked no driver after {timeout:.0f} s")
        word = self._nursery.recv(64)
        if not word:
            raise ConnectionError("the nursery of drivers has ended: see its log")
        return int(word)


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _ordered(orders: socket.socket, order: Mapping[str, Any]) -> socket.socket:
    """Send an order, and return the socket on which it is answered."""
    ours, theirs = _pair()
    with theirs:
        socket.send_fds(orders, [json.dumps(order).encode()], [theirs.fileno()])
    return ours
