"""From a proposal to a record, by a dispatcher that answers as a test tells it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from pymatgen.core import Lattice, Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks import calculate
from leadline.tasks.calculate import Desk, last_failure
from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute import attempt, attempt_files
from leadline.tasks.compute.attempt_files import Running, attempt_folder, write_result
from leadline.tasks.compute.dispatcher import Dispatcher
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.engine import EngineSettings, EngineSite
from leadline.tasks.errors import ConfigurationError, StoreError
from leadline.tasks.recipes.static import Static
from leadline.tasks.recording import calculation_of, structure_record
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import Store, open_store
from leadline.tasks.structures import structure_id, to_plain

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0.0, 0.0, 0.0]])
Answer = Callable[[Request], Result]


class CarefulSettings(EngineSettings):
    care: int = 0


class Careful(EmtEngine):
    """Has two remedies for what does not converge."""

    path_keys: ClassVar[frozenset[str]] = frozenset({"care"})
    Settings: ClassVar[type[CarefulSettings]] = CarefulSettings  # type: ignore[assignment]
    settings: CarefulSettings  # type: ignore[assignment]

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        return {"care": attempt} if attempt < 3 else None


class Told:
    """A dispatcher that gives one answer after the other, and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []

    @contextmanager
    def run(
        self, request: Request, cancelled: Callable[[], bool], needed: float
    ) -> Iterator[Result]:
        self.asked.append(request)
        yield self.answers.pop(0)(request)

    @contextmanager
    def resume(
        self, calculation: str, folder: Path, attempt: int, cancelled: Callable[[], bool]
    ) -> Iterator[None]:
        """Give nothing, as a dispatcher whose tasks end with their driver."""
        yield None

    def proves_gone(self, running: Running) -> bool:
        return False  # no batch system is there to be asked


def good(request: Request) -> Result:
    return Result(
        request.calculation,
        request.attempt,
        converged=True,
        energy=-0.03,
        structure=request.structure,
        times={"start": 1.0, "end": 2.0, "wall": 1.0},
    )


def fails(kind: FailureKind, reason: str = "bad") -> Answer:
    def answer(request: Request) -> Result:
        failure = Failure(kind, reason, "the engine's own words")
        return Result(request.calculation, request.attempt, converged=False, failure=failure)

    return answer


def answer_of(calculation: str) -> Result:
    return Result(calculation, 1, converged=True, energy=-0.03, times={"end": 1.0})


physics, lost = fails(FailureKind.PHYSICS), fails(FailureKind.REMOTE, "worker-lost")


def never() -> bool:
    return False


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Callable[..., Desk]:
    def make(*answers: Answer, **changes: Any) -> Desk:
        return Desk(
            store=store,
            dispatcher=cast(Dispatcher, Told(*answers)),
            engine=Careful({}, EngineSite()),
            recipe=Static({}),
            root=tmp_path / "calculations",
            owner=this_process(),
            campaign="test",
            **changes,
        )

    return make


@pytest.fixture
def queued(store: Store) -> str:
    candidate = Candidate(structure_id(COPPER), COPPER, {"source": "test"})
    engine, recipe = Careful({}, EngineSite()), Static({})
    wanted = calculation_of(candidate.id, engine, recipe, engine.fingerprint(), "test")
    store.put_structures([structure_record(candidate)])
    store.ensure_calculations([wanted])
    return wanted.id


def asked_of(desk: Desk) -> list[Request]:
    return cast(Told, desk.dispatcher).asked


def states(record: Calculation) -> list[str]:
    return [each.state for each in record.attempts]


def earlier_attempt(
    desk: Desk,
    calculation: str,
    owner: str,
    where: Mapping[str, Any] | None = None,
    **process: Any,
) -> Request:
    """Claim as an earlier driver did, and take a turn as its worker did."""
    desk.store.claim(calculation, owner, reason="first attempt", where=where)
    request = Request(
        calculation=calculation,
        attempt=1,
        structure_id=structure_id(COPPER),
        structure=to_plain(COPPER),
        engine={"name": "emt", "settings": {}},
        recipe={"name": "static", "settings": {}},
        site={},
        folder=str(desk.folder(calculation)),
    )
    attempt_files.take_turn(request, replace(Running.here(request), **process))
    attempt_folder(Path(request.folder), 1).mkdir(parents=True)
    return request


