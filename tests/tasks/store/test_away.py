"""A database that goes away: writes whose answers are lost, waiting, giving up, being refused."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from java_server import JavaServer
from loopback import free_port
from proxy import DENIED, WRITES, Proxy, proxied

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.errors import RecordTooLargeError, StoreAwayError, StoreServerError
from leadline.tasks.store import patience
from leadline.tasks.store.patience import Patience, duration_words
from leadline.tasks.store.records import (
    Calculation,
    CalculationState,
    Campaign,
    CampaignState,
    Proposal,
    ProposalState,
    Round,
    StructureRecord,
    SurrogateRecord,
)
from leadline.tasks.store.store import Store, open_store

SECRET = "s3cr3t"
LONG = 120.0
"""Seconds that a loaded machine never needs for what is waited for."""
LOST = Failure(FailureKind.REMOTE, "worker-lost", "the worker went away")
Open = Callable[..., Store]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE", 0.01)


@pytest.fixture
def open_by(tmp_path: Path) -> Iterator[Open]:
    """Open a store in an empty database, by way of a proxy."""
    opened: list[Store] = []

    def open_(proxy: Proxy, waiting: Patience | None = None) -> Store:
        uri = urlsplit(proxy.uri)._replace(path=f"/t{secrets.token_hex(4)}").geturl()
        opened.append(open_store(uri, tmp_path, self_test=False, patience=waiting))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def structure(id: str) -> StructureRecord:
    return StructureRecord(id, {"species": ["Cu"]}, "Cu", "Cu", 1, "Fm-3m", {"source": "files"})


def calculation(id: str) -> Calculation:
    return Calculation(id, "s0", {"name": "emt"}, {"name": "relax"}, "f1", campaign="cu-au")


def result(id: str, attempt: int) -> Result:
    numbers = {"energy": -3.72, "forces": [[0.0, 0.1, -1e-9]], "stress": [0.1] * 6}
    return Result(id, attempt, True, structure={"a": 1}, steps=3, times={"wall": 1.5}, **numbers)  # type: ignore[arg-type]


def campaign_life(store: Store) -> None:
    """Make each kind of write that a campaign makes."""
    store.create_campaign(Campaign("cu-au", {"n": 1}))
    store.take_lease("cu-au", "me")
    store.new_spec_version("cu-au", {"n": 2}, "more")
    store.set_campaign_state("cu-au", CampaignState.RUNNING, "a run works on it")
    picks = [Proposal("cu-au", 0, rank, f"s{rank}", {"mean": -0.1}) for rank in range(2)]
    model = SurrogateRecord("cu-au", 0, {"noise": 1e-6}, "d", 10, {"rmse": 0.1})
    store.commit_round(Round("cu-au", 0, {"n": 2}), picks, [structure("s0")], model)
    store.ensure_calculations([calculation("c1"), calculation("c2")])
    store.set_proposal("cu-au", 0, 0, ProposalState.LINKED, calculation="c1")
    assert store.claim("c1", "me") is not None
    store.start("c1", 1, {"host": "node1"})
    store.fail("c1", 1, LOST, CalculationState.CUT)
    store.requeue("c1")
    assert store.claim("c1", "me", {"beta": 0.3}, "again") is not None
    store.finish("c1", 2, result("c1", 2))
    assert store.claim("c2", "me") is not None
    store.fail("c2", 1, LOST, CalculationState.FAILED)
    store.quarantine("c2", "lost")
    store.relate("s0", relaxed_to="s9")
    store.send("cu-au", "verdict", {"rank": 1})
    store.take_inbox("cu-au", lambda asked: store.log("cu-au", "applied", asked.kind))
    store.update_round("cu-au", 0, state="assessed", verdict={"stop": True})
    assert store.beat("cu-au", "me")
    store.release_lease("cu-au", "me")


def what_is_kept(store: Store) -> dict[str, object]:
    """Return what is in a store, less times and tokens."""
    [campaign] = store.campaigns()
    found = store.calculations(["c1", "c2"]).values()
    return {
        "campaign": (campaign.spec, len(campaign.versions), campaign.state, campaign.owner),
        "events": [each.kind for each in store.events("cu-au")],
        "calculations": [
            (each.id, each.state, each.energy, each.forces, each.failure) for each in found
        ],
        "attempts": [
            (one.number, one.state, one.owner, one.where, one.changes)
            for each in found
            for one in each.attempts
        ],
        "proposals": store.proposals("cu-au"),
        "rounds": [(each.state, each.verdict) for each in store.rounds("cu-au")],
        "structures": store.structures_of(),
        "surrogate": store.surrogate("cu-au", 0),
        "inbox": inbox(store),
    }


def inbox(store: Store) -> list[str]:
    return [each.kind for each in store._documents.inbox.objects.order_by("pk")]


class Cut:
    """Loses the n-th write that passes, or its answer; counts from 0."""

    def __init__(self, nth: int, when: str) -> None:
        self.nth, self.when = nth, when
        self.seen = 0
        self._lock = threading.Lock()

    def __call__(self, command: str) -> str | None:
        if command not in WRITES:
            return None
        with self._lock:
            self.seen += 1
            return self.when if self.seen == self.nth + 1 else None


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_write_is_lost_or_made_twice_wherever_the_connection_breaks(
    when: str, open_by: Open, java_server: JavaServer
) -> None:
    """Each write in turn: lost on its way, or made and its answer lost."""

    def lived(nth: int) -> tuple[int, dict[str, object]]:
        with proxied(java_server.port) as proxy:
            cut = proxy.cut = Cut(nth, when)
            store = open_by(proxy, Patience(LONG))
            campaign_life(store)
            return cut.seen, what_is_kept(store)

    writes, expected = lived(-1)
    assert writes > 40
    with ThreadPoolExecutor(8) as threads:  # most of it is the driver's pause after a break
        for nth, (seen, kept) in enumerate(threads.map(lived, range(writes))):
            assert seen > nth
            assert kept == expected, f"write {nth} of {writes}, lost {when} it was made"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(6))
def test_no_message_is_lost_or_logged_twice_wherever_its_driver_dies(
    nth: int, when: str, open_by: Open, proxy: Proxy
) -> None:
    """Each message takes two writes: its event, and its end."""
    store = open_by(proxy)
    asked = ["verdict", "setting", "stop"]
    for kind in asked:
        store.send("cu-au", kind, {})
    applied: list[str] = []
    proxy.cut = Cut(nth, when)
    with pytest.raises(StoreAwayError):
        store.take_inbox("cu-au", lambda message: applied.append(message.kind))
    store.take_inbox("cu-au", lambda message: applied.append(message.kind))
    assert [each.kind for each in store.events("cu-au")] == [f"inbox.{each}" for each in asked]
    assert inbox(store) == []
    message, at_its_end = divmod(nth, 2)
    unlogged = when == "before" and not at_its_end
    assert applied == [*asked[:message], *asked[message : message + 1] * unlogged, *asked[message:]]


def test_an_outage_is_told_once_and_counted_from_its_beginning(open_by: Open, proxy: Proxy) -> None:
    said: list[str] = []
    store = open_by(proxy, Patience(LONG, said.append))
    store.create_campaign(Campaign("cu-au", {}))
    proxy.refuse_writes()
    threads = [
        threading.Thread(target=store.log, args=("cu-au", f"kind.{k}", "x")) for k in range(8)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: bool(said))
    proxy.heal()
    for thread in threads:
        thread.join(LONG)
    began, over = said
    assert "takes no writes since 20" in began
    assert "waiting up to 2 minutes" in began
    assert "answers again" in over
    assert len([each for each in store.events("cu-au") if each.kind.startswith("kind.")]) == 8


def test_patience_ends_with_what_to_do(open_by: Open, proxy: Proxy) -> None:
    store = open_by(proxy, Patience(0.3))
    proxy.refuse_writes()
    with pytest.raises(StoreAwayError, match=r"takes no writes since .*waits no longer.* carries"):
        store.log("cu-au", "kind", "x")
    proxy.heal()
    store.log("cu-au", "kind", "x")
    assert [each.kind for each in store.events("cu-au")] == ["kind"]


def test_an_outage_after_one_that_was_given_up_has_its_own_patience(
    open_by: Open, proxy: Proxy
) -> None:
    said: list[str] = []

    def heal(words: str) -> None:
        said.append(words)
        if len(said) > 1:
            proxy.heal()

    store = open_by(proxy, Patience(2.0, heal))
    proxy.refuse_writes()
    with pytest.raises(StoreAwayError):
        store.log("cu-au", "kind", "x")
    proxy.heal()
    store.log("cu-au", "kind", "x")
    proxy.refuse_writes()
    store.log("cu-au", "kind", "x")
    assert len(store.events("cu-au")) == 2


def test_waiting_ends_when_it_is_stopped(open_by: Open, proxy: Proxy) -> None:
    stopped = threading.Event()
    store = open_by(proxy, Patience(LONG, lambda words: stopped.set(), stopped.is_set))
    proxy.refuse_writes()
    with pytest.raises(StoreAwayError, match="this run was stopped"):
        store.log("cu-au", "kind", "x")


def test_a_server_out_of_connections_is_waited_for(open_by: Open, proxy: Proxy) -> None:
    said: list[str] = []
    store = open_by(proxy, Patience(LONG, said.append))
    proxy.full = True
    thread = threading.Thread(target=store.log, args=("cu-au", "kind", "x"))
    thread.start()
    wait_until(lambda: bool(said))
    proxy.heal()
    thread.join(LONG)
    assert "does not answer since" in said[0]
    assert [each.kind for each in store.events("cu-au")] == ["kind"]


def test_a_slow_server_is_only_slow(open_by: Open, proxy: Proxy) -> None:
    said: list[str] = []
    store = open_by(proxy, Patience(LONG, said.append))
    proxy.delay = 0.1
    store.create_campaign(Campaign("cu-au", {}))
    assert [each.name for each in store.campaigns()] == ["cu-au"]
    assert said == []


def test_a_wrong_password_is_said_and_not_shown_or_waited_for(proxy: Proxy, tmp_path: Path) -> None:
    proxy.answers = {"saslStart": DENIED}
    uri = proxy.uri.replace("//", f"//joe:{SECRET}@") + "?authSource=admin"
    said: list[str] = []
    with pytest.raises(StoreServerError, match="does not let this user in") as caught:
        open_store(uri, tmp_path, patience=Patience(LONG, said.append))
    assert said == []
    assert SECRET not in str(caught.value)
    assert "joe" not in str(caught.value)


def test_a_user_who_may_not_write_is_told_so_by_the_self_test(proxy: Proxy, tmp_path: Path) -> None:
    answer = {**DENIED, "code": 13, "codeName": "Unauthorized"}
    proxy.answers = dict.fromkeys(WRITES, answer)
    with pytest.raises(StoreServerError, match=r"\(Unauthorized\).* the role readWrite"):
        open_store(proxy.uri, tmp_path)


def test_a_server_that_goes_away_in_its_self_test_is_not_called_wrong(
    proxy: Proxy, tmp_path: Path
) -> None:
    proxy.refuse_writes()
    with pytest.raises(StoreAwayError, match=r"takes no writes \(.*\); check"):
        open_store(proxy.uri, tmp_path)


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/leadline"
    with pytest.raises(StoreAwayError, match=r"does not answer \(.*Connection refused"):
        open_store(uri, tmp_path)


@pytest.mark.slow
def test_a_server_that_hangs_is_said_to_whoever_looks(
    mortal_server: JavaServer, tmp_path: Path
) -> None:
    mortal_server.pause()
    start = time.monotonic()
    with pytest.raises(StoreAwayError, match="does not answer"):
        open_store(mortal_server.uri, tmp_path, write=False)
    assert time.monotonic() - start < LONG
    mortal_server.resume()


@pytest.mark.slow
def test_a_server_that_hangs_under_an_open_store_is_waited_for(
    mortal_server: JavaServer, tmp_path: Path
) -> None:
    said: list[str] = []
    uri = mortal_server.uri + "?socketTimeoutMS=5000&serverSelectionTimeoutMS=1000"
    with open_store(uri, tmp_path, patience=Patience(LONG, said.append)) as store:
        store.create_campaign(Campaign("cu-au", {}))
        mortal_server.pause()
        thread = threading.Thread(target=store.log, args=("cu-au", "kind", "x"))
        thread.start()
        wait_until(lambda: bool(said))
        mortal_server.resume()
        thread.join(LONG)
        assert [each.kind for each in store.events("cu-au")] == ["campaign.created", "kind"]


def test_a_record_that_outgrows_a_server_is_told_from_one_that_is_away(
    open_by: Open, proxy: Proxy
) -> None:
    said: list[str] = []
    store = open_by(proxy, Patience(LONG, said.append))
    store.create_campaign(Campaign("cu-au", {}))
    with pytest.raises(RecordTooLargeError, match="large things belong among the artefacts"):
        store.new_spec_version("cu-au", {"text": "x" * 17 * 1024 * 1024}, "large")
    assert said == []
    assert [each.spec for each in store.campaigns()] == [{}]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (86400, "24 hours")],
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
