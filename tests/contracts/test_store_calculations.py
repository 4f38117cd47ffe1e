"""The laws of calculations and their attempts, on every store."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_records import AWKWARD, WORKER_LOST, calculation, kinds, result

from leadline.tasks.errors import ConflictError, StoreError
from leadline.tasks.store import base
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import Store

State = CalculationState


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
    left = replace(result("c1"), times={"wall": 1.5}, used={"memory": 2e9}, asked={"memory": 4e9})
    store.fail("c1", 1, WORKER_LOST, State.CUT, left)
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


def test_what_a_quarantine_named_is_kept_until_another_one_names_more(store: Store) -> None:
    remedy = {"changes": {"a.b": 0.2, **AWKWARD}, "why": "ö", "calculation": "c2"}
    store.ensure_calculations([calculation("c1"), calculation("c2", remedy_of="c1")])
    assert store.events("cu-au")[-1].details == {"remedy_of": "c1"}

    def set_aside(attempt: int, **named: object) -> Calculation:
        store.claim("c1", "me")
        store.fail("c1", attempt, WORKER_LOST, State.FAILED)
        store.quarantine("c1", "physics", **named)  # type: ignore[arg-type]
        found = store.calculation("c1")
        assert found is not None
        return found

    assert set_aside(1).remedy is None
    store.retry("c1", "me", "mended")
    assert set_aside(2, remedy=remedy).remedy == remedy
    store.retry("c1", "me", "mended")
    assert set_aside(3).remedy == remedy
    found = store.calculation("c2")
    assert found is not None
    assert (found.remedy_of, found.remedy) == ("c1", None)


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
