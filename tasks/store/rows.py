"""Documents as BSON rows of one SQLite file: all that the embedded store keeps.

Nothing is held in memory beside SQLite's own page cache, so a rolled-back step
leaves no trace, and a reader sees the last commit without following anything.
WAL with ``synchronous=FULL``: a commit that returned survives a killed process.
Damage is told, never read: each row has a checksum, a writer checks the whole file
when it opens it, and commits are counted twice, so that lost ones are missed.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from leadline.tasks.errors import StoreError
from leadline.tasks.store.commits import COUNT, CommitCount

FILE = "store.sqlite"
SCHEMA = 2

Key = str | int | float | None
"""What a row can be looked up by."""

_WAIT = 30.0
_ERRORS = (sqlite3.Error, UnicodeError)
"""What the library raises; of a damaged file it may quote what is no text."""
_TABLES = f"""
PRAGMA journal_mode = WAL;
PRAGMA user_version = {SCHEMA};
CREATE TABLE docs (
    place INTEGER PRIMARY KEY, collection TEXT, id TEXT, body BLOB, UNIQUE (collection, id));
CREATE TABLE keys (
    collection TEXT, id TEXT, field TEXT, value, PRIMARY KEY (collection, id, field)
) WITHOUT ROWID;
CREATE INDEX keys_by_value ON keys (collection, field, value);
CREATE TABLE indexes (collection TEXT PRIMARY KEY, body BLOB);
CREATE TABLE commits (number INTEGER NOT NULL);
INSERT INTO commits VALUES (0);
"""
_CHECKSUM = 4
"""Bytes of CRC-32 before each body: SQLite has no checksums of its own pages."""


class Rows:
    """The SQLite file of an embedded store.

    Parameters
    ----------
    folder
        Where ``store.sqlite`` stands; made with the file if ``write``.
    write
        Whether a missing file may be made, and the whole file is to be checked
        (0.3 s at 50,000 records). Who may write what is decided above.

    Raises
    ------
    StoreError
        If the file is missing, damaged, of another version, lacks commits that
        were made to it, or cannot be opened.
    """

    def __init__(self, folder: Path, *, write: bool) -> None:
        self.path = folder / FILE
        self._lock = threading.RLock()
        self._depth = 0
        if not self.path.exists():
            self._create(write)
        self._check_size()
        self._count = CommitCount(folder)
        counted = self._count.read()  # before the file: another process may commit meanwhile
        self._connection = self._connect(self.path)
        try:
            self._check_whole(write)
            self._check_schema()
            self._check_commits(counted)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def step(self) -> Iterator[None]:
        """Make what is written inside one commit, or nothing at all.

        Steps nest: an inner one that fails is undone alone. One thread at a time.
        """
        with self._lock:
            depth = self._depth
            try:
                self._run("BEGIN IMMEDIATE" if depth == 0 else f"SAVEPOINT s{depth}")
                self._depth = depth + 1
                before = self._connection.total_changes
                yield
                if depth:
                    self._run(f"RELEASE s{depth}")
                else:
                    self._commit(changed=self._connection.total_changes != before)
            except BaseException:
                self._undo(depth)
                raise
            finally:
                self._depth = depth

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Show one state of the file to all reads inside."""
        with self._lock:
            if self._depth:
                yield
                return
            try:
                self._run("BEGIN")
                self._depth = 1
                yield
            finally:
                self._depth = 0
                self._undo(0)

    def get(self, collection: str, key: str) -> bytes | None:
        """Return the row of an id, or None."""
        found = self._bodies("SELECT body FROM docs WHERE collection=? AND id=?", collection, key)
        return found[0] if found else None

    def put(self, collection: str, key: str, body: bytes, keys: Mapping[str, Key]) -> None:
        """Write a row and the values by which it is looked up; None is found by any value."""
        with self.step():
            self._run(
                "INSERT INTO docs (collection, id, body) VALUES (?, ?, ?) "
                "ON CONFLICT (collection, id) DO UPDATE SET body=excluded.body",
                (collection, key, _sealed(body)),
            )
            for field, value in keys.items():
                self._run(
                    "INSERT INTO keys VALUES (?, ?, ?, ?) ON CONFLICT (collection, id, field) "
                    "DO UPDATE SET value=excluded.value WHERE value IS NOT excluded.value",
                    (collection, key, field, value),
                )

    def delete(self, collection: str, key: str) -> None:
        """Remove a row."""
        with self.step():
            self._run("DELETE FROM docs WHERE collection=? AND id=?", (collection, key))
            self._run("DELETE FROM keys WHERE collection=? AND id=?", (collection, key))

    def drop(self, collection: str) -> None:
        """Remove all rows of a collection, and its indexes."""
        with self.step():
            for table in ("docs", "keys", "indexes"):
                self._run(f"DELETE FROM {table} WHERE collection=?", (collection,))

    def scan(self, collection: str) -> list[bytes]:
        """Return all rows in the order of their insertion."""
        return self._bodies("SELECT body FROM docs WHERE collection=? ORDER BY place", collection)

    def between(self, collection: str, low: str, high: str | None) -> list[bytes]:
        """Return the rows with ``low <= id <= high`` in the order of their ids."""
        if high is None:
            sql = "SELECT body FROM docs WHERE collection=? AND id>=? ORDER BY id"
            return self._bodies(sql, collection, low)
        sql = "SELECT body FROM docs WHERE collection=? AND id BETWEEN ? AND ? ORDER BY id"
        return self._bodies(sql, collection, low, high)

    def having(self, collection: str, field: str, value: Key) -> list[bytes]:
        """Return the rows whose key ``field`` is ``value``, and those where it is None."""
        return self._bodies(
            "SELECT body FROM keys JOIN docs USING (collection, id) "
            "WHERE collection=? AND field=? AND (value=? OR value IS NULL) ORDER BY place",
            collection,
            field,
            value,
        )

    def count(self, collection: str) -> int:
        """Return the number of rows of a collection."""
        return int(self._all("SELECT count(*) FROM docs WHERE collection=?", collection)[0])

    def collections(self) -> list[str]:
        """Return the names of collections that hold rows or indexes."""
        return self._all("SELECT collection FROM docs UNION SELECT collection FROM indexes")

    def indexes(self, collection: str) -> bytes | None:
        """Return what was kept about the indexes of a collection."""
        found = self._bodies("SELECT body FROM indexes WHERE collection=?", collection)
        return found[0] if found else None

    def set_indexes(self, collection: str, body: bytes) -> None:
        """Keep what is to be known about the indexes of a collection."""
        self._run("INSERT OR REPLACE INTO indexes VALUES (?, ?)", (collection, _sealed(body)))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
            self._count.close()

    def _create(self, write: bool) -> None:
        if not write:
            raise StoreError(
                f"there is no store in {self.path.parent}: {FILE} is missing; name the folder "
                "of the store, or start a campaign, which makes one"
            )
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            with closing(self._connect(fresh)) as connection:
                connection.executescript(_TABLES)
            fresh.rename(self.path)
        except _ERRORS as error:
            raise self._explained(error) from error
        except OSError as error:
            raise StoreError(
                f"no store can be made in {self.path.parent}: {error}; name a folder on a local "
                "disk that you may write to"
            ) from error

    def _connect(self, path: Path) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'rwc' if path != self.path else 'rw'}",
                uri=True,
                timeout=_WAIT,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA synchronous = FULL")
        except _ERRORS as error:
            raise self._explained(error) from error
        return connection

    def _check_size(self) -> None:
        if self.path.stat().st_size == 0:
            raise StoreError(
                f"{self.path} is damaged: it is empty, and a store never is; {_RESTORE}"
            )

    def _check_whole(self, write: bool) -> None:
        said = self._all("PRAGMA integrity_check(1)") if write else ["ok"]
        if said != ["ok"]:
            found = str(said[0]).splitlines()[-1]
            raise StoreError(f"{self.path} is damaged ({found}); {_RESTORE}")

    def _check_schema(self) -> None:
        found = self._all("PRAGMA user_version")[0]
        if found != SCHEMA:
            raise StoreError(
                f"{self.path} is of version {found}, and this leadline reads version {SCHEMA}; "
                "use the leadline that wrote it, or name another folder"
            )

    def _check_commits(self, counted: int) -> None:
        [found] = self._all("SELECT number FROM commits")
        if found < counted:
            raise StoreError(
                f"{self.path} lacks the last {counted - found} of {counted} commits that were made "
                f"to it: {FILE}-wal was cut or removed, or an older copy was put back. Put the "
                f"newer files back; or remove {self.path.with_name(COUNT)} to go on from the older "
                "state, which takes in again what engines have finished since"
            )

    def _commit(self, *, changed: bool) -> None:
        if changed:
            self._run("UPDATE commits SET number = number + 1")
            [number] = self._all("SELECT number FROM commits")
        self._run("COMMIT")
        if changed:
            self._count.write(number)

    def _undo(self, depth: int) -> None:
        if not self._connection.in_transaction:
            return
        if depth == 0:
            self._run("ROLLBACK")
        else:
            self._run(f"ROLLBACK TO s{depth}")
            self._run(f"RELEASE s{depth}")

    def _run(self, sql: str, values: Sequence[object] = ()) -> None:
        if self._depth and not self._connection.in_transaction:
            # SQLite undoes all of a step when the disk is full: nothing more may follow in it.
            raise StoreError(f"{self.path}: the step was undone by an earlier error; run again")
        try:
            self._connection.execute(sql, values)
        except _ERRORS as error:
            raise self._explained(error) from error

    def _all(self, sql: str, *values: object) -> list[Any]:
        with self._lock:
            try:
                return [row[0] for row in self._connection.execute(sql, values)]
            except _ERRORS as error:
                raise self._explained(error) from error

    def _bodies(self, sql: str, collection: str, *values: object) -> list[bytes]:
        found = [_unsealed(each) for each in self._all(sql, collection, *values)]
        whole = [each for each in found if each is not None]
        if len(whole) < len(found):
            raise StoreError(
                f"{self.path} is damaged: {len(found) - len(whole)} of {len(found)} {collection} "
                f"read do not have their checksum; {_RESTORE}"
            )
        return whole

    def _explained(self, error: Exception) -> StoreError:
        if isinstance(error, UnicodeError):
            return StoreError(f"{self.path} is damaged: its text is none; {_RESTORE}")
        name = getattr(error, "sqlite_errorname", "") or ""
        for start, (found, advice) in _CAUSES.items():
            if name.startswith(start):
                return StoreError(f"{self.path} {found} ({error}); {advice}")
        return StoreError(f"{self.path} cannot be used ({error}); check the disk and the folder")


