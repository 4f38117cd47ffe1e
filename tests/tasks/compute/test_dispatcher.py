from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from leadline.tasks.calculation import FailureKind, Request, Result
from leadline.tasks.compute.attempt import State, inspect
from leadline.tasks.compute.cluster import Cluster, check_shared_folder, open_cluster
from leadline.tasks.compute.dispatcher import Dispatcher
from leadline.tasks.compute.profile import load_profile
from leadline.tasks.compute.queue_settings import Resources
from leadline.tasks.compute.roster import Roster
from leadline.tasks.errors import ComputeError
from tests.tasks.compute.arrivals import join

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking, Observer


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_cluster(load_profile("local"), workers=2) as opened:
        yield opened


@pytest.fixture
def dispatcher(cluster: Cluster, observe: Observer) -> Dispatcher:
    observe.until(lambda: cluster.slots == 2)
    return Dispatcher(cluster.client)


def end(dispatcher: Dispatcher, request: Request) -> Result:
    with dispatcher.run(request, lambda: False) as result:
        return result


class Run(threading.Thread):
    """One calculation in a thread of its own, which a test can cancel."""

    def __init__(self, dispatcher: Dispatcher, request: Request) -> None:
        super().__init__()
        self._dispatcher, self._request = dispatcher, request
        self.cancel = threading.Event()
        self.result: Result | None = None
        self.start()

    def run(self) -> None:
        with self._dispatcher.run(self._request, self.cancel.is_set, poll=0.05) as result:
            self.result = result

    def failure(self) -> tuple[FailureKind, str]:
        self.join(60)
        assert self.result is not None
        assert self.result.failure is not None
        return self.result.failure.kind, self.result.failure.reason


def test_a_calculation_goes_to_a_worker_and_its_result_comes_back(
    dispatcher: Dispatcher, ask: Asking
) -> None:
    result = end(dispatcher, ask(engine="emt"))
    assert result.complete
    assert result.where["pid"] != os.getpid()


def test_many_threads_share_a_dispatcher(
    dispatcher: Dispatcher, cluster: Cluster, ask: Asking, observe: Observer
) -> None:
    requests = [ask(f"c{number}", energy=-float(number)) for number in range(64)]
    with ThreadPoolExecutor(64) as pool:
        results = list(pool.map(lambda request: end(dispatcher, request), requests))
    assert [result.energy for result in results] == [-float(number) for number in range(64)]
    # Nothing is held once each caller has left its block.
    observe.until(lambda: not cluster.client.futures)


def test_the_future_is_held_until_the_caller_has_recorded(
    dispatcher: Dispatcher, cluster: Cluster, ask: Asking, observe: Observer
) -> None:
    with dispatcher.run(ask(), lambda: False):
        assert list(cluster.client.futures) == ["calculation-one-1"]
    observe.until(lambda: not cluster.client.futures)


def test_a_killed_worker_is_a_remote_failure_and_another_comes(
    dispatcher: Dispatcher, cluster: Cluster, ask: Asking, observe: Observer
) -> None:
    run = Run(dispatcher, ask(seconds=300, grandchild="sleep 300"))
    processes = observe.acting(ask(), "grandchild.pid")
    nursery = psutil.Process(psutil.Process(observe.guardian(ask()).pid).ppid())
    os.kill(nursery.ppid(), signal.SIGKILL)
    assert run.failure() == (FailureKind.REMOTE, "worker-lost")
    observe.all_over(processes, seconds=1.0)
    assert inspect(Path(ask().folder)).state is State.GONE
    observe.until(lambda: cluster.slots == 2)
    assert end(dispatcher, ask(attempt=2)).complete


