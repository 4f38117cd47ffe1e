"""The laws of a store, on the embedded one and on servers."""

from __future__ import annotations

import itertools
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.errors import ConflictError, LeaseError, StoreError, StoreServerError
from leadline.tasks.store import base, events
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import (
    ArtefactRef,
    Calculation,
    CalculationState,
    Campaign,
    CampaignState,
    Message,
    Proposal,
    ProposalState,
    Round,
    StructureRecord,
    SurrogateRecord,
)
from leadline.tasks.store.store import Store, open_store

State = CalculationState
SERVER = "LEADLINE_TEST_MONGODB_URI"
AWKWARD = {"a.b": {"$set": 1}, "": None, "ångström": [1, [2.5, {"x.y": "z"}]]}


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


def structure(id: str, **fields: Any) -> StructureRecord:
    plain = {"lattice": [[4.0, 0.0, 0.0]], "species": ["Cu"], "coords": [[0.0, 0.0, 0.0]]}
    record = StructureRecord(id, plain, "Cu", "Cu", 1, "Fm-3m", {"source": "files", **AWKWARD})
    return replace(record, **fields)


def calculation(id: str, **fields: Any) -> Calculation:
    record = Calculation(id, "s1", {"name": "emt"}, {"name": "relax"}, "f1", campaign="cu-au")
    return replace(record, **fields)


def result(id: str, attempt: int = 1, **fields: Any) -> Result:
    given = Result(
        id,
        attempt,
        True,
        energy=-3.72,
        structure={"lattice": [[1.0]]},
        forces=[[0.0, 0.1, -1e-9]],
        stress=[0.1] * 6,
        properties={"volume": 11.8},
        steps=3,
        times={"wall": 2.5},
        versions={"ase": "3.26"},
        where={"host": "node1", "pid": 12},
    )
    return replace(given, **fields)


WORKER_LOST = Failure(FailureKind.REMOTE, "worker-lost", "the worker went away")


def proposal(round: int, rank: int) -> Proposal:
    return Proposal("cu-au", round, rank, f"s{rank}", {"mean": -0.1, "words": "ö", **AWKWARD})


def kinds(store: Store) -> list[str]:
    return [event.kind for event in store.events("cu-au")]


def test_a_campaign_comes_back_as_it_was_stored(store: Store) -> None:
    made = store.create_campaign(Campaign("cu-au", {"objective": AWKWARD}, packages={"a.b": "1"}))
    assert store.campaign("cu-au") == made
    assert made.server == store.kind
    assert made.created is not None
    assert datetime.now(UTC) - made.created < timedelta(minutes=1)
    assert store.campaign("cu-ag") is None


def test_a_second_campaign_of_a_name_is_refused(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {"n": 1}))
    with pytest.raises(ConflictError, match="there is a campaign cu-au"):
        store.create_campaign(Campaign("cu-au", {"n": 2}))
    assert [each.spec for each in store.campaigns()] == [{"n": 1}]


@pytest.mark.parametrize("name", ["", "Cu", "a/b", "a:b", "-a", "a" * 64, "a\n"])
def test_a_name_that_no_campaign_can_have_is_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="is no name for a campaign"):
        store.create_campaign(Campaign(name, {}))


def test_a_changed_spec_keeps_the_earlier_ones(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {"batch": 5}))
    store.new_spec_version("cu-au", {"batch": 8}, "a larger batch")
    changed = store.new_spec_version("cu-au", {"batch": 9}, "larger still")
    assert store.campaign("cu-au") == changed
    assert changed.spec == {"batch": 9}
    assert [(each["version"], each["spec"]) for each in changed.versions] == [
        (1, {"batch": 5}),
        (2, {"batch": 8}),
    ]


