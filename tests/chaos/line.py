"""A way from a client to a port of loopback that can be cut, or fall silent, and be mended."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress

HOST = "127.0.0.1"
PIECE = 1 << 16


class Line(socketserver.ThreadingTCPServer):
    """Passes on whatever comes, both ways, until told otherwise.

    Parameters
    ----------
    port
        Of what stands at the other end.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__((HOST, 0), _Call)
        self.end = (HOST, port)
        self.port = int(self.server_address[1])
        self.is_cut = False
        self.sounds = threading.Event()
        self.sounds.set()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, name="line", daemon=True).start()

    def cut(self) -> None:
        """End all connections, and each new one at once."""
        with self._lock:
            self.is_cut = True
            for each in self._sockets:
                hang_up(each)

    def hush(self) -> None:
        """Pass nothing on, as a network does whose cable is out: nobody is told."""
        self.sounds.clear()

    def mend(self) -> None:
        """Pass everything on again."""
        self.is_cut = False
        self.sounds.set()

    def close(self) -> None:
        """End it with all its connections."""
        self.shutdown()
        self.server_close()
        self.cut()
        self.sounds.set()

    def holds(self, *ends: socket.socket) -> bool:
        """Take up a connection; False where the line is cut."""
        with self._lock:
            self._sockets.update(ends)
            return not self.is_cut

    def lets_go(self, *ends: socket.socket) -> None:
        """Forget a connection that has ended."""
        with self._lock:
            self._sockets.difference_update(ends)


class _Call(socketserver.BaseRequestHandler):
    server: Line
    request: socket.socket

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.end) as other:
            if self.server.holds(self.request, other):
                back = threading.Thread(target=self._pass, args=(other, self.request), daemon=True)
                back.start()
                self._pass(self.request, other)
                back.join()
            self.server.lets_go(self.request, other)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                self.server.sounds.wait()
                sink.sendall(piece)
        hang_up(source)
        hang_up(sink)


def hang_up(end: socket.socket) -> None:
    """End a connection, also for a thread that reads from it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
