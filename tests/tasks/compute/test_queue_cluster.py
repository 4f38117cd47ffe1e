"""Workers in the jobs of a real Slurm: they come, are lost, run out of time, and are replaced."""

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
from leadline.tasks.compute.right_sizing import Need
from leadline.tasks.errors import ComputeError

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking, Observer

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture
def opening(slurm: Slurm, tmp_path: Path) -> Opening:
    return on_slurm(tmp_path / "calculations", way="workers")


def test_each_calculation_takes_a_job_and_the_jobs_end_with_the_cluster(
    opening: Opening, slurm: Slurm, ask: Asking, pool: ThreadPoolExecutor, observe: Observer
) -> None:
    with opening(jobs=2) as cluster:
        assert cluster.slots == 2
        requests = [ask(f"c{n}", seconds=0.5, energy=-float(n)) for n in range(5)]
        results = list(pool.map(lambda request: end(cluster, request), requests))
        assert [result.energy for result in results] == [-0.0, -1.0, -2.0, -3.0, -4.0]
        assert len({result.where["job"] for result in results}) == 2
    observe.until(lambda: not slurm.jobs())


def test_no_job_is_asked_for_before_there_is_work_and_an_idle_one_is_given_back(
    opening: Opening, slurm: Slurm, ask: Asking, observe: Observer
) -> None:
    with opening(jobs=3, idle=1) as cluster:
        time.sleep(2.5)
        assert not slurm.jobs()
        assert end(cluster, ask()).complete
        observe.until(lambda: not slurm.jobs())
        assert end(cluster, ask("two")).complete


def test_a_cancelled_job_is_the_cause_and_another_takes_its_place(
    opening: Opening, slurm: Slurm, ask: Asking, pool: ThreadPoolExecutor, observe: Observer
) -> None:
    with opening() as cluster:
        coming, engine = begun(pool, cluster, ask(seconds=300, grandchild="sleep 300"), observe)
        (job,) = slurm.jobs()
        slurm.call("scancel", job)
        result = coming.result(60)
        assert why(result) == (FailureKind.REMOTE, "job-cancelled")
        assert result.failure is not None
        assert f"batch job {job}: CANCELLED" in result.failure.message
        observe.all_over(engine, 20)
        again = end(cluster, ask(attempt=2, gone=(1,)))
        assert again.complete
        assert again.where["job"] != job


def test_an_engine_is_ended_in_time_before_its_job_ends(
    opening: Opening, slurm: Slurm, ask: Asking, observe: Observer
) -> None:
    need = {**NEED, "walltime": "60 s"}
    with opening(need=need, margin=29.9) as cluster:
        result = end(cluster, ask(seconds=300))
        assert why(result) == (FailureKind.REMOTE, "walltime")
        assert "that its batch job had left" in result.failure.message  # type: ignore[union-attr]
        # What is left of that job is no time for what took longer than it had.
        again = end(cluster, ask(attempt=2, gone=(1,)), need=Need(seconds=25))
        assert again.complete
        assert again.where["job"] != result.where["job"]


def test_a_walltime_that_slurm_enforces_is_the_cause(
    opening: Opening, slurm: Slurm, ask: Asking, pool: ThreadPoolExecutor, observe: Observer
) -> None:
    with opening() as cluster:
        coming, engine = begun(pool, cluster, ask(seconds=500, grandchild="sleep 500"), observe)
        (job,) = slurm.jobs()
        slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=1")
        result = coming.result(150)
        assert why(result) == (FailureKind.REMOTE, "walltime")
        observe.all_over(engine, 20)


def test_a_node_that_goes_down_is_the_cause(
    opening: Opening, slurm: Slurm, ask: Asking, pool: ThreadPoolExecutor, observe: Observer
) -> None:
    with opening() as cluster:
        coming, engine = begun(pool, cluster, ask(seconds=300), observe)
        slurm.set_node_down()
        try:
            result = coming.result(90)
        finally:
            slurm.set_node_up()
        assert why(result) == (FailureKind.REMOTE, "node-failed")
        observe.all_over(engine, 30)
        assert end(cluster, ask(attempt=2, gone=(1,))).complete


def test_jobs_that_never_work_are_told_with_their_own_words(opening: Opening, ask: Asking) -> None:
    with (
        opening(prologue=["echo no such module >&2", "exit 1"]) as cluster,
        pytest.raises(ComputeError, match=r"ended before their worker came.*no such module"),
    ):
        end(cluster, ask())


def test_a_queue_that_refuses_is_told_in_its_words(opening: Opening, ask: Asking) -> None:
    with (
        opening(queue="nowhere") as cluster,
        pytest.raises(ComputeError, match=r"slurm takes no job.*Invalid partition"),
    ):
        end(cluster, ask())


def test_who_is_stopped_while_it_waits_leaves_no_job(
    opening: Opening, slurm: Slurm, ask: Asking, observe: Observer
) -> None:
    with opening(directives=["--hold"]) as cluster:
        started = time.monotonic()
        stop = lambda: time.monotonic() > started + 3  # noqa: E731
        with cluster.dispatcher.run(ask(), stop) as result:
            assert why(result) == (FailureKind.CANCELLED, "stopped")
        assert list(slurm.jobs().values()) == ["PENDING"]
    observe.until(lambda: not slurm.jobs())


def test_the_jobs_of_a_dead_driver_are_cancelled_by_the_next(
    opening: Opening, slurm: Slurm, ask: Asking, tmp_path: Path, observe: Observer
) -> None:
    script = f"""
import sys
from pathlib import Path
from leadline.tasks.calculation import Request
from leadline.tasks.compute.cluster import open_cluster
from leadline.tasks.compute.profile import Profile
cluster = dict(kind="slurm", directives=["--hold"], resources={NEED!r}, **{QUICK!r})
request = Request.from_plain({ask("left").to_plain()!r})
root = Path({str(tmp_path / "calculations")!r})
with open_cluster(Profile(name="queue", cluster=cluster), root=root) as opened:
    with opened.dispatcher.run(request, lambda: False):
        pass
"""
    driver = subprocess.Popen([sys.executable, "-c", script])
    (job,) = observe.until(slurm.jobs)
    records = tmp_path / "calculations" / "batch-jobs"
    observe.until(lambda: (records / f"job-{job}.json").exists())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert list(slurm.jobs()) == [job]
    with opening() as cluster:
        assert end(cluster, ask()).complete
        assert job not in slurm.jobs()
    assert not list(records.glob("*.json"))
    assert not list(records.glob("tls-*"))


def test_a_workers_job_asks_for_time_for_several_and_for_one_that_needs_more_anew(
    opening: Opening, slurm: Slurm, ask: Asking
) -> None:
    small, large = Need(10.0, walltime=20.0, memory=1e8), Need(300.0, walltime=300.0, memory=1e8)
    with opening() as cluster:
        first = end(cluster, ask("a"), small)
        again = end(cluster, ask("b"), small)
        more = end(cluster, ask("c"), large)
    jobs = [str(each.where["job"]) for each in (first, again, more)]
    assert jobs[0] == jobs[1] != jobs[2]
    assert [slurm.limit(each) for each in jobs[1:]] == ["00:02:00", "00:10:00"]
    assert [each.asked["walltime"] for each in (first, more)] == [120.0, 600.0]
