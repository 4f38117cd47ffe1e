from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import psutil
import pytest
from distributed.security import Security

from leadline.tasks.calculation import FailureKind
from leadline.tasks.compute.attempt import State, inspect
from leadline.tasks.compute.attempt_files import is_signed_off
from leadline.tasks.compute.cluster import open_cluster
from leadline.tasks.compute.dispatcher import Dispatcher
from leadline.tasks.compute.profile import LocalCluster, Profile, SchedulerCluster
from leadline.tasks.compute.worker import run_calculation
from leadline.tasks.errors import ComputeError

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking, Observer

DRIVER = """
import json, sys
from leadline.tasks.calculation import Request
from leadline.tasks.compute.cluster import open_cluster
from leadline.tasks.compute.dispatcher import Dispatcher
from leadline.tasks.compute.profile import load_profile
# No `if __name__ == "__main__"`: a script of three lines has none.
with open_cluster(load_profile("local"), workers=1) as cluster:
    for line in sys.stdin:
        request = Request.from_plain(json.loads(line))
        with Dispatcher(cluster.client).run(request, lambda: False) as result:
            print(result.to_json(), flush=True)
"""


def offspring() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_a_cluster_on_this_machine_opens_shows_itself_and_leaves_nothing_behind(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = offspring()
    with open_cluster(Profile(name="here", cluster=LocalCluster(workers=1))) as cluster:
        assert cluster.slots == 1
        assert next(iter(cluster.client.nthreads())).startswith("tls://127.0.0.1")
        assert cluster.dashboard is not None
        with urllib.request.urlopen(cluster.dashboard, timeout=10) as page:
            assert page.status == 200
        assert cluster.notes == ()
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert offspring() <= before
    assert capfd.readouterr() == ("", "")


def test_dask_logs_no_line_for_each_worker_where_others_show_its_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("distributed"), "propagate", True)  # as under Prefect
    caplog.set_level(logging.INFO, "distributed")
    with open_cluster(Profile(name="here", cluster=LocalCluster(workers=1))):
        pass
    assert [each.getMessage() for each in caplog.records if each.levelno < logging.WARNING] == []
    assert logging.getLogger("distributed").level == logging.INFO


def test_what_dask_logs_of_lost_workers_reaches_no_handler_while_a_cluster_is_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("distributed.scheduler")
    logger.addHandler(caplog.handler)
    try:
        with open_cluster(Profile(name="here", cluster=LocalCluster(workers=1))):
            logger.error("a worker died")
            logger.critical("the scheduler dies")
        logger.error("another")
    finally:
        logger.removeHandler(caplog.handler)
    assert {each.message for each in caplog.records} == {"the scheduler dies", "another"}


def test_a_worker_that_cannot_start_is_an_error_and_not_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        pytest.raises(ComputeError, match="0 of 1 workers came up"),
        open_cluster(Profile(name="here"), workers=1),
    ):
        pass


def test_settings_of_dask_in_a_profile_hold_while_its_cluster_is_open() -> None:
    profile = Profile(
        name="here", cluster=LocalCluster(dashboard=None), dask={"distributed.worker.ttl": "7m"}
    )
    with open_cluster(profile, workers=1) as cluster:
        told = cluster.client.run(_ttl)
        assert list(told.values()) == ["7m"]
        assert cluster.dashboard is None


def _ttl() -> object:
    return dask.config.get("distributed.worker.ttl", default=None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_driver_takes_its_workers_and_their_engines_with_it(
    ask: Asking, observe: Observer, number: signal.Signals
) -> None:
    request = ask(seconds=300, grandchild="sleep 300", escape=True)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, text=True)
    assert driver.stdin is not None
    driver.stdin.write(_line(request.to_plain()))
    driver.stdin.flush()
    engine = observe.acting(request, "grandchild.pid")
    workers = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(number)
    driver.wait()
    driver.stdin.close()
    observe.all_over([*workers, *engine], seconds=2.0)
    observe.until(lambda: is_signed_off(Path(request.folder), 1))
    standing = inspect(Path(request.folder))
    assert (standing.state, standing.gone) == (State.GONE, (1,))


