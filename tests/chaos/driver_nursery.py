"""Forks drivers from a process that has imported what a driver imports.

To import torch, pymatgen and Prefect costs a driver five seconds of CPU, and a seed starts
four or five drivers; one that is forked here spends half a second on its start and end.

The first process imports what knows nothing of a stage. For each stage it forks a second
one, which takes on the environment of that stage before it imports Prefect, as Prefect
reads its variables then, and which forks the drivers. Both have one thread, so forking is
safe; both are the harness's, no part of what it tests, and end with it. Some starts stay
cold nevertheless (see ``plan.py``), or nobody would test them.

Run as ``python driver_nursery.py FD``, with the number of a socket that keeps packets apart.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import warnings
from importlib import import_module
from typing import Any

ROOMS = ("leadline.surrogate", "leadline.tasks")
"""They know no Prefect."""
FLOWS = ("leadline.flows.running", "leadline.flows.campaign", "leadline.flows.spec_file")
PACKET = 1 << 17
"""Bytes that an order has at most; most of it is the environment."""


def serve(orders: socket.socket) -> None:
    """Fork a nursery for each stage whose environment comes; return in a driver alone."""
    for room in ROOMS:
        for module in pkgutil.walk_packages(import_module(room).__path__, f"{room}."):
            import_module(module.name)
    assert "prefect" not in sys.modules
    gc.freeze()  # what a collection visits is copied
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        environment, stage = _received(orders)
        if os.fork() == 0:
            orders.close()
            _serve_stage(stage, environment)
            return
        stage.close()


def _serve_stage(orders: socket.socket, environment: dict[str, str]) -> None:
    """Fork a driver for each order, and tell how it ended; return in a driver alone."""
    os.environ.clear()
    os.environ.update(environment)
    for module in FLOWS:
        import_module(module)
    gc.freeze()
    ended = _ends_of_children()
    drivers: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([orders.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 512)
            _tell_ends(drivers)
        if orders.fileno() in ready:
            order, harness = _received(orders)
            pid = os.fork()
            if pid == 0:
                for each in (orders, harness, *drivers.values()):
                    each.close()
                _become_driver(**order)
                return
            drivers[pid] = harness
            harness.send(str(pid).encode())


def _become_driver(arguments: list[str], folder: str, log: str) -> None:
    """Be as a process that a shell has started."""
    os.setsid()
    os.chdir(folder)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    words = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(words, stream.fileno())
    os.close(words)
    sys.argv, sys.path[0] = ["-c", *arguments], ""


def _ends_of_children() -> int:
    ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return ended


def _tell_ends(drivers: dict[int, socket.socket]) -> None:
    for pid in list(drivers):
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            with drivers.pop(pid) as harness:
                harness.send(str(os.waitstatus_to_exitcode(status)).encode())


def _received(orders: socket.socket) -> tuple[dict[str, Any], socket.socket]:
    """Return an order and the socket that came with it; end when the other end has closed."""
    packet, handles, *_ = socket.recv_fds(orders, PACKET, maxfds=1)
    if not packet:
        os._exit(0)
    return json.loads(packet), socket.socket(fileno=handles[0])


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        serve(socket.socket(fileno=int(sys.argv[1])))
    # Of Ctrl-C before its first line a program says nothing; Python would print where it imports.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from leadline.flows.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
