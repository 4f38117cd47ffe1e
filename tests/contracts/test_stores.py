"""The laws of a store, on the embedded one and on servers: its log, its inbox, what it keeps."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_records import AWKWARD, calculation, kinds

from leadline.tasks.errors import StoreError, StoreServerError
from leadline.tasks.store import base, events
from leadline.tasks.store.records import CalculationState, Campaign, Message
from leadline.tasks.store.store import Store, open_store

State = CalculationState


def test_events_come_in_their_order_and_after_one_of_them(store: Store) -> None:
    made = [store.log("cu-au", f"kind.{k}", "x", {"k": k, **AWKWARD}) for k in range(30)]
    store.log("cu-au-2", "other", "x")
    assert store.events("cu-au") == made
    assert store.events("cu-au", after=made[19]) == made[20:]
    assert store.events("cu") == []


def test_two_processes_may_log_in_the_same_millisecond(
    uri: str | None, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = base.now()
    monkeypatch.setattr(base, "now", lambda: frozen)
    store.log("cu-au", "one", "x")
    monkeypatch.setattr(store, "_sequence", itertools.count())  # as another process begins
    store.log("cu-au", "two", "x")
    assert kinds(store) == ["one", "two"]


def test_messages_are_applied_once_in_their_order_and_become_events(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = base.now()
    monkeypatch.setattr(events, "now", lambda: frozen)  # one millisecond has an order too
    sent = [store.send("cu-au", "verdict", {"rank": k, **AWKWARD}) for k in range(9)]
    store.send("ag-au", "stop", {})
    taken: list[Message] = []
    for _ in range(2):
        store.take_inbox("cu-au", taken.append)
    assert taken == sent
    assert [(each.kind, each.subject) for each in store.events("cu-au")] == [
        ("inbox.verdict", each.id) for each in sent
    ]
    store.take_inbox("ag-au", taken.append)
    assert taken[-1].kind == "stop"


def test_a_message_that_cannot_be_applied_stays_with_those_after_it(store: Store) -> None:
    for rank in range(3):
        store.send("cu-au", "verdict", {"rank": rank})
    taken: list[int] = []

    def apply(message: Message) -> None:
        taken.append(message.payload["rank"])
        if taken == [0, 1]:
            raise StoreError("no such rank")

    with pytest.raises(StoreError, match="no such rank"):
        store.take_inbox("cu-au", apply)
    assert kinds(store) == ["inbox.verdict"]
    store.take_inbox("cu-au", apply)
    assert taken == [0, 1, 1, 2]
    assert kinds(store) == ["inbox.verdict"] * 3


def test_artefacts_come_back_by_their_reference(store: Store) -> None:
    ref = store.artefacts.put(b"checkpoint", "application/x-npz")
    assert ref == store.artefacts.put(b"checkpoint", "application/x-npz")
    assert (ref.size, store.artefacts.get(ref)) == (10, b"checkpoint")


def test_everything_is_there_for_the_next_process(uri: str | None, tmp_path: Path) -> None:
    with open_store(uri, tmp_path) as store:
        made = store.create_campaign(Campaign("cu-au", AWKWARD))
        store.ensure_calculations([calculation("c1")])
    with open_store(uri, tmp_path, self_test=False) as store:
        assert store.campaign("cu-au") == made
        assert [each.id for each in store.by_state(State.QUEUED)] == ["c1"]
        store.claim("c1", "me")
    with open_store(uri, tmp_path, write=False) as store:
        assert store.by_state(State.QUEUED) == []
        assert [each.id for each in store.by_state(State.CLAIMED)] == ["c1"]


def test_a_record_larger_than_a_server_takes_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match=r"DocumentTooLarge"):
        store.create_campaign(Campaign("cu-au", {"text": "x" * 17 * 1024 * 1024}))
    assert store.campaigns() == []


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(details=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_plain_map_comes_back_unchanged(store: Store, details: dict[str, Any]) -> None:
    made = store.log("cu-au", "any", "x", details)
    assert store.events("cu-au")[-1] == made


def test_a_server_that_answers_wrongly_is_refused(forgetful_uri: str, tmp_path: Path) -> None:
    with pytest.raises(StoreServerError, match=r"MongoDB 7.0.1 .*a date set comes back as a date"):
        open_store(forgetful_uri, tmp_path)


def test_the_kind_and_place_of_a_server_are_told(wire_uri: str, tmp_path: Path) -> None:
    with open_store(wire_uri, tmp_path) as store:
        assert store.kind == "MongoDB 7.0.1"
        assert store.location == wire_uri
        assert repr(store) == f"<Store MongoDB 7.0.1 in {wire_uri}>"
