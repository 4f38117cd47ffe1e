"""What stands between a client and its database, and does to their messages what a test asks."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from wire import HEADER, OP_MSG, message, reply

WRITES = frozenset({"insert", "update", "delete", "findAndModify"})
NOT_PRIMARY = {"ok": 0.0, "code": 10107, "codeName": "NotWritablePrimary", "errmsg": "not primary"}
DENIED = {"ok": 0.0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "no: joe, s3cr3t"}


class Proxy(socketserver.ThreadingTCPServer):
    """Passes messages on, unless told otherwise; what is told holds from the next message on.

    Parameters
    ----------
    port
        Of the database, on loopback.

    Attributes
    ----------
    delay
        Seconds that each message takes longer.
    answers
        Commands that the proxy answers itself, by name.
    full
        Whether it has no connection left for anybody: each is closed at its next message.
    cut
        Asked for each command, with its name: "before" loses the command, "after" its answer,
        and both end the connection.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.database = ("127.0.0.1", port)
        self.uri = f"mongodb://127.0.0.1:{self.server_address[1]}/leadline"
        self.delay = 0.0
        self.answers: dict[str, dict[str, Any]] = {}
        self.full = False
        self.cut: Callable[[str], str | None] = lambda command: None
        self.wake = threading.Event()

    def refuse_writes(self) -> None:
        """Be a server that is no primary any more."""
        self.answers = dict.fromkeys(WRITES, NOT_PRIMARY)

    def heal(self) -> None:
        """Pass everything on again."""
        self.delay, self.full, self.answers = 0.0, False, {}


class _Conversation(socketserver.BaseRequestHandler):
    server: Proxy
    request: socket.socket

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.database) as database:
            while (told := _read(self.request)) and not self.server.full:
                self._pass_on(told, database)

    def _pass_on(self, told: bytes, database: socket.socket) -> None:
        _, number, _, kind = HEADER.unpack_from(told)
        name = next(iter(message(told[HEADER.size :]))) if kind == OP_MSG else ""
        self.server.wake.wait(self.server.delay)
        if name in self.server.answers:
            self.request.sendall(reply(number, self.server.answers[name]))
            return
        cut = self.server.cut(name)
        if cut == "before":
            raise ConnectionAbortedError
        database.sendall(told)
        answer = _read(database)
        if cut == "after" or not answer:
            raise ConnectionAbortedError
        self.request.sendall(answer)


def _read(end: socket.socket) -> bytes:
    """Return one whole message, or nothing where the other end has closed."""
    head = _exactly(end, HEADER.size)
    return head + _exactly(end, HEADER.unpack(head)[0] - HEADER.size) if head else b""


def _exactly(end: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = end.recv(size - len(found))
        if not more:
            return b""
        found += more
    return found


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """Stand before a database while the block lasts."""
    with Proxy(port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield proxy
        proxy.full = True
        proxy.wake.set()
        proxy.shutdown()
        thread.join()