def test_an_answer_that_is_lost_with_its_worker_is_read_from_the_folder(
    ask: Asking, observe: Observer, lose_answers: Callable[[int], None]
) -> None:
    with open_cluster(load_profile("local"), workers=1) as opened:
        observe.until(lambda: opened.slots == 1)
        ((address, pid),) = opened.client.run(os.getpid).items()
        lose_answers(pid)
        roster = Roster(Resources())
        join(roster, address, "1")
        result = end(Dispatcher(opened.client, roster=roster), ask())
    assert result.complete


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_engine_of_a_worker_that_is_paused_is_left_to_finish(
    ask: Asking, observe: Observer
) -> None:
    hasty = {"distributed.scheduler.worker-ttl": "2s"}
    profile = load_profile("local").model_copy(update={"dask": hasty})
    with open_cluster(profile, workers=1) as paused:
        run = Run(Dispatcher(paused.client), ask(seconds=25))
        observe.acting(ask())
        nursery = psutil.Process(psutil.Process(observe.guardian(ask()).pid).ppid())
        worker = psutil.Process(nursery.ppid())
        worker.suspend()
        try:
            observe.until(lambda: paused.slots == 0, seconds=120)
            run.join(120)
        finally:
            worker.resume()
        assert run.result is not None
        assert run.result.complete
        # The guardian says "end" after the result is there.
        observe.until(lambda: [line["event"] for line in observe.log(ask())] == ["start", "end"])
        observe.until(lambda: paused.slots == 1, seconds=120)
        assert end(Dispatcher(paused.client), ask("next")).complete


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_engine_of_a_worker_that_is_lost_ends_when_the_run_is_stopped(
    ask: Asking, observe: Observer
) -> None:
    hasty = {"distributed.scheduler.worker-ttl": "2s"}
    profile = load_profile("local").model_copy(update={"dask": hasty})
    with open_cluster(profile, workers=1) as paused:
        run = Run(Dispatcher(paused.client), ask(seconds=300, grandchild="sleep 300"))
        processes = observe.acting(ask(), "grandchild.pid")
        nursery = psutil.Process(psutil.Process(observe.guardian(ask()).pid).ppid())
        worker = psutil.Process(nursery.ppid())
        worker.suspend()
        try:
            observe.until(lambda: paused.slots == 0, seconds=120)
            run.cancel.set()
            run.join(120)
        finally:
            worker.resume()
        assert run.failure() == (FailureKind.CANCELLED, "stopped")
        assert all(observe.over(process) for process in processes)


def test_a_result_that_was_written_before_its_worker_died_is_found(
    dispatcher: Dispatcher, ask: Asking, observe: Observer
) -> None:
    assert end(dispatcher, ask()).complete
    run = Run(dispatcher, ask(attempt=2, seconds=300))
    run.join(60)
    assert run.result is not None
    assert run.result.attempt == 1


def test_a_cancelled_calculation_ends_its_engine_and_counts_against_nothing(
    dispatcher: Dispatcher, ask: Asking, observe: Observer
) -> None:
    run = Run(dispatcher, ask(seconds=300, grandchild="sleep 300"))
    processes = observe.acting(ask(), "grandchild.pid")
    run.cancel.set()
    assert run.failure() == (FailureKind.CANCELLED, "stopped")
    assert all(observe.over(process) for process in processes)


def test_a_calculation_cancelled_in_the_queue_never_starts(
    dispatcher: Dispatcher, ask: Asking, observe: Observer
) -> None:
    busy = [Run(dispatcher, ask(f"busy-{number}", seconds=1.0)) for number in range(2)]
    for number in range(2):
        observe.acting(ask(f"busy-{number}"))
    waiting = Run(dispatcher, ask("waiting"))
    time.sleep(0.2)
    waiting.cancel.set()
    assert waiting.failure() == (FailureKind.CANCELLED, "stopped")
    for run in busy:
        run.join(60)
        assert run.result is not None
        assert run.result.complete
    assert {line["calculation"] for line in observe.log(ask())} == {"busy-0", "busy-1"}


def test_a_start_that_the_worker_refuses_is_a_remote_failure_that_says_why(
    dispatcher: Dispatcher, ask: Asking, observe: Observer
) -> None:
    run = Run(dispatcher, ask(seconds=300))
    observe.acting(ask())
    refused = end(dispatcher, ask(attempt=2)).failure
    run.cancel.set()
    run.join(60)
    assert refused is not None
    assert (refused.kind, refused.reason) == (FailureKind.REMOTE, "start-refused")
    assert "attempt 1" in refused.message


def test_an_error_of_the_worker_itself_is_a_matter_of_configuration(
    dispatcher: Dispatcher, ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadline.tasks.compute.dispatcher.run_calculation", _broken)
    failure = end(dispatcher, ask()).failure
    assert failure is not None
    assert (failure.kind, failure.reason) == (FailureKind.CONFIGURATION, "worker-error")
    assert "No module named 'absent'" in failure.message


def _broken(request: object) -> None:
    raise ModuleNotFoundError("No module named 'absent'")


def test_driver_and_workers_prove_that_they_share_a_folder(
    cluster: Cluster, tmp_path: Path
) -> None:
    assert check_shared_folder(cluster.client, tmp_path / "new") == 2
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_workers_do_not_see_is_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadline.tasks.compute.worker.exchange_token", _elsewhere)
    with pytest.raises(ComputeError, match="2 of 2 workers cannot share"):
        check_shared_folder(cluster.client, tmp_path)


def _elsewhere(path: str) -> str:
    raise FileNotFoundError(path)


def test_a_folder_under_the_same_path_that_is_another_one_is_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadline.tasks.compute.worker.exchange_token", _reads_alone)
    with pytest.raises(ComputeError, match="does not see what workers write"):
        check_shared_folder(cluster.client, tmp_path)


def _reads_alone(path: str) -> str:
    return Path(path).read_text()


def test_a_folder_that_the_driver_cannot_write_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ComputeError, match="cannot be written"):
        check_shared_folder(cluster.client, tmp_path / "file")
