"""MongoDB's language over the SQLite file: mongomock-ng with its three stores replaced.

mongomock-ng keeps documents in ordered dictionaries and finds by looking at all
of them. Here the dictionaries are rows of ``rows.py``, and equality and ranges on
``_id``, and equality on an indexed field, look at nothing else. Documents are
decoded afresh for each look, so an update that fails half-way changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import bson
from mongomock_ng.collection import Collection
from mongomock_ng.database import Database
from mongomock_ng.filtering import filter_applies
from mongomock_ng.mongo_client import MongoClient
from mongomock_ng.store import CollectionStore, DatabaseStore, ServerStore
from pymongo.errors import DocumentTooLarge

from leadline.tasks.errors import StoreError
from leadline.tasks.store.rows import Key, Rows

MAX_DOCUMENT = 16 * 1024 * 1024
"""Bytes of BSON that a server takes."""

MayWrite = Callable[[str], bool]
"""Whether a collection, by its name, may be written to."""


class RowCollection(CollectionStore):
    """The documents of a collection, in SQLite."""

    def __init__(self, name: str, rows: Rows, may_write: MayWrite) -> None:
        super().__init__(name)
        self._rows = rows
        self._may_write = may_write
        kept = rows.indexes(name)
        self.indexes = _read_indexes(kept) if kept else {}

    @property
    def is_created(self) -> bool:
        """Whether the collection exists."""
        return bool(self.indexes) or self._is_force_created or not self.is_empty

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing."""
        return len(self) == 0

    @property
    def documents(self) -> Iterator[dict[str, Any]]:
        """All documents in the order of their insertion, decoded afresh."""
        return map(bson.decode, self._rows.scan(self.name))

    def __contains__(self, key: Any) -> bool:
        return self._rows.get(self.name, _text(key)) is not None

    def __getitem__(self, key: Any) -> dict[str, Any]:
        body = self._rows.get(self.name, _text(key))
        if body is None:
            raise KeyError(key)
        return bson.decode(body)

    def __setitem__(self, key: Any, document: Mapping[str, Any]) -> None:
        self._check_writable()
        body = bson.encode(document)
        if len(body) > MAX_DOCUMENT:
            raise DocumentTooLarge(f"{len(body)} bytes of BSON, {MAX_DOCUMENT} are allowed")
        self._rows.put(self.name, _text(key), body, self._keys(document))

    def __delitem__(self, key: Any) -> None:
        self._check_writable()
        self._rows.delete(self.name, _text(key))

    def __len__(self) -> int:
        return self._rows.count(self.name)

    def drop(self) -> None:
        """Remove the collection and its indexes."""
        self._check_writable()
        super().drop()
        self._rows.drop(self.name)

    def create_index(self, index_name: str, index_dict: dict[str, Any]) -> None:
        """Keep an index, and look up by its first field from now on."""
        if index_dict.get("expireAfterSeconds") is not None:
            _refuse("an index with a time to live")
        if self.indexes.get(index_name) == index_dict:
            return
        self._check_writable()
        with self._rows.step():
            super().create_index(index_name, index_dict)
            self._rows.set_indexes(self.name, bson.encode({"indexes": self.indexes}))
            for document in self.documents:
                self[document["_id"]] = document

    def drop_index(self, index_name: str) -> None:
        """Forget an index; what was kept for its look-up is left, and unused."""
        self._check_writable()
        super().drop_index(index_name)
        self._rows.set_indexes(self.name, bson.encode({"indexes": self.indexes}))

    def begin_transaction(self) -> None:
        """Refuse: a step of the store is what groups writes."""
        _refuse("a transaction")

    def matching(self, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Return the documents that a query finds, by the cheapest look-up there is."""
        rows, rest = self._look_up(query)
        return (each for each in map(bson.decode, rows) if filter_applies(rest, each))

    def _look_up(self, query: Mapping[str, Any]) -> tuple[list[bytes], Mapping[str, Any]]:
        """Return the rows that may match, and the query that is left to ask of them."""
        key = query.get("_id")
        if isinstance(key, str) or (isinstance(key, Mapping) and key.keys() == {"$in"}):
            rest = {name: value for name, value in query.items() if name != "_id"}
            return self._those([key] if isinstance(key, str) else dict.fromkeys(key["$in"])), rest
        if isinstance(key, Mapping) and isinstance(low := key.get("$gte", key.get("$gt")), str):
            return self._rows.between(self.name, low, key.get("$lte", key.get("$lt"))), query
        for field in self._fields() & query.keys():
            if _is_key(query[field]):
                return self._rows.having(self.name, field, query[field]), query
        return self._rows.scan(self.name), query

    def _those(self, keys: Iterable[str]) -> list[bytes]:
        found = (self._rows.get(self.name, key) for key in keys)
        return [body for body in found if body is not None]

    def _fields(self) -> set[str]:
        return {index["key"][0][0] for index in self.indexes.values()} - {"_id"}

    def _keys(self, document: Mapping[str, Any]) -> dict[str, Key]:
        return {
            field: document[field] if _is_key(document[field]) else None
            for field in self._fields() & document.keys()
        }

    def _check_writable(self) -> None:
        if not self._may_write(self.name):
            raise StoreError(
                f"the store in {self._rows.path.parent} was opened for reading, and {self.name} "
                "is to be written; open it for writing, or send what is asked to its holder"
            )


class RowDatabase(DatabaseStore):
    """The collections of the one database that the file holds."""

    def __init__(self, rows: Rows, may_write: MayWrite) -> None:
        super().__init__()
        self._rows = rows
        self._may_write = may_write

    def __getitem__(self, name: str) -> RowCollection:
        if name not in self._collections:
            self._collections[name] = RowCollection(name, self._rows, self._may_write)
        found: RowCollection = self._collections[name]
        return found

    def list_created_collection_names(self) -> list[str]:
        """Return the names of the collections that exist in the file."""
        return self._rows.collections()

    @property
    def is_created(self) -> bool:
        """Whether the database exists; it does with the file."""
        return True

    def rename(self, name: str, new_name: str) -> NoReturn:
        """Refuse."""
        _refuse("to rename a collection")


class RowServer(ServerStore):
    """A server with one database, whatever name it is asked by."""

    def __init__(self, rows: Rows, may_write: MayWrite) -> None:
        super().__init__()
        self._database = RowDatabase(rows, may_write)

    def __getitem__(self, name: str) -> RowDatabase:
        self._databases[name] = self._database
        return self._database


class EmbeddedCollection(Collection):
    """A collection that looks up before it filters."""

    def _iter_documents(self, filter: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        found: Iterator[dict[str, Any]] = self._store.matching(filter)
        return found

    def with_options(self, **options: Any) -> EmbeddedCollection:
        """Return itself: read and write concerns have no meaning in process."""
        return self

    def drop_indexes(self, session: Any = None) -> None:
        """Forget all indexes."""
        for name in list(self._store.indexes):
            self._store.drop_index(name)


class EmbeddedDatabase(Database):
    """A database of such collections."""

    def get_collection(self, name: str, **options: Any) -> EmbeddedCollection:
        """Return the collection ``name``."""
        self._ensure_valid_collection_name(name)
        return EmbeddedCollection(self, name, self._store, codec_options=self._codec_options)

    def command(self, command: Any, *values: Any, **options: Any) -> Mapping[str, Any]:
        """Answer ``hello`` as a server that takes writes does, the rest as mongomock-ng does."""
        if command == "hello":
            return {"ok": 1.0, "isWritablePrimary": True}
        answer: Mapping[str, Any] = super().command(command, *values, **options)
        return answer


class EmbeddedClient(MongoClient):
    """A client of the file, as mongoengine takes one."""

    def __init__(self, rows: Rows, may_write: MayWrite, **settings: Any) -> None:
        super().__init__(_store=RowServer(rows, may_write), **settings)

    def get_database(self, name: str | None = None, **options: Any) -> EmbeddedDatabase:
        """Return the database."""
        self._check_closed()
        store = self._store[name]
        return EmbeddedDatabase(self, name, store, codec_options=self._codec_options)

    def start_session(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: sessions are for transactions."""
        _refuse("a session")


def _read_indexes(body: bytes) -> dict[str, Any]:
    kept = bson.decode(body)["indexes"]
    return {
        name: index | {"key": [(field, direction) for field, direction in index["key"]]}
        for name, index in kept.items()
    }


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise StoreError(f"ids in the store are strings; {key!r} is {type(key).__name__}")
    return key


def _is_key(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def _refuse(what: str) -> NoReturn:
    raise NotImplementedError(f"the embedded store does not do {what}; MongoDB does")
