"""A dispatcher that answers as a test tells it to, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from pymatgen.core import Lattice, Structure

from leadline.tasks.calculate import Desk
from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute import attempt_files
from leadline.tasks.compute.attempt_files import Running, attempt_folder
from leadline.tasks.compute.right_sizing import Need
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.engine import EngineSettings, PhysicsRemedy
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Calculation
from leadline.tasks.structures import structure_id, to_plain

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0.0, 0.0, 0.0]])
Answer = Callable[[Request], Result]


class CarefulSettings(EngineSettings):
    care: int = 0
    asap_cutoff: bool = False


class Careful(EmtEngine):
    """Has two remedies for what does not converge."""

    path_keys: ClassVar[frozenset[str]] = frozenset({"care"})
    Settings: ClassVar[type[CarefulSettings]] = CarefulSettings  # type: ignore[assignment]
    settings: CarefulSettings  # type: ignore[assignment]

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        return {"care": attempt} if attempt < 3 else None


class Wide(Careful):
    """Names another calculation once its remedies are used up."""

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy:
        return PhysicsRemedy({"asap_cutoff": True}, "it is calmer")


class Told:
    """A dispatcher that gives one answer after the other, and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []
        self.needs: list[Need] = []

    @contextmanager
    def run(self, request: Request, cancelled: Callable[[], bool], need: Need) -> Iterator[Result]:
        self.asked.append(request)
        self.needs.append(need)
        yield self.answers.pop(0)(request)

    @contextmanager
    def resume(
        self, calculation: str, folder: Path, attempt: int, cancelled: Callable[[], bool]
    ) -> Iterator[None]:
        """Give nothing, as a dispatcher whose tasks end with their driver."""
        yield None

    def site_for(self, engine: str, sites: int) -> None:
        """Return None, as a machine that gives all cells the same."""

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