def dead() -> str:
    """Return an owner that is proved gone: of this host's earlier boot."""
    host, _, *rest = this_process().split("/")
    return "/".join([host, "another-boot", *rest])


def test_an_answer_is_recorded_and_asked_for_once(desk: Callable[..., Desk], queued: str) -> None:
    ours = desk(good)
    outcome = ours.carry(queued, never)
    assert (outcome.state, outcome.failure, outcome.waiting) == (CalculationState.DONE, None, "")
    assert outcome.calculation.energy == -0.03
    again = desk()
    assert again.carry(queued, never).calculation == outcome.calculation
    (request,) = asked_of(ours)
    assert (request.attempt, request.gone, request.structure) == (1, (), to_plain(COPPER))
    assert Path(request.folder).is_dir()


def test_what_was_never_queued_is_an_error(desk: Callable[..., Desk]) -> None:
    with pytest.raises(StoreError, match="must be queued first"):
        desk().carry("0" * 64, never)


def test_a_lost_worker_is_run_again_as_it_was(desk: Callable[..., Desk], queued: str) -> None:
    ours = desk(lost, lost, good)
    assert ours.carry(queued, never).state is CalculationState.DONE
    assert [request.attempt for request in asked_of(ours)] == [1, 2, 3]
    assert {str(request.engine["changes"]) for request in asked_of(ours)} == {"{}"}


def test_losses_in_a_row_wait_for_a_person(desk: Callable[..., Desk], queued: str) -> None:
    outcome = desk(lost, lost, lost, cuts=3).carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert states(outcome.calculation) == ["cut"] * 3
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.REMOTE


def test_losses_count_only_in_a_row(desk: Callable[..., Desk], queued: str) -> None:
    outcome = desk(lost, physics, lost, good, cuts=2).carry(queued, never)
    assert outcome.state is CalculationState.DONE


