"""The embedded collections answer as mongomock-ng's own do, only sooner."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mongomock_ng
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymongo.errors import DuplicateKeyError, OperationFailure

from leadline.tasks.errors import StoreError
from leadline.tasks.store.embedded import EmbeddedClient
from leadline.tasks.store.rows import Rows


def client(folder: Path) -> Any:
    rows = Rows(folder, write=True)
    return EmbeddedClient(rows, lambda name: True), rows


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    opened, rows = client(tmp_path)
    yield opened["leadline"]
    rows.close()


ids = st.sampled_from(["a", "a:1", "a:2", "b", "b:1", "1"])
values = st.sampled_from([None, "x", "y", "1", 1, 1.0, 2, -0.5, ["x", "y"], {"x": 1}])
documents = st.fixed_dictionaries({}, optional={"s": values, "t": values})
queries = st.one_of(
    st.fixed_dictionaries({"s": values}),
    st.fixed_dictionaries({}, optional={"_id": ids, "s": values, "t": values}),
    st.fixed_dictionaries({"_id": st.fixed_dictionaries({"$in": st.lists(ids)})}),
    st.fixed_dictionaries(
        {"_id": st.fixed_dictionaries({"$gt": ids}, optional={"$lt": ids, "$lte": ids})}
    ),
    st.fixed_dictionaries({"_id": st.fixed_dictionaries({"$gte": ids}), "s": values}),
    st.fixed_dictionaries({"s": st.fixed_dictionaries({"$in": st.lists(values)})}),
)
changes = st.one_of(
    st.tuples(st.just("insert"), ids, documents),
    st.tuples(st.just("set"), queries, documents.filter(bool)),
    st.tuples(st.just("unset"), queries, st.just({"s": 1})),
    st.tuples(st.just("delete"), queries, st.none()),
)


def change(collection: Any, name: str, first: Any, second: Any) -> Any:
    if name == "insert":
        try:
            return collection.insert_one({"_id": first, **second}).inserted_id
        except DuplicateKeyError:
            return "duplicate"
    if name == "delete":
        return collection.delete_many(first).deleted_count
    return collection.update_many(first, {f"${name}": second}).matched_count


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(changes, max_size=12), asked=st.lists(queries, min_size=3, max_size=6))
@example(steps=[("insert", "a", {"s": ["x", "y"]})], asked=[{"s": "x"}, {"s": ["x", "y"]}])
@example(steps=[("insert", "a", {"s": 1.0})], asked=[{"s": 1}, {"s": "1"}, {"s": None}])
@example(
    steps=[("insert", "a", {"s": "x"}), ("set", {"s": "x"}, {"s": "y"})],
    asked=[{"s": "x"}, {"s": "y"}],
)
def test_look_ups_find_what_looking_at_everything_finds(
    steps: list[tuple[str, Any, Any]], asked: list[dict[str, Any]]
) -> None:
    plain: Any = mongomock_ng.MongoClient()["leadline"]["things"]
    with tempfile.TemporaryDirectory() as folder:
        opened, rows = client(Path(folder))
        ours = opened["leadline"]["things"]
        for collection in (plain, ours):
            collection.create_index("s")
        for step in steps:
            assert change(ours, *step) == change(plain, *step)
        for query in asked:
            expected = sorted(plain.find(query), key=lambda each: str(each["_id"]))
            assert sorted(ours.find(query), key=lambda each: str(each["_id"])) == expected
            assert ours.count_documents(query) == len(expected)
        rows.close()


def test_an_index_made_later_finds_what_was_there_before(database: Any) -> None:
    things = database["things"]
    things.insert_many([{"_id": str(n), "s": n % 3} for n in range(9)])
    things.create_index("s")
    assert [each["_id"] for each in things.find({"s": 1})] == ["1", "4", "7"]


def test_collections_and_indexes_are_there_for_the_next_process(tmp_path: Path) -> None:
    opened, rows = client(tmp_path)
    things = opened["leadline"]["things"]
    things.create_index([("s", 1), ("t", -1)], name="by_s")
    opened["leadline"]["others"].insert_one({"_id": "a"})
    rows.close()
    opened, rows = client(tmp_path)
    database = opened["leadline"]
    assert database.list_collection_names() == ["others", "things"]
    assert database["things"].index_information()["by_s"]["key"] == [("s", 1), ("t", -1)]
    database["things"].drop_index("by_s")
    database["others"].drop()
    rows.close()
    opened, rows = client(tmp_path)
    assert set(opened["leadline"]["things"].index_information()) <= {"_id_"}
    assert opened["leadline"].list_collection_names() == ["things"]
    rows.close()


def test_a_unique_index_is_kept_to(database: Any) -> None:
    things = database["things"]
    things.create_index("s", unique=True)
    things.insert_many([{"_id": "a", "s": 1}, {"_id": "b", "s": 2}])
    with pytest.raises(DuplicateKeyError):
        things.insert_one({"_id": "c", "s": 1})
    with pytest.raises(DuplicateKeyError):
        things.update_one({"_id": "b"}, {"$set": {"s": 1}})
    assert list(things.find()) == [{"_id": "a", "s": 1}, {"_id": "b", "s": 2}]
    things.drop_indexes()
    things.insert_one({"_id": "c", "s": 1})


def test_an_update_that_fails_half_way_changes_nothing(database: Any) -> None:
    things = database["things"]
    things.insert_one({"_id": "a", "n": 1, "s": "text"})
    with pytest.raises((TypeError, OperationFailure)):
        things.update_one({"_id": "a"}, {"$inc": {"n": 1, "s": 1}})
    assert things.find_one("a") == {"_id": "a", "n": 1, "s": "text"}


@pytest.mark.parametrize(
    "ask",
    [
        lambda database: database["things"].rename("others"),
        lambda database: database.client.start_session(),
        lambda database: database["things"].create_index("s", expireAfterSeconds=1),
        lambda database: database["things"]._store.begin_transaction(),
    ],
    ids=["rename", "session", "time to live", "transaction"],
)
def test_what_it_does_not_do_it_refuses(database: Any, ask: Callable[[Any], Any]) -> None:
    database["things"].insert_one({"_id": "a"})
    with pytest.raises(NotImplementedError, match="the embedded store does not do"):
        ask(database)


def test_ids_are_strings(database: Any) -> None:
    for bad in (1, {"a": 1}):
        with pytest.raises(StoreError, match="ids in the store are strings"):
            database["things"].insert_one({"_id": bad})
    with pytest.raises(StoreError, match="ids in the store are strings"):
        database["things"].insert_one({"s": 1})
