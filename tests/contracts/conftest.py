"""The stores that laws are tested on, and a server that speaks MongoDB's wire protocol.

With that server on a socket pymongo is really used. What it answers comes from
mongomock-ng in memory. It knows the commands that the store sends, and no other.
"""

from __future__ import annotations

import os
import secrets
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bson
import mongomock_ng
import pytest
from pymongo.errors import DuplicateKeyError
from wire import HEADER, OP_MSG, OP_QUERY, message

from leadline.tasks.store.store import Store, open_store

OP_REPLY = 1
SERVER = "LEADLINE_TEST_MONGODB_URI"


class WireServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.client: Any = mongomock_ng.MongoClient()
        self.lock = threading.Lock()
        self.port = self.server_address[1]

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        with self.lock:
            found = getattr(self, f"do_{name.lower()}")(command)
        return {"ok": 1.0, **(found or {})}

    def collection(self, command: dict[str, Any]) -> Any:
        return self.client[command["$db"]][next(iter(command.values()))]

    def do_hello(self, command: dict[str, Any]) -> dict[str, Any]:
        return {
            "ismaster": True,
            "isWritablePrimary": True,
            "maxBsonObjectSize": 16 * 1024 * 1024,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "minWireVersion": 0,
            "maxWireVersion": 17,
        }

    do_ismaster = do_hello

    def do_buildinfo(self, command: dict[str, Any]) -> dict[str, Any]:
        return {"version": "7.0.1", "versionArray": [7, 0, 1, 0]}

    def do_insert(self, command: dict[str, Any]) -> dict[str, Any]:
        done = 0
        for document in command["documents"]:
            try:
                self.collection(command).insert_one(document)
            except DuplicateKeyError as error:
                return {
                    "n": done,
                    "writeErrors": [{"index": 0, "code": 11000, "errmsg": str(error)}],
                }
            done += 1
        return {"n": done}

    def do_update(self, command: dict[str, Any]) -> dict[str, Any]:
        [one] = command["updates"]
        found = self.collection(command).update_one(one["q"], one["u"])
        return {"n": found.matched_count, "nModified": found.modified_count}

    def do_delete(self, command: dict[str, Any]) -> dict[str, Any]:
        [one] = command["deletes"]
        collection = self.collection(command)
        delete = collection.delete_one if one["limit"] else collection.delete_many
        return {"n": delete(one["q"]).deleted_count}

    def do_find(self, command: dict[str, Any]) -> dict[str, Any]:
        sort = list(command.get("sort", {}).items()) or None
        found = self.collection(command).find(command["filter"], sort=sort)
        documents = list(found)[: abs(command.get("limit", 0)) or None]
        return {"cursor": {"id": bson.Int64(0), "ns": self._name(command), "firstBatch": documents}}

    def do_findandmodify(self, command: dict[str, Any]) -> dict[str, Any]:
        found = self.collection(command).find_one_and_update(command["query"], command["update"])
        return {"value": found}

    def do_aggregate(self, command: dict[str, Any]) -> dict[str, Any]:
        found = list(self.collection(command).aggregate(command["pipeline"]))
        return {"cursor": {"id": bson.Int64(0), "ns": self._name(command), "firstBatch": found}}

    def do_createindexes(self, command: dict[str, Any]) -> None:
        for index in command["indexes"]:
            self.collection(command).create_index(list(index["key"].items()), name=index["name"])

    def do_drop(self, command: dict[str, Any]) -> None:
        self.collection(command).drop()

    def do_dropdatabase(self, command: dict[str, Any]) -> None:
        self.client.drop_database(command["$db"])

    def do_endsessions(self, command: dict[str, Any]) -> None:
        pass

    def _name(self, command: dict[str, Any]) -> str:
        return f"{command['$db']}.{next(iter(command.values()))}"


class Conversation(socketserver.StreamRequestHandler):
    server: WireServer

    def handle(self) -> None:
        while head := self.rfile.read(HEADER.size):
            length, number, _, code = HEADER.unpack(head)
            body = self.rfile.read(length - HEADER.size)
            if code == OP_QUERY:
                reply = self.server.answer(bson.decode(body[body.index(b"\0", 4) + 9 :]))
                self._send(number, OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(reply))
            else:
                reply = self.server.answer(message(body))
                self._send(number, OP_MSG, struct.pack("<iB", 0, 0) + bson.encode(reply))

    def _send(self, number: int, code: int, body: bytes) -> None:
        self.wfile.write(HEADER.pack(HEADER.size + len(body), 0, number, code) + body)


@contextmanager
def serving(kind: type[WireServer]) -> Iterator[WireServer]:
    with kind() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def wire_uri() -> Iterator[str]:
    """URI of a server of its own for one test."""
    with serving(WireServer) as server:
        yield f"mongodb://127.0.0.1:{server.port}/leadline"


class ForgetfulOfDates(WireServer):
    """A server that keeps a date as text when it is set, as one stand-in for MongoDB does."""

    def do_update(self, command: dict[str, Any]) -> dict[str, Any]:
        changes = command["updates"][0]["u"].get("$set", {})
        for name, value in changes.items():
            if hasattr(value, "isoformat"):
                changes[name] = value.isoformat()
        return super().do_update(command)


@pytest.fixture
def forgetful_uri() -> Iterator[str]:
    """URI of a server that does not answer as MongoDB does."""
    with serving(ForgetfulOfDates) as server:
        yield f"mongodb://127.0.0.1:{server.port}/leadline"


@pytest.fixture(params=["embedded", "wire", "java", "mongodb"])
def uri(request: pytest.FixtureRequest) -> str | None:
    """Where the store under test is: None for the embedded one."""
    if request.param == "wire":
        return str(request.getfixturevalue("wire_uri"))
    if request.param == "java":
        return a_database_of(request.getfixturevalue("java_server").uri)
    if request.param == "mongodb":
        if SERVER not in os.environ:
            pytest.skip(f"{SERVER} names no server")
        return a_database_of(os.environ[SERVER])
    return None


def a_database_of(uri: str) -> str:
    name = f"leadline_test_{secrets.token_hex(4)}"
    return urlsplit(uri)._replace(path=f"/{name}").geturl()


@pytest.fixture
def store(uri: str | None, tmp_path: Path) -> Iterator[Store]:
    with open_store(uri, tmp_path) as opened:
        yield opened
        if uri is not None:
            database = opened._connection.database
            database.client.drop_database(database.name)