def test_ctrl_c_at_a_terminal_reaches_neither_workers_nor_engines(
    ask: Asking, observe: Observer
) -> None:
    request = ask(seconds=1.5)
    driver = subprocess.Popen(
        [sys.executable, "-c", f"import signal; signal.signal(2, lambda *_: None){DRIVER}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert driver.stdin is not None
    driver.stdin.write(_line(request.to_plain()))
    driver.stdin.flush()
    observe.acting(request)
    os.killpg(driver.pid, signal.SIGINT)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert '"converged": true' in out


def _line(plain: object) -> str:
    return json.dumps(plain) + "\n"


@contextmanager
def scheduler(*options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"},
    )
    assert process.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"Scheduler at:\s+(\S+)", said)):
            said += process.stderr.readline()
        yield found[1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@contextmanager
def dask_worker(address: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard"]
    process = subprocess.Popen(
        [*command, "--nthreads", "1", "--host", "127.0.0.1", *options],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def profile_of(address: str, **more: Path) -> Profile:
    cluster = SchedulerCluster.model_validate(
        {"kind": "scheduler", "address": address, "timeout": 20, **more}
    )
    return Profile(name="there", cluster=cluster)


@pytest.mark.slow
def test_a_scheduler_that_already_runs_is_joined_with_certificates(
    ask: Asking, tmp_path: Path
) -> None:
    temporary = Security.temporary()
    ca, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    ca.write_text(temporary.tls_ca_file)
    key.write_text(temporary.tls_client_key)
    files = ("--tls-ca-file", str(ca), "--tls-cert", str(ca), "--tls-key", str(key))
    with scheduler("--protocol", "tls", *files) as address:
        profile = profile_of(address, ca=ca, certificate=ca, key=key)
        with dask_worker(address, *files), open_cluster(profile) as cluster:
            assert cluster.notes == ()
            with Dispatcher(cluster.client).run(ask(), lambda: False) as result:
                assert result.complete


@pytest.mark.slow
def test_an_open_scheduler_is_joined_with_a_warning_and_engines_end_with_its_workers(
    ask: Asking, observe: Observer
) -> None:
    with scheduler() as address:
        with dask_worker(address) as nanny, open_cluster(profile_of(address)) as cluster:
            assert cluster.slots == 1
            assert "use tls://" in cluster.notes[0]
            with Dispatcher(cluster.client).run(ask("first"), lambda: False) as result:
                assert result.complete
            worker = psutil.Process(nanny.pid).children()[-1]
            request = ask("second", seconds=300)
            future = cluster.client.submit(_begin, request.to_plain(), pure=False)
            engine = observe.acting(request)
            for child in psutil.Process(nanny.pid).children():
                child.kill()
            observe.all_over([worker, *engine], seconds=3.0)
            future.release()
        with (
            pytest.raises(ComputeError, match="has no worker after 1 s"),
            open_cluster(_impatient(profile_of(address))),
        ):
            pass


def _begin(plain: dict[str, object]) -> object:
    return run_calculation(plain)


def _impatient(profile: Profile) -> Profile:
    return profile.model_copy(update={"cluster": profile.cluster.model_copy(update={"timeout": 1})})


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_a_remote_failure(ask: Asking, observe: Observer) -> None:
    with scheduler() as address:
        impatient = {"distributed.comm.timeouts.connect": "1s"}
        profile = profile_of(address).model_copy(update={"dask": impatient})
        with dask_worker(address), open_cluster(profile) as cluster:
            alive = [cluster.client.run_on_scheduler(os.getpid)]

            def killed_once_acting() -> bool:
                if alive:
                    observe.acting(ask())
                    os.kill(alive.pop(), signal.SIGKILL)
                return False

            dispatcher = Dispatcher(cluster.client)
            with dispatcher.run(ask(seconds=300), killed_once_acting) as result:
                assert result.failure is not None
                assert result.failure.kind is FailureKind.REMOTE
                assert result.failure.reason == "worker-lost"


@pytest.mark.slow
def test_a_run_that_ends_while_its_scheduler_is_looked_for_says_no_word_of_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with scheduler() as address, dask_worker(address):
        with caplog.at_level("INFO"), open_cluster(profile_of(address)) as cluster:
            os.kill(cluster.client.run_on_scheduler(os.getpid), signal.SIGKILL)
            until = time.monotonic() + 60
            while cluster.client.status != "connecting" and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(1)  # into the pause between two attempts
        assert "CancelledError" not in caplog.text


def test_a_scheduler_that_does_not_answer_is_an_error_within_its_time() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        started = time.monotonic()
        with (
            pytest.raises(ComputeError, match=f"no Dask scheduler answers at {address}"),
            open_cluster(_impatient(profile_of(address))),
        ):
            pass
        assert time.monotonic() - started < 10


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    profile = profile_of(
        "tls://127.0.0.1:1", ca=tmp_path / "ca.pem", certificate=tmp_path, key=tmp_path
    )
    with pytest.raises(ComputeError, match=r"cluster\.ca.*ca\.pem"), open_cluster(profile):
        pass
