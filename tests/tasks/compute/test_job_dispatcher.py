"""Each calculation a job of a real Slurm: it goes on without its driver, and is taken up again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from queued import NEED, QUICK, Opening, begun, end, on_slurm, why
from slurm_here import Slurm

from leadline.tasks.calculation import FailureKind
from leadline.tasks.compute.attempt import State, inspect
from leadline.tasks.compute.cluster import Cluster
from leadline.tasks.compute.job_dispatcher import DetachedError
from leadline.tasks.compute.right_sizing import Need
from leadline.tasks.errors import ComputeError

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking, Observer

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture
def opening(slurm: Slurm, tmp_path: Path) -> Opening:
    return on_slurm(tmp_path / "calculations", way="jobs")


def taken_up(cluster: Cluster, folder: str) -> object:
    with cluster.dispatcher.resume("one", Path(folder), 1, lambda: False) as result:
        return result and result.energy


def test_each_calculation_is_a_job_of_its_own(
    opening: Opening, slurm: Slurm, ask: Asking, pool: ThreadPoolExecutor
) -> None:
    with opening(jobs=3) as cluster:
        assert cluster.slots == 3
        requests = [ask(f"c{n}", energy=-float(n)) for n in range(3)]
        results = list(pool.map(lambda request: end(cluster, request), requests))
    assert [result.energy for result in results] == [-0.0, -1.0, -2.0]
    assert len({result.where["job"] for result in results}) == 3


def test_a_job_asks_for_what_its_calculation_needs_and_no_more(
    opening: Opening, slurm: Slurm, ask: Asking
) -> None:
    with opening() as cluster:
        result = end(cluster, ask(), Need(walltime=100.0, memory=1e8, predicted={"seconds": 60.0}))
        full = end(cluster, ask("other"))
    job = str(result.where["job"])
    assert (slurm.limit(job), slurm.memory(job)) == ("00:02:00", "286M")
    assert result.asked == {
        "walltime": 120.0,
        "memory": 3e8,
        "most_walltime": 600.0,
        "most_memory": 3e8,
        "predicted_seconds": 60.0,
    }
    assert slurm.limit(str(full.where["job"])) == "00:10:00"
    assert (full.asked["walltime"], full.asked["memory"]) == (600.0, 3e8)


def test_a_cancelled_job_is_the_cause_and_the_next_attempt_runs(
    opening: Opening, slurm: Slurm, ask: Asking, pool: ThreadPoolExecutor, observe: Observer
) -> None:
    with opening() as cluster:
        request = ask(seconds=300, grandchild="sleep 300")
        coming, engine = begun(pool, cluster, request, observe)
        (job,) = slurm.jobs()
        slurm.call("scancel", job)
        result = coming.result(60)
        assert why(result)[0] is FailureKind.REMOTE
        assert why(result)[1] in ("job-cancelled", "killed", "worker-lost")
        observe.all_over(engine, 20)
        assert inspect(Path(request.folder)).state is State.GONE
        assert end(cluster, ask(attempt=2, gone=(1,))).complete


def test_a_job_that_waits_is_cancelled_at_once(
    opening: Opening, slurm: Slurm, ask: Asking, observe: Observer
) -> None:
    with (
        opening(directives=["--hold"]) as cluster,
        cluster.dispatcher.run(ask(), lambda: bool(slurm.jobs())) as result,
    ):
        assert why(result) == (FailureKind.CANCELLED, "stopped")
    observe.until(lambda: not slurm.jobs(), 5)


def test_an_engine_in_a_job_is_stopped_within_seconds(
    opening: Opening, slurm: Slurm, ask: Asking, observe: Observer
) -> None:
    request = ask(seconds=300)
    asked: list[float] = []

    def stop() -> bool:
        if (Path(request.folder) / "attempt-1" / "acting").exists():
            asked.append(time.monotonic())
        return bool(asked)

    with opening() as cluster, cluster.dispatcher.run(request, stop) as result:
        assert why(result) == (FailureKind.CANCELLED, "stopped")
        assert time.monotonic() - asked[0] < 10
    observe.until(lambda: not slurm.jobs(), 10)


def test_a_driver_may_leave_and_the_next_takes_the_answer_in(
    opening: Opening, slurm: Slurm, ask: Asking, observe: Observer
) -> None:
    request = ask(seconds=3, energy=-7.0)
    with opening() as cluster:
        cluster.leave_when(lambda: True)
        with pytest.raises(DetachedError, match="goes on"):
            end(cluster, request)
    assert len(slurm.jobs()) == 1
    with opening() as cluster:
        assert taken_up(cluster, request.folder) == -7.0
        assert taken_up(cluster, ask("other").folder) is None


def test_a_job_outlives_a_killed_driver(
    opening: Opening, slurm: Slurm, ask: Asking, tmp_path: Path, observe: Observer
) -> None:
    request = ask(seconds=5, energy=-7.0)
    script = f"""
from pathlib import Path
from leadline.tasks.calculation import Request
from leadline.tasks.compute.cluster import open_cluster
from leadline.tasks.compute.profile import Profile
cluster = dict(kind="slurm", way="jobs", resources={NEED!r}, **{QUICK!r})
request = Request.from_plain({request.to_plain()!r})
root = Path({str(tmp_path / "calculations")!r})
with open_cluster(Profile(name="queue", cluster=cluster), root=root) as opened:
    with opened.dispatcher.run(request, lambda: False):
        pass
"""
    driver = subprocess.Popen([sys.executable, "-c", script])
    observe.acting(request)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    with opening() as cluster:
        assert taken_up(cluster, request.folder) == -7.0
    starts = [line for line in observe.log(request) if line["event"] == "start"]
    assert len(starts) == 1


def test_an_engine_is_ended_in_time_before_its_own_job_ends(opening: Opening, ask: Asking) -> None:
    with opening(need={**NEED, "walltime": "60 s"}, margin=29.9) as cluster:
        assert why(end(cluster, ask(seconds=300))) == (FailureKind.REMOTE, "walltime")


def test_a_job_that_never_began_is_no_attempt_at_the_engine(opening: Opening, ask: Asking) -> None:
    with opening(prologue=["exit 1"]) as cluster:
        assert why(end(cluster, ask())) == (FailureKind.REMOTE, "not-started")


def test_a_queue_that_refuses_a_job_is_told_in_its_words(opening: Opening, ask: Asking) -> None:
    with (
        opening(queue="nowhere") as cluster,
        pytest.raises(ComputeError, match=r"slurm takes no job.*Invalid partition"),
    ):
        end(cluster, ask())
