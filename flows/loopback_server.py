"""One Prefect server on loopback: started, waited for, ended.

It runs in a session of its own, so that no Ctrl-C at a terminal reaches it.
This module knows processes and ports; it does not load Prefect.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import psutil

from leadline.tasks.compute.processes import start_time
from leadline.tasks.errors import PrefectServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

HOST = "127.0.0.1"
USUAL_PORT = 4200
START_LIMIT_S = 120.0
"""The first start lays out the database, which takes ten seconds of CPU."""
END_LIMIT_S = 10.0


@dataclass(frozen=True)
class Process:
    """A process of this boot, told apart from a later one with the same pid."""

    pid: int
    start: float

    @classmethod
    def this(cls) -> Process:
        """Return the calling process."""
        return cls(os.getpid(), start_time(os.getpid()) or 0.0)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return start_time(self.pid) == self.start


@dataclass(frozen=True)
class Server:
    """A server that a run of leadline started."""

    process: Process
    port: int

    @property
    def listens(self) -> bool:
        """Whether this very process, and no other, holds the port."""
        with suppress(psutil.Error):
            return any(
                c.status == psutil.CONN_LISTEN and c.laddr.port == self.port
                for c in psutil.Process(self.process.pid).net_connections("tcp4")
            )
        return False

    @classmethod
    def start(
        cls,
        environment: Mapping[str, str],
        log: Path,
        first: int = USUAL_PORT,
        known: Callable[[Server], object] = lambda _: None,
    ) -> Server:
        """Start one, and do not wait until it answers.

        Parameters
        ----------
        environment
            Variables beside those of this process.
        log
            File that its words go to.
        first
            The port, if that is free; else any other.
        known
            Called with the process before it becomes a server: one that was killed in
            between leaves no server behind that nobody knows.
        """
        port = _free_port(first)
        address = f"http://{HOST}:{port}/api"
        variables = {**os.environ, **environment, "PREFECT_UI_API_URL": address}
        pid, gate = _spawn(["--host", HOST, "--port", str(port)], variables, log)
        server = cls(Process(pid, start_time(pid) or 0.0), port)
        try:
            known(server)
            with suppress(BrokenPipeError):  # it ended at once: who waits for it will tell
                os.write(gate, b"go\n")
        finally:
            os.close(gate)
        return server

    def wait_until_it_answers(self, log: Path) -> None:
        """Return once it answers; raise PrefectServerError with the end of its log if it ends."""
        deadline = time.monotonic() + START_LIMIT_S
        while self.process.alive and time.monotonic() < deadline:
            if self.listens and _is_healthy(self.port):
                return
            time.sleep(0.1)
        seen = f"did not answer within {START_LIMIT_S:.0f} s" if self.process.alive else "ended"
        raise PrefectServerError(
            f"a Prefect server on port {self.port} {seen}. The end of its log, {log}:\n"
            f"{_tail(log)}\nStart one yourself with `prefect server start`, and set "
            "PREFECT_API_URL to its address."
        )

    def end(self) -> None:
        """End it: asked first, killed when it is deaf."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            if _gone_within(self.process, END_LIMIT_S):
                return


def is_free(port: int) -> bool:
    """Return whether a server could listen on a port now: one that dies holds it for a moment."""
    return _bound(port) is not None


def _free_port(first: int) -> int:
    for port in (first, 0):
        if bound := _bound(port):
            return bound
    raise PrefectServerError(
        f"no port of {HOST} is free for a Prefect server: {first} is taken and the system "
        "gave no other. Set PREFECT_API_URL to a server that runs."
    )


def _bound(port: int) -> int | None:
    with suppress(OSError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])
    return None


def _spawn(options: list[str], environment: Mapping[str, str], log: Path) -> tuple[int, int]:
    """Return a process that becomes a server once it reads a line, and where to write that."""
    # -P: a folder `prefect` where the user stands must not be taken for the package.
    server = [sys.executable, "-P", "-m", "prefect", "server", "start", *options]
    read, write = os.pipe()
    try:
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", 'read -r go && exec "$@" </dev/null', "sh", *server],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
    except BaseException:
        os.close(write)
        raise
    finally:
        os.close(read)
    return pid, write


def _is_healthy(port: int) -> bool:
    # No proxy: on clusters `http_proxy` is often set, and would be asked for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError), opener.open(f"http://{HOST}:{port}/api/health", timeout=5) as answer:
        return bool(answer.status == HTTPStatus.OK)
    return False


def _tail(log: Path) -> str:
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    return "(there is none)"


def _gone_within(process: Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return not process.alive
