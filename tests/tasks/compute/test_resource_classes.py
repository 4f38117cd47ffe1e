"""A calculation goes to the cluster that its size belongs to, with what that one grants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from queued import NEED, QUICK
from slurm_here import Slurm

from leadline.tasks.calculation import Request, Result
from leadline.tasks.compute.attempt_files import Running
from leadline.tasks.compute.cluster import open_cluster
from leadline.tasks.compute.profile import Profile
from leadline.tasks.compute.resource_classes import ResourceClass, SizedDispatcher
from leadline.tasks.compute.right_sizing import ANY, Need
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.errors import SpecError
from leadline.tasks.settings import validated

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking


class Told:
    """Says what it was asked, and knows the jobs that go on."""

    def __init__(self, *going: str, queue: bool = True) -> None:
        self.asked: list[Request] = []
        self._going, self._queue = going, queue

    @contextmanager
    def run(
        self,
        request: Request,
        cancelled: Callable[[], bool],
        poll: float = 0.2,
        need: Need = ANY,
    ) -> Iterator[Result]:
        self.asked.append(request)
        yield Result(request.calculation, request.attempt, converged=True, energy=0.0)

    @contextmanager
    def resume(
        self, calculation: str, folder: Path, attempt: int, cancelled: Callable[[], bool]
    ) -> Iterator[Result | None]:
        known = calculation in self._going
        yield Result(calculation, attempt, converged=True, energy=1.0) if known else None

    def site_for(self, engine: str, sites: int) -> None:
        """Return None, as a cluster of one class."""

    def proves_gone(self, running: Running) -> bool | None:
        return running.job not in self._going if self._queue else None


def sized(*told: Told) -> SizedDispatcher:
    bounds = zip((0, 4, 8), told, strict=False)
    return SizedDispatcher([ResourceClass(*each, partial(site, each[0])) for each in bounds])


def site(bound: int, engine: str) -> EngineSite:
    return EngineSite(ranks=bound + 1)


@pytest.mark.parametrize(("atoms", "place"), [(1, 0), (4, 0), (5, 1), (8, 1), (9, 2)])
def test_a_cell_goes_to_the_last_class_whose_bound_it_exceeds(
    ask: Asking, atoms: int, place: int
) -> None:
    told = (Told(), Told(), Told())
    request = Request.from_plain(
        {**ask().to_plain(), "structure": {"species": ["Cu"] * atoms, "lattice": [], "coords": []}}
    )
    with sized(*told).run(request, lambda: False) as result:
        assert result.complete
    assert [len(each.asked) for each in told] == [int(n == place) for n in range(3)]
    assert told[place].asked[0].site["ranks"] == (1, 5, 9)[place]


@pytest.mark.parametrize(("atoms", "ranks"), [(4, 1), (5, 5), (9, 9)])
def test_the_cores_of_a_cell_are_those_of_its_class(atoms: int, ranks: int) -> None:
    found = sized(Told(), Told(), Told()).site_for("emt", atoms)
    assert found.ranks == ranks


def test_what_a_class_sent_away_is_taken_up_from_it(ask: Asking) -> None:
    dispatcher = sized(Told(), Told("one"))
    with dispatcher.resume("one", Path(), 1, lambda: False) as result:
        assert result is not None
        assert result.energy == 1.0
    with dispatcher.resume("two", Path(), 1, lambda: False) as result:
        assert result is None


def test_a_job_is_over_once_no_batch_system_knows_it_as_going_on(ask: Asking) -> None:
    running = Running("one", 1, "node", "boot", 1, 1.0, "17", 1.0)
    assert sized(Told(), Told()).proves_gone(running)
    assert not sized(Told(), Told("17")).proves_gone(running)
    assert sized(Told(queue=False), Told()).proves_gone(running)
    assert sized(Told(queue=False)).proves_gone(running) is None


@pytest.mark.slurm
@pytest.mark.slow
def test_small_cells_stay_here_and_large_ones_go_to_the_queue(
    slurm: Slurm, ask: Asking, tmp_path: Path
) -> None:
    queue = {"kind": "slurm", "jobs": 2, "resources": {**NEED, "ranks": 2}, **QUICK}
    given = {
        "name": "two",
        "cluster": {"kind": "local", "workers": 1, "dashboard": None},
        "larger": [{"above": 3, "cluster": queue}],
    }
    profile = validated(Profile, given, "profile")
    large = ask("large")
    fewer = {key: large.structure[key][:3] for key in ("lattice", "species", "coords")}
    small = Request.from_plain({**ask("small").to_plain(), "structure": fewer})
    with open_cluster(profile, root=tmp_path / "calculations") as cluster:
        assert (cluster.slots, cluster.capacity) == (3, 3)
        jobs = []
        for request in (small, large):
            with cluster.dispatcher.run(request, lambda: False) as result:
                assert result.complete, result
                jobs.append(result.where["job"])
    assert jobs[0] is None
    assert jobs[1] is not None


def test_bounds_that_do_not_rise_are_refused() -> None:
    larger = [{"above": bound, "cluster": {"kind": "local"}} for bound in (20, 8)]
    with pytest.raises(SpecError, match=r"larger: found bounds \[20, 8\]"):
        validated(Profile, {"name": "two", "larger": larger}, "profile")