def test_physics_climbs_the_remedies_then_is_set_aside(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(physics, physics, physics)
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert [request.engine["changes"] for request in asked_of(ours)] == [
        {},
        {"care": 1},
        {"care": 2},
    ]
    assert [each.changes for each in outcome.calculation.attempts][1:] == [
        {"care": 1},
        {"care": 2},
    ]
    failure = last_failure(outcome.calculation)
    assert failure is not None
    assert failure.message == "the engine's own words"


def test_a_remedy_is_kept_when_the_worker_is_lost_after_it(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(physics, lost, good)
    ours.carry(queued, never)
    assert asked_of(ours)[2].engine["changes"] == {"care": 1}


def test_a_relaxation_that_ran_out_of_steps_goes_on_once_whatever_the_engine(
    desk: Callable[..., Desk], queued: str
) -> None:
    unfinished = fails(FailureKind.PHYSICS, "not-relaxed")
    ours = desk(unfinished, unfinished)
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert [request.engine["changes"] for request in asked_of(ours)] == [{}, {}]
    assert outcome.calculation.attempts[1].reason == "continued, after not-relaxed"


def test_going_on_takes_no_remedy_from_the_engine(desk: Callable[..., Desk], queued: str) -> None:
    ours = desk(fails(FailureKind.PHYSICS, "not-relaxed"), physics, physics, good)
    assert ours.carry(queued, never).state is CalculationState.DONE
    changes = [request.engine["changes"] for request in asked_of(ours)]
    assert changes == [{}, {}, {"care": 1}, {"care": 2}]


def test_where_an_attempt_went_on_is_on_record(desk: Callable[..., Desk], queued: str) -> None:
    begun = {"attempt": 1, "step": 7}

    def gone_on(request: Request) -> Result:
        return replace(good(request), continued_from=begun)

    attempts = desk(lost, gone_on).carry(queued, never).calculation.attempts
    assert [each.continued_from for each in attempts] == [None, begun]


def test_no_convergence_without_a_failure_is_physics(
    desk: Callable[..., Desk], queued: str
) -> None:
    def unconverged(request: Request) -> Result:
        return replace(good(request), converged=False)

    outcome = desk(unconverged, good).carry(queued, never)
    assert states(outcome.calculation) == ["failed", "done"]


def test_configuration_stops_the_campaign_in_the_engines_words(
    desk: Callable[..., Desk], queued: str, store: Store
) -> None:
    with pytest.raises(ConfigurationError, match="bad: the engine's own words"):
        desk(fails(FailureKind.CONFIGURATION)).carry(queued, never)
    record = store.calculation(queued)
    assert record is not None
    assert record.state is CalculationState.FAILED
    assert desk(good).carry(queued, never).state is CalculationState.DONE


def test_what_was_cancelled_counts_against_nothing(desk: Callable[..., Desk], queued: str) -> None:
    stopped = fails(FailureKind.CANCELLED, "stopped")
    outcome = desk(stopped).carry(queued, lambda: True)
    assert outcome.state is CalculationState.CANCELLED
    outcome = desk(lost, good, cuts=2).carry(queued, never)
    assert outcome.state is CalculationState.DONE


def test_a_result_that_an_earlier_driver_left_is_taken_in(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk()
    request = earlier_attempt(ours, queued, dead())
    write_result(good(request), attempt_folder(Path(request.folder), 1))
    outcome = ours.carry(queued, never)
    assert (outcome.state, outcome.calculation.energy) == (CalculationState.DONE, -0.03)
    assert asked_of(ours) == []


def test_a_failure_that_an_earlier_driver_left_is_taken_in(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(good)
    request = earlier_attempt(ours, queued, dead(), pid=2**22 + 1)
    write_result(physics(request), attempt_folder(Path(request.folder), 1))
    outcome = ours.carry(queued, never)
    assert states(outcome.calculation) == ["failed", "done"]
    assert asked_of(ours)[0].gone == (1,)


def test_an_attempt_whose_driver_and_engine_are_gone_is_run_again(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(good)
    earlier_attempt(ours, queued, dead(), pid=2**22 + 1)
    outcome = ours.carry(queued, never)
    assert states(outcome.calculation) == ["cut", "done"]
    assert outcome.calculation.attempts[0].failure is not None
    assert outcome.calculation.attempts[0].failure["reason"] == "driver-lost"
    assert asked_of(ours)[0].gone == (1,)


def test_a_claim_that_never_started_is_run_again(desk: Callable[..., Desk], queued: str) -> None:
    ours = desk(good)
    ours.store.claim(queued, dead())
    assert states(ours.carry(queued, never).calculation) == ["cut", "done"]
    assert (attempt_folder(ours.folder(queued), 1) / "stop").exists()


def test_a_claim_of_a_driver_that_may_live_waits(
    desk: Callable[..., Desk], queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calculate, "STALL_SECONDS", 0.6)
    ours = desk()
    ours.store.claim(queued, "elsewhere/boot/7/1.00/token")
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.CLAIMED
    words = "attempt 1 was claimed by process 7 on elsewhere and has not started"
    assert outcome.waiting == words


def test_what_another_driver_computes_is_waited_for_and_shared(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk()
    other = "elsewhere/boot/7/1.00/token"
    claimed = ours.store.claim(queued, other)
    assert claimed is not None
    answers = threading.Timer(1.0, lambda: ours.store.finish(queued, 1, answer_of(queued)))
    answers.start()
    outcome = ours.carry(queued, never)
    answers.join()
    assert (outcome.state, outcome.calculation.energy) == (CalculationState.DONE, -0.03)
    assert asked_of(ours) == []


def test_whoever_records_an_answer_first_is_heard_by_the_other(
    desk: Callable[..., Desk], queued: str
) -> None:
    def late(request: Request) -> Result:
        ours.store.finish(queued, request.attempt, replace(good(request), energy=-0.05))
        return good(request)

    ours = desk(late)
    outcome = ours.carry(queued, never)
    assert (outcome.state, outcome.calculation.energy) == (CalculationState.DONE, -0.05)
    assert len(outcome.calculation.attempts) == 1


def test_an_attempt_on_another_host_without_proof_waits(
    desk: Callable[..., Desk], queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "STALL_SECONDS", 0.5)
    ours = desk()
    earlier_attempt(ours, queued, dead(), host="elsewhere")
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.CLAIMED
    assert "on elsewhere: not signed off" in outcome.waiting
    assert asked_of(ours) == []


def test_a_calculation_that_another_campaign_finished_needs_no_engine(
    desk: Callable[..., Desk], queued: str
) -> None:
    desk(good).carry(queued, never)
    other = desk()
    assert other.carry(queued, never).state is CalculationState.DONE
    assert asked_of(other) == []


def test_attempts_that_never_start_are_no_cuts_and_end_for_this_run(
    desk: Callable[..., Desk], queued: str
) -> None:
    refused, idle = (fails(FailureKind.REMOTE, why) for why in ("start-refused", "not-started"))
    outcome = desk(idle, refused, idle).carry(queued, never)
    assert states(outcome.calculation) == ["cut", "cut", "cut"]
    assert outcome.state is CalculationState.CUT
    assert "3 attempts in a row came to nothing before an engine started" in outcome.waiting
    assert "the engine's own words" in outcome.waiting
    outcome = desk(idle, lost, idle, lost, good).carry(queued, never)
    assert outcome.state is CalculationState.DONE
    assert len(outcome.calculation.attempts) == 8


def test_engines_that_are_lost_count_though_some_attempts_never_started(
    desk: Callable[..., Desk], queued: str
) -> None:
    idle = fails(FailureKind.REMOTE, "not-started")
    outcome = desk(lost, idle, lost, idle, lost).carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert len(outcome.calculation.attempts) == 5


def test_an_engine_that_works_on_elsewhere_is_left_to_finish(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk()
    request = earlier_attempt(ours, queued, dead(), host="elsewhere")
    folder = attempt_folder(Path(request.folder), 1)
    (folder / "heartbeat").write_text("1")

    def work() -> None:
        (folder / "heartbeat").write_text("2")
        time.sleep(1.0)
        write_result(good(request), folder)
        attempt_files.sign_off(Path(request.folder), 1, "its guardian saw everything end")

    engine = threading.Timer(0.5, work)
    engine.start()
    outcome = ours.carry(queued, never)
    engine.join()
    assert (outcome.state, states(outcome.calculation)) == (CalculationState.DONE, ["done"])
    assert asked_of(ours) == []


def test_an_engine_that_works_on_is_ended_when_the_run_is_stopped_at_once(
    desk: Callable[..., Desk], queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadline.tasks.compute.dispatcher.STOP_SECONDS", 0.5)
    ours = desk()
    request = earlier_attempt(ours, queued, dead())
    outcome = ours.carry(queued, lambda: True)
    assert outcome.state is CalculationState.CLAIMED
    assert (attempt_folder(Path(request.folder), 1) / "stop").exists()


def test_a_driver_with_another_folder_waits_for_what_runs_in_the_first(
    desk: Callable[..., Desk], queued: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "STALL_SECONDS", 0.5)
    first = desk()
    where = {"folder": str(first.folder(queued))}
    earlier_attempt(first, queued, dead(), where, host="elsewhere")
    second = replace(desk(good), root=tmp_path / "another", watch=first.watch)
    assert "on elsewhere" in second.carry(queued, never).waiting
    assert asked_of(second) == []


def test_a_driver_with_another_folder_takes_the_answer_of_the_first(
    desk: Callable[..., Desk], queued: str, tmp_path: Path
) -> None:
    first = desk()
    where = {"folder": str(first.folder(queued))}
    request = earlier_attempt(first, queued, dead(), where, start=1.0)
    lost = Failure(FailureKind.REMOTE, "worker-lost", "it was lost")
    first.store.fail(queued, 1, lost, CalculationState.CUT)
    write_result(good(request), attempt_folder(Path(request.folder), 1))
    second = replace(desk(), root=tmp_path / "another")
    assert states(second.carry(queued, never).calculation) == ["cut", "done"]
