"""Who holds something: a process, named so that another can prove that it is gone."""

from __future__ import annotations

import os
import secrets

from leadline.tasks.compute import processes


def this_process() -> str:
    """Return ``host/boot/pid/start-time/token``, a new token with each call."""
    pid = os.getpid()
    start = f"{processes.start_time(pid) or 0.0:.2f}"
    return "/".join((processes.host(), _boot(), str(pid), start, secrets.token_hex(4)))


def is_gone(owner: str) -> bool:
    """Tell whether a process is proved gone; False where nothing can be proved from here.

    Proof is another boot of this host, or no process with that pid and start
    time. In another container of this boot a pid means another process.
    """
    host, boot, pid, start = _parts(owner)
    if host != processes.host() or not boot or not pid.isdigit():
        return False
    return restarted_since(owner) or (boot == _boot() and _start(int(pid)) != start)


def is_alive(owner: str) -> bool:
    """Tell whether a process is proved to be there: on this host, asleep perhaps."""
    host, boot, pid, start = _parts(owner)
    here = host == processes.host() and boot == _boot() and pid.isdigit()
    return here and _start(int(pid)) == start


def restarted_since(owner: str) -> bool:
    """Tell whether a process belongs to another boot of this host, or of a namesake of it."""
    host, boot, *_ = _parts(owner)
    return host == processes.host() and bool(boot) and _kernel(boot) != _kernel(_boot())


def host_of(owner: str) -> str:
    """Return the host of an owner."""
    return _parts(owner)[0]


def in_words(owner: str) -> str:
    """Return an owner as a person reads it: process and host, and what would wake it."""
    host, _, pid, _ = _parts(owner)
    if not pid:
        return owner
    asleep = is_alive(owner) and processes.is_stopped(int(pid))
    return f"process {pid} on {host}" + (
        f" (asleep: `kill -CONT {pid}` wakes it)" if asleep else ""
    )


def _parts(owner: str) -> tuple[str, str, str, str]:
    host, boot, pid, start, *_ = [*owner.split("/"), "", "", "", ""]
    return host, boot, pid, start


def _start(pid: int) -> str | None:
    start = processes.start_time(pid)
    return None if start is None else f"{start:.2f}"


def _boot() -> str:
    """Return what names this boot and this pid namespace, without the slash between them."""
    return processes.boot_id().replace("/", ":")


def _kernel(boot: str) -> str:
    return boot.partition(":")[0]
