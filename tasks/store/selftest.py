"""Proof, on connect, that a server answers as MongoDB does.

Stand-ins for MongoDB give wrong answers without an error: a date that was set
becomes text, a search by array finds nothing, two claims both win. Each probe
here is one such answer, in a scratch collection that is dropped at the end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError, PyMongoError

from leadline.tasks.errors import StoreServerError
from leadline.tasks.store.server_errors import is_away, is_denied

_DATE = datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
_FLOATS = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -1e-7, 2.0**53 + 2]

Probe = Callable[[Any], bool]


def check_server(database: Any, kind: str) -> None:
    """Put every probe to a server.

    Raises
    ------
    StoreServerError
        If an answer is wrong, naming the probes that failed.
    PyMongoError
        If the server is away, or allows this user nothing.
    """
    scratch = database[f"selftest_{secrets.token_hex(4)}"]
    wrong = [name for name, probe in _PROBES.items() if not _holds(probe, scratch)]
    scratch.drop()
    if wrong:
        raise StoreServerError(
            f"{kind} does not answer as MongoDB does: {', '.join(wrong)}; "
            "records would be lost or mixed. Use MongoDB, or the embedded store"
        )


def _holds(probe: Probe, scratch: Any) -> bool:
    scratch.delete_many({})
    try:
        return probe(scratch)
    except PyMongoError as error:
        if is_away(error) or is_denied(error):
            raise  # says nothing of how it answers
        return False
    except (LookupError, TypeError):  # what was inserted is not there
        return False


def _takes_writes(c: Any) -> bool:
    return c.database.command("hello").get("isWritablePrimary") is True


def _date_inserted(c: Any) -> bool:
    c.insert_one({"_id": "a", "d": _DATE})
    return bool(c.find_one({"_id": "a"})["d"] == _DATE)


def _date_set(c: Any) -> bool:
    c.insert_one({"_id": "a", "d": None})
    c.update_one({"_id": "a"}, {"$set": {"d": _DATE}})
    return bool(c.find_one({"_id": "a"})["d"] == _DATE)


def _date_range(c: Any) -> bool:
    c.insert_one({"_id": "a", "d": _DATE})
    near = timedelta(milliseconds=1)
    return c.find_one({"d": {"$gt": _DATE - near, "$lt": _DATE + near}}) is not None


def _id_unique(c: Any) -> bool:
    c.insert_one({"_id": "a"})
    try:
        c.insert_one({"_id": "a"})
    except DuplicateKeyError:
        return bool(c.count_documents({}) == 1)
    return False


def _id_is_text(c: Any) -> bool:
    c.insert_one({"_id": "1"})
    return c.find_one({"_id": 1}) is None


def _compare_and_set(c: Any) -> bool:
    c.insert_one({"_id": "a", "s": "queued", "n": 0})
    change = {"$set": {"s": "claimed", "n": 1}}
    first = c.update_one({"_id": "a", "s": "queued", "n": 0}, change).matched_count
    second = c.update_one({"_id": "a", "s": "queued", "n": 0}, change).matched_count
    return (first, second) == (1, 0) and c.find_one({"_id": "a"})["s"] == "claimed"


def _find_and_modify(c: Any) -> bool:
    c.insert_one({"_id": "a", "s": "queued"})
    old = c.find_one_and_update({"s": "queued"}, {"$set": {"s": "claimed"}})
    return old["s"] == "queued" and c.find_one({"s": "queued"}) is None


def _floats_exact(c: Any) -> bool:
    c.insert_one({"_id": "a", "f": _FLOATS})
    c.update_one({"_id": "a"}, {"$set": {"g": _FLOATS[0]}})
    found = c.find_one({"_id": "a"})
    return bool(found["f"] == _FLOATS and found["g"] == _FLOATS[0])


def _nested_set(c: Any) -> bool:
    value = [{"n": 1, "at": _DATE, "text": '{"a.b": 1}'}, {"n": 2, "at": None, "text": ""}]
    c.insert_one({"_id": "a", "v": []})
    c.update_one({"_id": "a"}, {"$set": {"v": value}})
    return bool(c.find_one({"_id": "a"})["v"] == value)


def _true_is_kept(c: Any) -> bool:
    c.insert_one({"_id": "a"})
    c.update_one({"_id": "a"}, {"$set": {"b": True}})
    return c.find_one({"_id": "a"})["b"] is True


def _in_list(c: Any) -> bool:
    c.insert_many([{"_id": name} for name in "abc"])
    return {each["_id"] for each in c.find({"_id": {"$in": ["a", "c", "x"]}})} == {"a", "c"}


def _id_range(c: Any) -> bool:
    c.insert_many([{"_id": key} for key in ("c:0:1", "c:1:0", "c:1:1", "c:2:0", "cc:1:0")])
    found = c.find({"_id": {"$gt": "c:1:", "$lt": "c:1;"}}).sort("_id", 1)
    return [each["_id"] for each in found] == ["c:1:0", "c:1:1"]


def _sorted(c: Any) -> bool:
    c.insert_many([{"_id": str(n), "n": n} for n in (3, 1, 2)])
    return [each["n"] for each in c.find({}).sort("n", -1)] == [3, 2, 1]


def _counted(c: Any) -> bool:
    c.insert_many([{"_id": str(n), "s": "ab"[n % 2]} for n in range(5)])
    return bool(c.count_documents({"s": "a"}) == 3)


def _deleted(c: Any) -> bool:
    c.insert_one({"_id": "a"})
    first, second = (c.delete_one({"_id": "a"}).deleted_count for _ in range(2))
    return (first, second) == (1, 0) and c.count_documents({}) == 0


_PROBES: dict[str, Probe] = {
    "hello is answered, and says that it takes writes": _takes_writes,
    "a date inserted comes back to the millisecond": _date_inserted,
    "a date set comes back as a date": _date_set,
    "a range of dates finds": _date_range,
    "a second insert of an id is refused": _id_unique,
    "an id of digits stays text": _id_is_text,
    "compare-and-set lets one win": _compare_and_set,
    "find-and-modify lets one win": _find_and_modify,
    "floats come back bit by bit": _floats_exact,
    "a list of documents can be set": _nested_set,
    "true stays true": _true_is_kept,
    "a list of ids finds": _in_list,
    "a range of ids finds": _id_range,
    "sorting sorts": _sorted,
    "counting counts": _counted,
    "a delete deletes once": _deleted,
}
