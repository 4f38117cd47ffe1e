"""How a store is reached: a MongoDB server, or the embedded file."""

from __future__ import annotations

import re
import secrets
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import mongoengine
from mongoengine.connection import get_db

from leadline.tasks.errors import StoreError, StoreServerError
from leadline.tasks.store.embedded import EmbeddedClient
from leadline.tasks.store.lock import WriterLock
from leadline.tasks.store.patience import Patience
from leadline.tasks.store.rows import Rows
from leadline.tasks.store.server_errors import explained

T = TypeVar("T")

DATABASE = "leadline"
INBOX = "inbox"
_LIMITS_MS = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 30_000,
}
"""How long one try waits for a server, unless the URI says otherwise; pymongo's own is for ever."""
_HOST = r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d+)?"
_ADDRESS = re.compile(rf"{_HOST}(,{_HOST})*(/[\w.-]*)?")


class Connection(Protocol):
    """An open database, and how its changes are grouped."""

    alias: str
    kind: str
    location: str
    write: bool
    atomic: ClassVar[bool]
    """Whether all writes of a step are there, or none."""

    @property
    def database(self) -> Any:
        """The database as pymongo gives it."""

    def step(self) -> AbstractContextManager[None]:
        """Group writes: one commit where the database can."""

    def reading(self) -> AbstractContextManager[None]:
        """Group reads: one state of the database where it can show one."""

    def patiently(self, operation: Callable[[bool], T]) -> T:
        """Carry an operation through; it is told whether an earlier try may have been done."""

    def close(self) -> None:
        """Close, and let the next writer in."""


class EmbeddedConnection:
    """The embedded store of a folder; one that reads may append to the inbox alone."""

    atomic: ClassVar[bool] = True

    def __init__(self, folder: Path, *, write: bool) -> None:
        self.alias = f"leadline-{secrets.token_hex(8)}"
        self.kind = f"embedded SQLite {sqlite3.sqlite_version}"
        self.location = str(folder)
        self.write = write
        self._lock = WriterLock(folder) if write else None
        try:
            self._rows = Rows(folder, write=write)
        except BaseException:
            self._release()
            raise
        client = partial(EmbeddedClient, self._rows, lambda name: write or name == INBOX)
        mongoengine.connect(
            DATABASE,
            alias=self.alias,
            mongo_client_class=client,
            tz_aware=True,
            uuidRepresentation="standard",
        )

    @property
    def database(self) -> Any:
        """The database as mongomock-ng gives it."""
        return get_db(self.alias)

    def step(self) -> AbstractContextManager[None]:
        """Return a context whose writes are one commit."""
        return self._rows.step()

    def reading(self) -> AbstractContextManager[None]:
        """Return a context whose reads see one state."""
        return self._rows.reading()

    def patiently(self, operation: Callable[[bool], T]) -> T:
        """Carry an operation out: a file answers at once."""
        return operation(False)

    def close(self) -> None:
        """Close the file and let the next writer in."""
        mongoengine.disconnect(self.alias)
        self._rows.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


class ServerConnection:
    """A MongoDB server; every write waits for the majority and the journal.

    Opening it waits for nothing; what is done with it then waits as ``patience`` says.

    Raises
    ------
    StoreServerError
        If the URI is none, or the server is away or refuses. No message holds
        the URI: passwords stand in it.
    """

    atomic: ClassVar[bool] = False

    def __init__(self, uri: str, *, write: bool, patience: Patience | None = None) -> None:
        self.alias = f"leadline-{secrets.token_hex(8)}"
        self.location = masked(uri)
        self.write = write
        self._patience = patience or Patience()
        self._connect(uri)
        try:
            found = self._server_info()
        except BaseException:
            mongoengine.disconnect(self.alias)
            raise
        product = "FerretDB" if "ferretdb" in found else "MongoDB"
        self.kind = f"{product} {found.get('version', 'of unknown version')}"

    @property
    def database(self) -> Any:
        """The database as pymongo gives it."""
        return get_db(self.alias)

    def step(self) -> AbstractContextManager[None]:
        """Return a context that groups nothing: writes are ordered so that the last one commits."""
        return nullcontext()

    def reading(self) -> AbstractContextManager[None]:
        """Return a context that groups nothing."""
        return nullcontext()

    def patiently(self, operation: Callable[[bool], T]) -> T:
        """Carry an operation through as patience says."""
        return self._patience.through(self.location, operation)

    def close(self) -> None:
        """Close the connection."""
        mongoengine.disconnect(self.alias)

    def _server_info(self) -> Any:
        """Ask the server what it is."""
        try:
            with explained(self.location):
                return self.database.client.server_info()
        except StoreError as error:
            raise error from None  # what caused it may hold the password
        except Exception as error:  # what is no server of MongoDB's kind may raise anything
            raise StoreServerError(
                f"{self.location} does not answer as MongoDB does ({type(error).__name__}); "
                "check the host and the port"
            ) from None

    def _connect(self, uri: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a warning may hold the URI
                mongoengine.connect(
                    _database_of(uri),
                    alias=self.alias,
                    host=uri,
                    tz_aware=True,
                    uuidRepresentation="standard",
                    w="majority",
                    journal=True,
                    **_limits(uri),
                )
        except Exception as error:  # whatever it is, its text may hold the password
            raise StoreServerError(
                f"{self.location} cannot be connected to ({type(error).__name__}); the form is "
                "mongodb://user:password@host:port/database, with : / ? # [ ] @ in user and "
                "password escaped by percent"
            ) from None


def masked(uri: str) -> str:
    """Return a URI without user, password and options."""
    scheme, _, rest = uri.partition("://")
    credentials, _, address = rest.rpartition("@")
    shown = address.partition("?")[0]
    if "?" in credentials or not _ADDRESS.fullmatch(shown):
        return "a MongoDB URI"
    return f"{scheme}://{'***@' if credentials else ''}{shown}"


def _limits(uri: str) -> dict[str, int]:
    return {name: ms for name, ms in _LIMITS_MS.items() if name.lower() not in uri.lower()}


def _database_of(uri: str) -> str:
    address = uri.partition("://")[2].rpartition("@")[2].partition("?")[0]
    return address.partition("/")[2] or DATABASE
