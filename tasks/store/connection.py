"""How a store is reached: a MongoDB server, or the embedded file."""

from __future__ import annotations

import re
import secrets
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import mongoengine
from bson.errors import BSONError
from mongoengine.connection import get_db
from pymongo.errors import PyMongoError

from leadline.tasks.errors import StoreError, StoreServerError
from leadline.tasks.store.embedded import EmbeddedClient
from leadline.tasks.store.lock import WriterLock
from leadline.tasks.store.rows import Rows

DATABASE = "leadline"
INBOX = "inbox"
_TIMEOUT_MS = 5000
_UNFIT = (mongoengine.errors.ValidationError, BSONError)
"""What a record raises that no database takes; neither is of its library's base class."""
_HOST = r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d+)?"
_ADDRESS = re.compile(rf"{_HOST}(,{_HOST})*(/[\w.-]*)?")


class Connection(Protocol):
    """An open database, and how its changes are grouped."""

    alias: str
    kind: str
    location: str
    write: bool

    @property
    def database(self) -> Any:
        """The database as pymongo gives it."""

    def step(self) -> AbstractContextManager[None]:
        """Group writes: one commit where the database can."""

    def reading(self) -> AbstractContextManager[None]:
        """Group reads: one state of the database where it can show one."""

    def close(self) -> None:
        """Close, and let the next writer in."""


class EmbeddedConnection:
    """The embedded store of a folder; one that reads may append to the inbox alone."""

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

    Raises
    ------
    StoreServerError
        If the URI is none, or the server is away or refuses. No message holds
        the URI: passwords stand in it.
    """

    def __init__(self, uri: str, *, write: bool) -> None:
        self.alias = f"leadline-{secrets.token_hex(8)}"
        self.location = masked(uri)
        self.write = write
        self._connect(uri)
        try:
            found = self.database.client.server_info()
        except Exception as error:  # what is no server of MongoDB's kind may raise anything
            mongoengine.disconnect(self.alias)
            raise StoreServerError(
                f"{self.location} does not answer ({type(error).__name__}); "
                "check that the server runs, the host, the port, the user and the password"
            ) from None
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

    def close(self) -> None:
        """Close the connection."""
        mongoengine.disconnect(self.alias)

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
                    **_waiting(uri),
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


def _waiting(uri: str) -> dict[str, int]:
    named = "serverselectiontimeoutms" in uri.lower()
    return {} if named else {"serverSelectionTimeoutMS": _TIMEOUT_MS}


def _database_of(uri: str) -> str:
    address = uri.partition("://")[2].rpartition("@")[2].partition("?")[0]
    return address.partition("/")[2] or DATABASE


@contextmanager
def explained(location: str) -> Iterator[None]:
    """Turn what a database library raises into errors of leadline; NotUniqueError stays."""
    try:
        yield
    except mongoengine.errors.NotUniqueError:
        raise
    except PyMongoError as error:
        raise StoreServerError(f"{location} refused ({type(error).__name__}): {error}") from error
    except (*_UNFIT, mongoengine.errors.MongoEngineException) as error:
        raise StoreError(
            f"a record cannot be stored in {location} ({type(error).__name__}): {error}; large "
            "things belong among the artefacts"
        ) from error