def _sealed(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CHECKSUM) + body


def _unsealed(sealed: object) -> bytes | None:
    """Return the body of a row, or None where it is not what was written."""
    if not isinstance(sealed, bytes):
        return None
    body = sealed[_CHECKSUM:]
    return body if zlib.crc32(body).to_bytes(_CHECKSUM) == sealed[:_CHECKSUM] else None


_RESTORE = (
    f"put a copy of it back in its place, without the {FILE}-wal and {FILE}-shm that stand "
    f"there, or rescue what is left by `sqlite3 {FILE} .recover`, or name another folder"
)
_FULL = (
    "cannot grow: the disk is full",
    "nothing of this step was kept; free some space and run again",
)
_CAUSES = {
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR_SHMSIZE": _FULL,  # no room for the index of the log, store.sqlite-shm
    "SQLITE_CORRUPT": (
        "is damaged",
        _RESTORE,
    ),
    "SQLITE_NOTADB": (
        "is damaged: it is no SQLite file",
        _RESTORE,
    ),
    "SQLITE_ERROR": ("does not hold the tables of a store", _RESTORE),
    "SQLITE_READONLY": (
        "may not be written to",
        "change its owner or mode, or name another folder",
    ),
    "SQLITE_CANTOPEN": ("cannot be opened", "change the folder's owner or mode, or name another"),
    "SQLITE_BUSY": (
        f"was kept busy by another process for {_WAIT:.0f} s",
        "end what holds it, and run again",
    ),
}
