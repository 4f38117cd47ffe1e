"""A line passes on what comes, is cut, falls silent, and is mended; a clock can be wrong."""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from line import HOST, Line

WRONG_CLOCK = Path(__file__).with_name("wrong_clock")


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while heard := self.request.recv(100):
            self.request.sendall(heard)


@pytest.fixture
def line() -> Iterator[Line]:
    """A line to a server that says whatever it hears."""
    with socketserver.ThreadingTCPServer((HOST, 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        made = Line(server.server_address[1])
        yield made
        made.close()
        server.shutdown()


def called(line: Line) -> socket.socket:
    return socket.create_connection((HOST, line.port), timeout=10)


def answer(caller: socket.socket, words: bytes) -> bytes:
    caller.sendall(words)
    return caller.recv(100)


def test_a_line_that_is_cut_ends_every_call_until_it_is_mended(line: Line) -> None:
    with called(line) as caller:
        assert answer(caller, b"hello") == b"hello"
        line.cut()
        assert caller.recv(100) == b""
    with called(line) as caller:
        assert caller.recv(100) == b""
    line.mend()
    with called(line) as caller:
        assert answer(caller, b"again") == b"again"


def test_a_silent_line_passes_on_later_what_was_said_meanwhile(line: Line) -> None:
    with called(line) as caller:
        assert answer(caller, b"hello") == b"hello"
        line.hush()
        caller.sendall(b"later")
        caller.settimeout(0.2)
        with pytest.raises(TimeoutError):
            caller.recv(100)
        caller.settimeout(10)
        line.mend()
        assert caller.recv(100) == b"later"


def test_a_wrong_clock_tells_a_wrong_time_and_lets_time_pass_as_it_does() -> None:
    said = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import time; a = time.monotonic(); time.sleep(0.01); "
            "print(time.time(), time.monotonic() - a)",
        ],
        env=os.environ | {"PYTHONPATH": str(WRONG_CLOCK), "WRONG_CLOCK": "-3600"},
        capture_output=True,
        text=True,
        check=True,
    )
    told, passed = map(float, said.stdout.split())
    assert told - time.time() == pytest.approx(-3600, abs=60)
    assert 0.01 <= passed < 60
