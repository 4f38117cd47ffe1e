"""A PostgreSQL server of its own on this machine, whose database a Prefect server may use."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopback import free_port

from leadline.flows.loopback_server import HOST

ACCOUNT = "postgres"
"""Of Debian's package: the server refuses to be run by root."""


def programs() -> Path | None:
    """Return the folder of the newest version that Debian's package left here, or None."""
    found = (each.parent for each in Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return max(found, key=lambda each: int(each.parent.name), default=None)


@contextmanager
def postgres_here(programs: Path) -> Iterator[str]:
    """Keep a server on loopback; yield the address of its one database, as Prefect takes it."""
    # Below the tests' own folder, which is root's alone, no other account finds its way.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    by: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, ACCOUNT, ACCOUNT)
        by = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []}
    data, port = folder / "data", free_port()
    try:
        lay_out = ["initdb", "--pgdata", data, "--username", ACCOUNT, "--auth", "trust"]
        _run(programs, [*lay_out, "--no-sync"], by)
        options = f"-c listen_addresses={HOST} -p {port} -c unix_socket_directories="
        control = ["pg_ctl", "--pgdata", data, "--wait", "--silent"]
        _run(programs, [*control, "start", "--log", folder / "log", "--options", options], by)
        try:
            yield f"postgresql+asyncpg://{ACCOUNT}@{HOST}:{port}/postgres"
        finally:
            _run(programs, [*control, "stop", "--mode", "fast"], by)
    finally:
        shutil.rmtree(folder)


def _run(programs: Path, words: list[Any], by: dict[str, Any]) -> None:
    command = [programs / words[0], *words[1:]]
    subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL, **by)