def test_the_state_of_a_campaign_is_kept_with_its_reason(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    store.set_campaign_state("cu-au", CampaignState.STOPPED, "40 calculations were made")
    found = store.campaign("cu-au")
    assert found is not None
    assert (found.state, found.reason) == (CampaignState.STOPPED, "40 calculations were made")
    assert kinds(store) == ["campaign.created", "campaign.stopped"]
    with pytest.raises(StoreError, match=r"no campaign ag-au .*there: cu-au"):
        store.set_campaign_state("ag-au", CampaignState.STOPPED, "")


def test_two_drivers_never_hold_one_campaign(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    mine, other = this_process(), this_process()
    store.take_lease("cu-au", mine)
    store.take_lease("cu-au", mine)
    with pytest.raises(LeaseError, match=rf"process {os.getpid()} on .* last beat at 20\d\d"):
        store.take_lease("cu-au", other)
    assert store.beat("cu-au", mine)
    assert not store.beat("cu-au", other)
    store.release_lease("cu-au", other)
    assert store.beat("cu-au", mine)
    store.release_lease("cu-au", mine)
    store.take_lease("cu-au", other)
    assert not store.beat("cu-au", mine)


def test_the_lease_of_a_process_that_is_gone_is_free(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    host, boot, pid, start, token = this_process().split("/")
    for dead in (
        f"{host}/{boot}/{pid}/{float(start) - 9:.2f}/{token}",
        f"{host}/{boot}/{max(psutil.pids()) + 1_000_000}/{start}/{token}",
    ):
        store.take_lease("cu-au", dead)
        store.take_lease("cu-au", this_process())
        found = store.campaign("cu-au")
        assert found is not None
        assert found.owner != dead
        store.release_lease("cu-au", str(found.owner))


def test_a_silent_holder_on_another_host_is_watched_and_then_replaced(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    store.take_lease("cu-au", "elsewhere/boot/1/2.00/x")
    with pytest.raises(LeaseError, match="process 1 on elsewhere"):
        store.take_lease("cu-au", this_process(), stale_after_s=60)
    threading.Event().wait(0.25)
    store.take_lease("cu-au", this_process(), stale_after_s=0.2)


def test_a_holder_whose_clock_is_behind_but_who_beats_keeps_its_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    behind = "elsewhere/boot/1/2.00/x"
    campaigns = store._documents.campaigns
    store.take_lease("cu-au", behind)
    ended = threading.Event()

    def beat() -> None:
        late = base.now() - timedelta(hours=1)
        while not ended.wait(0.02):
            late += timedelta(milliseconds=20)
            store._set(campaigns, {"pk": "cu-au", "owner": behind}, {"heartbeat": late})

    thread = threading.Thread(target=beat)
    thread.start()
    threading.Event().wait(0.1)
    with pytest.raises(LeaseError, match="elsewhere"):
        store.take_lease("cu-au", this_process(), stale_after_s=1)
    ended.set()
    thread.join()


def test_a_structure_is_stored_once_and_found_by_what_it_is(store: Store) -> None:
    one, two = structure("a1"), structure("a2", formula="Cu3Au", chemical_system="Au-Cu", sites=4)
    assert store.put_structures([one, two, one]) == 2
    assert store.put_structures([replace(one, formula="changed")]) == 0
    assert store.structure("a1") == one
    assert store.structures(["a2", "a1", "a3"]) == {"a1": one, "a2": two}
    assert store.structures_of(chemical_system="Au-Cu") == [two]
    assert store.structures_of(formula="Cu", sites=1) == [one]
    assert store.structures_of(formula="Cu", sites=2) == []
    assert store.structure("a3") is None


def test_structures_are_related(store: Store) -> None:
    store.put_structures([structure("a1")])
    store.relate("a1", same_as="a0")
    store.relate("a1", relaxed_to="a9", left_prototype="strained by 0.2")
    expected = structure("a1", same_as="a0", relaxed_to="a9", left_prototype="strained by 0.2")
    assert store.structure("a1") == expected
    with pytest.raises(StoreError, match="no structure a2"):
        store.relate("a2", same_as="a1")


def commit(store: Store, number: int = 1, picks: int = 3) -> Round:
    made = Round("cu-au", number, {"pool": 100}, {"rmse": None, "crps": 0.25}, ({"id": "s1"},))
    ranks = range(picks)
    model = SurrogateRecord("cu-au", number, {"noise": 1e-6}, "d", 10, {"rmse": 0.1}, ("jitter",))
    return store.commit_round(
        made, [proposal(number, k) for k in ranks], [structure(f"s{k}") for k in ranks], model
    )


def test_a_round_comes_back_with_all_that_belongs_to_it(store: Store) -> None:
    made = [commit(store, number, picks=12) for number in (0, 1, 2, 10)]
    assert store.rounds("cu-au") == made
    assert store.round("cu-au", 10) == made[3]
    assert store.proposals("cu-au", 10) == [proposal(10, rank) for rank in range(12)]
    assert [(each.round, each.rank) for each in store.proposals("cu-au")] == [
        (number, rank) for number in (0, 1, 2, 10) for rank in range(12)
    ]
    assert len(store.structures_of()) == 12
    model = store.surrogate("cu-au", 2)
    assert model is not None
    assert (model.training_size, model.notes) == (10, ("jitter",))
    assert store.surrogate("cu-au", 3) is None
    assert store.rounds("cu") == []
    assert store.proposals("cu") == []


def test_a_round_is_committed_once(store: Store) -> None:
    commit(store)
    with pytest.raises(ConflictError, match="round 1 of campaign cu-au is committed already"):
        commit(store, picks=5)
    assert len(store.proposals("cu-au")) == 3


def test_a_round_that_was_not_committed_left_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = store._insert

    def die_at_the_round(document: Any, record: Any, **more: Any) -> None:
        if isinstance(record, Round):
            raise KeyboardInterrupt
        insert(document, record, **more)

    monkeypatch.setattr(store, "_insert", die_at_the_round)
    with pytest.raises(KeyboardInterrupt):
        commit(store, picks=5)
    monkeypatch.undo()
    assert store.rounds("cu-au") == []
    assert store.proposals("cu-au") == store.proposals("cu-au", 1) == []
    commit(store, picks=2)
    assert [each.rank for each in store.proposals("cu-au")] == [0, 1]


def test_fields_of_a_round_are_updated(store: Store) -> None:
    commit(store)
    ref = ArtefactRef("0" * 64, 3, "application/x-npz")
    store.update_round("cu-au", 1, state="assessed", hull=({"id": "s2", "x": (0.5,)},), verdict={})
    store.update_round("cu-au", 1, predictions=ref, ledger={"wall": 2.5})
    found = store.round("cu-au", 1)
    assert found is not None
    assert (found.state, found.verdict, found.ledger) == ("assessed", {}, {"wall": 2.5})
    assert (found.predictions, found.counts) == (ref, {"pool": 100})
    assert kinds(store) == ["round.committed", "round.assessed"]
    with pytest.raises(StoreError, match="no field colour"):
        store.update_round("cu-au", 1, colour="red")
    with pytest.raises(StoreError, match="no round 7"):
        store.update_round("cu-au", 7, state="assessed")


def test_a_proposal_moves_forward_alone(store: Store) -> None:
    commit(store)
    store.set_proposal("cu-au", 1, 0, ProposalState.APPROVED, verdict={"by": "ada"})
    store.set_proposal("cu-au", 1, 0, ProposalState.LINKED, calculation="c1")
    store.set_proposal("cu-au", 1, 0, ProposalState.LINKED, calculation="c1")
    store.set_proposal("cu-au", 1, 1, ProposalState.VETOED, verdict={"by": "ada", "why": "toxic"})
    with pytest.raises(ConflictError, match="is vetoed; only one that is"):
        store.set_proposal("cu-au", 1, 1, ProposalState.LINKED, calculation="c1")
    with pytest.raises(ConflictError, match="is not there"):
        store.set_proposal("cu-au", 1, 9, ProposalState.LINKED)
    first, second, third = store.proposals("cu-au", 1)
    assert (first.state, first.calculation, first.verdict) == ("linked", "c1", {"by": "ada"})
    assert (second.state, second.calculation) == ("vetoed", None)
    assert third == proposal(1, 2)


def test_a_calculation_goes_from_the_queue_to_its_answer(store: Store) -> None:
    [queued] = store.ensure_calculations([calculation("c1")])
    assert queued == calculation("c1")
    attempt = store.claim("c1", "me", {"mixing.beta": 0.3}, "slower mixing")
    assert attempt is not None
    assert (attempt.number, attempt.changes) == (1, {"mixing.beta": 0.3})
    store.start("c1", 1, {"host": "node1"})
    assert [each.id for each in store.by_state(State.RUNNING)] == ["c1"]
    store.finish("c1", 1, result("c1"))
    found = store.calculation("c1")
    assert found is not None
    assert found.state is State.DONE
    assert (found.energy, found.steps, found.stress) == (-3.72, 3, (0.1,) * 6)
    assert found.forces == ((0.0, 0.1, -1e-9),)
    assert found.final_structure == {"lattice": [[1.0]]}
    [last] = found.attempts
    assert (last.state, last.owner, last.reason) == ("done", "me", "slower mixing")
    assert last.where == {"host": "node1", "pid": 12}
    assert last.started is not None
    assert last.ended is not None
    assert last.started <= last.ended
    assert kinds(store) == [
        f"calculation.{state}" for state in ("queued", "claimed", "running", "done")
    ]


def test_a_calculation_that_another_campaign_has_done_is_not_queued_again(store: Store) -> None:
    store.ensure_calculations([calculation("c1")])
    store.claim("c1", "me")
    store.finish("c1", 1, result("c1"))
    asked = [calculation(id, campaign="ag-au") for id in ("c2", "c1", "c2")]
    found = store.ensure_calculations(asked)
    assert [(each.id, each.state) for each in found] == [
        ("c2", State.QUEUED),
        ("c1", State.DONE),
        ("c2", State.QUEUED),
    ]
    assert [each.kind for each in store.events("ag-au")] == ["calculation.queued"]


def test_eight_drivers_claim_one_calculation_once(store: Store) -> None:
    store.ensure_calculations([calculation(f"c{k}") for k in range(10)])
    with ThreadPoolExecutor(8) as pool:
        for k in range(10):
            claims = list(pool.map(lambda n, id=f"c{k}": store.claim(id, f"d{n}"), range(8)))
            [won] = [each for each in claims if each is not None]
            found = store.calculation(f"c{k}")
            assert found is not None
            assert found.attempts == (won,)


def test_a_cut_calculation_runs_again_as_its_next_attempt(store: Store) -> None:
    store.ensure_calculations([calculation("c1")])
    store.claim("c1", "me")
    store.start("c1", 1, {})
    store.fail("c1", 1, WORKER_LOST, State.CUT, times={"wall": 1.5})
    cut = store.calculation("c1")
    assert cut is not None
    assert cut.failure == {
        "kind": "remote",
        "reason": "worker-lost",
        "message": "the worker went away",
    }
    assert cut.attempts[0].times == {"wall": 1.5}
    assert store.claim("c1", "me") is None
    store.requeue("c1")
    second = store.claim("c1", "you", reason="the worker was lost")
    assert second is not None
    assert second.number == 2
    with pytest.raises(ConflictError):
        store.finish("c1", 1, result("c1", 1))
    store.finish("c1", 2, result("c1", 2))
    done = store.calculation("c1")
    assert done is not None
    assert [each.state for each in done.attempts] == ["cut", "done"]
    assert done.failure is None


def test_a_change_from_another_state_is_refused_and_changes_nothing(store: Store) -> None:
    store.ensure_calculations([calculation("c1")])
    with pytest.raises(ConflictError, match=r"c1 is queued .* only where it is claimed or running"):
        store.finish("c1", 1, result("c1"))
    with pytest.raises(ConflictError):
        store.start("c1", 0, {})
    with pytest.raises(ConflictError):
        store.requeue("c1")
    store.claim("c1", "me")
    store.finish("c1", 1, result("c1"))
    before = store.calculation("c1")
    changes: list[Callable[[], None]] = [
        lambda: store.finish("c1", 1, result("c1")),
        lambda: store.start("c1", 1, {}),
        lambda: store.fail("c1", 1, WORKER_LOST, State.CUT),
        lambda: store.requeue("c1"),
        lambda: store.quarantine("c1", "no"),
    ]
    for change in changes:
        with pytest.raises(ConflictError, match="c1 is done"):
            change()
    assert store.calculation("c1") == before
    with pytest.raises(StoreError, match="no calculation c2"):
        store.claim("c2", "me")


def test_only_an_ended_calculation_is_quarantined(store: Store) -> None:
    store.ensure_calculations([calculation("c1")])
    store.claim("c1", "me")
    with pytest.raises(StoreError, match="does not fail as done"):
        store.fail("c1", 1, WORKER_LOST, State.DONE)
    store.fail("c1", 1, WORKER_LOST, State.FAILED)
    store.quarantine("c1", "three cuts in a row")
    assert [each.id for each in store.by_state(State.QUARANTINED, State.FAILED)] == ["c1"]
    assert store.events("cu-au")[-1].details == {"reason": "three cuts in a row"}


def test_what_is_no_answer_is_not_recorded_as_one(store: Store) -> None:
    store.ensure_calculations([calculation("c1")])
    store.claim("c1", "me")
    for bad in (result("c1", converged=False), result("c1", energy=None, properties={})):
        with pytest.raises(StoreError, match="is no answer"):
            store.finish("c1", 1, bad)
    for bad in (
        result("c1", energy=float("nan")),
        result("c1", energy=float("inf")),
        result("c1", forces=[[float("nan")] * 3]),
        result("c1", properties={"gap": float("-inf")}),
    ):
        with pytest.raises(StoreError, match="finite"):
            store.finish("c1", 1, bad)
    found = store.calculation("c1")
    assert found is not None
    assert (found.state, found.energy) == (State.CLAIMED, None)


def test_a_lease_that_a_dead_driver_left_without_its_claim_blocks_nobody(store: Store) -> None:
    store.ensure_calculations([calculation("c1"), calculation("c2")])
    leases = store._documents.leases
    alive = this_process()
    dead = alive.replace(f"/{os.getpid()}/", f"/{max(psutil.pids()) + 1_000_000}/")
    leases(id="c1:1", owner=dead, since=base.now()).save(force_insert=True)
    leases(id="c2:1", owner=alive, since=base.now()).save(force_insert=True)
    assert store.claim("c2", this_process()) is None
    assert store.claim("c1", alive) is not None
    assert store.claim("c2", alive) is not None


def test_results_that_people_have_already_are_imported_by_the_same_way(store: Store) -> None:
    store.ensure_calculations([calculation("c1", source="imported")])
    store.claim("c1", "import")
    store.finish("c1", 1, result("c1"))
    found = store.calculation("c1")
    assert found is not None
    assert (found.source, found.state) == ("imported", State.DONE)
    assert store.calculations_of("s1") == [found]


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


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(energy=st.floats(allow_nan=False, allow_infinity=False))
def test_energies_come_back_bit_by_bit(store: Store, energy: float) -> None:
    id = secrets.token_hex(8)
    store.ensure_calculations([calculation(id)])
    store.claim(id, "me")
    store.finish(id, 1, result(id, energy=energy, forces=[[energy] * 3]))
    found = store.calculation(id)
    assert found is not None
    assert found.energy is not None
    assert found.forces is not None
    assert found.energy.hex() == found.forces[0][0].hex() == energy.hex()


def test_a_server_that_answers_wrongly_is_refused(forgetful_uri: str, tmp_path: Path) -> None:
    with pytest.raises(StoreServerError, match=r"MongoDB 7.0.1 .*a date set comes back as a date"):
        open_store(forgetful_uri, tmp_path)


def test_the_kind_and_place_of_a_server_are_told(wire_uri: str, tmp_path: Path) -> None:
    with open_store(wire_uri, tmp_path) as store:
        assert store.kind == "MongoDB 7.0.1"
        assert store.location == wire_uri
        assert repr(store) == f"<Store MongoDB 7.0.1 in {wire_uri}>"
