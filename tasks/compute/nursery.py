"""The nursery: a process beside a worker that forks guardians in milliseconds.

A fresh Python with ASE and pymatgen takes a second to start; this one has them
loaded and never runs an engine itself. It has one thread, so forking is safe,
and ends with its worker. Run as ``python -m leadline.tasks.compute.nursery FD``.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from importlib import import_module

from leadline.tasks.compute.guardian import guard

PRELOADED = (
    "ase.calculators.emt",
    "ase.calculators.espresso",
    "pymatgen.core",
    "leadline.tasks.engines.emt",
    "leadline.tasks.recipes.relax",
    "leadline.tasks.recipes.static",
)
"""Light modules that most engine processes need; none may start a thread."""


def serve(orders: socket.socket) -> None:
    """Fork a guardian for each socket that arrives, until the worker closes its end."""
    for module in PRELOADED:
        import_module(module)
    # Ended guardians are collected by the kernel; Ctrl-C at a terminal is the driver's.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while handles := socket.recv_fds(orders, 1, maxfds=1)[1]:
        with socket.socket(fileno=handles[0]) as worker:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                orders.close()
                guard(worker)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
