"""Who holds something: a process, named so that another can prove that it is gone."""

from __future__ import annotations

import secrets
import socket
from functools import cache
from pathlib import Path

import psutil


def this_process() -> str:
    """Return ``host/boot-id/pid/start-time/token``, a new token with each call."""
    process = psutil.Process()
    return "/".join(
        (
            socket.gethostname(),
            boot_id(),
            str(process.pid),
            f"{process.create_time():.2f}",
            secrets.token_hex(4),
        )
    )


def is_gone(owner: str) -> bool:
    """Tell whether a process is proved gone; False where nothing can be proved from here.

    Proof is another boot of this host, or no process with that pid and start time.
    """
    host, boot, pid, start, *_ = [*owner.split("/"), "", "", "", ""]
    if host != socket.gethostname() or not boot or not pid.isdigit():
        return False
    if boot != boot_id():
        return True
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != start
    except psutil.NoSuchProcess:
        return True


def in_words(owner: str) -> str:
    """Return an owner as a person reads it: process and host."""
    host, _, pid, *_ = [*owner.split("/"), "", ""]
    return f"process {pid} on {host}" if pid else owner


@cache
def boot_id() -> str:
    """Return what names this boot of the host."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"{psutil.boot_time():.0f}"
