"""Who uses the Prefect server of this host: a register in ``PREFECT_HOME``, under a lock.

The last run to leave ends the server, and one that a killed run left behind is
joined by the next. Names in the register that belong to the dead count for nothing.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from leadline.flows.loopback_server import USUAL_PORT, Process, Server, is_free
from leadline.tasks.compute.processes import boot_id, host
from leadline.tasks.errors import PrefectServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Origin(StrEnum):
    """How a run came by its server, as the end of what a person is told."""

    STARTED = "started for this run"
    SHARED = "shared with another run"
    LEFT = "left behind by a run that was killed"


@dataclass(frozen=True)
class Register:
    """Who uses which server on this host, since this boot."""

    boot: str
    server: Server | None = None
    users: tuple[Process, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Register:
        """Read a register; what is dead, of another boot or unreadable is left out."""
        empty = cls(boot_id())
        with suppress(OSError, ValueError, TypeError, KeyError):
            plain = json.loads(path.read_text())
            return _living(plain) if plain["boot"] == empty.boot else empty
        return empty

    def write(self, path: Path) -> None:
        """Replace the register in one step, or remove it when it says nothing."""
        if not self.server and not self.users:
            path.unlink(missing_ok=True)
            return
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(path)


class Lobby:
    """The folder where the runs on this host agree on one server.

    Parameters
    ----------
    home
        Prefect's home, which holds the server's database.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "leadline" / host()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / "server.json"
        self._lock = FileLock(self._folder / "lock")
        self.log = self._folder / "server.log"

    @property
    def other_hosts(self) -> list[str]:
        """Hosts that share this home and may have a server on its database."""
        found = self._folder.parent.glob("*/server.json")
        return sorted(path.parent.name for path in found if path != self._path)

    @property
    def has_server(self) -> bool:
        """Whether the server in the register is alive."""
        return Register.read(self._path).server is not None

    def enter(
        self, environment: Mapping[str, str], meanwhile: Callable[[], object]
    ) -> tuple[int, Origin]:
        """Join the server of this host, or start one, and wait until it answers.

        Parameters
        ----------
        environment
            Variables for a server to be started, beside this process's own.
        meanwhile
            Called once while a started server comes up.

        Returns
        -------
        tuple
            The port, and how the server came to be there.
        """
        with self._lock:
            before = Register.read(self._path)
            server = before.server or self._started(environment, before)
            self._enrol(server, before)
            try:
                meanwhile()
                server = self._answering(server, environment, before)
            except BaseException:
                self._leave()
                raise
        if before.server is None:
            return server.port, Origin.STARTED
        return server.port, Origin.SHARED if before.users else Origin.LEFT

    def _answering(
        self, server: Server, environment: Mapping[str, str], before: Register
    ) -> Server:
        """Wait for a server; start another where its port or database was taken just then."""
        try:
            server.wait_until_it_answers(self.log)
        except PrefectServerError:
            if server.process.alive:
                raise
            server = self._started(environment, before, first=0)
            server.wait_until_it_answers(self.log)
        return server

    def _started(
        self, environment: Mapping[str, str], before: Register, first: int = USUAL_PORT
    ) -> Server:
        """Start a server that stands in the register before it is one."""
        return Server.start(environment, self.log, first, lambda it: self._enrol(it, before))

    def _enrol(self, server: Server, before: Register) -> None:
        users = {*before.users, Process.this()}
        replace(before, server=server, users=tuple(users)).write(self._path)

    def revive(self, environment: Mapping[str, str], port: int) -> bool:
        """Start the server of this host again if it died, on its database and its ``port``.

        Nowhere else: all that this process sends goes there. Where the port is not free
        yet, or somebody took it, nothing is started.

        Returns
        -------
        bool
            Whether one was started.

        Raises
        ------
        PrefectServerError
            If it does not come up.
        """
        with self._lock:
            now = Register.read(self._path)
            if now.server is not None or not is_free(port):
                return False
            server = self._started(environment, now, first=port)
            server.wait_until_it_answers(self.log)
            return True

    def leave(self) -> bool:
        """Cross this process out; end the server if nobody is left. Return whether it ended."""
        with self._lock:
            return self._leave()

    def _leave(self) -> bool:
        now = Register.read(self._path)
        users = tuple(user for user in now.users if user != Process.this())
        ends = now.server is not None and not users
        if now.server and ends:
            now.server.end()
        replace(now, server=None if ends else now.server, users=users).write(self._path)
        return ends


def _living(plain: dict[str, Any]) -> Register:
    recorded = plain["server"]
    server = recorded and Server(Process(**recorded["process"]), recorded["port"])
    users = (Process(**user) for user in plain["users"])
    return Register(
        boot=plain["boot"],
        server=server if server and server.process.alive else None,
        users=tuple(user for user in users if user.alive),
    )
