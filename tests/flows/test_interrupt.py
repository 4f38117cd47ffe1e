"""Signals as wishes: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from leadline.flows.interrupt import Interrupts

CHILD = """
import signal, sys, time
from leadline.flows.interrupt import Interrupts

def say(words):
    print(words, flush=True)

with Interrupts(say, lambda: say("cancelled")) as stop:
    say("ready")
    while not (stop.now if "deaf" not in sys.argv else False):
        time.sleep(0.01)
        if stop.requested and "patient" in sys.argv:
            break
say(f"requested {stop.requested}, now {stop.now}")
say(f"restored {signal.getsignal(signal.SIGINT) is signal.default_int_handler}")
"""


SERVED = """
import time
from pathlib import Path
from prefect import flow
from leadline.flows.interrupt import Interrupts

HERE = Path(__file__).parent

@flow
def patient():
    with Interrupts(lambda words: None):
        (HERE / "ready").touch()
        try:
            time.sleep(120)
        except BaseException as error:
            (HERE / "said").write_text(type(error).__name__)
            raise

if __name__ == "__main__":
    patient.serve("served", print_starting_message=False)
"""

CANCEL = """
import json, subprocess, sys, time
from pathlib import Path
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling
from leadline.flows.prefect_server import prefect_server

here = Path(sys.argv[1])

def until(answer):
    deadline = time.monotonic() + 90
    while not answer() and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer()

def deployed():
    try:
        return client.read_deployment_by_name("patient/served")
    except ObjectNotFound:
        return None

with prefect_server(), get_client(sync_client=True) as client:
    runner = subprocess.Popen([sys.executable, "served.py"], cwd=here)
    try:
        run = run_deployment(until(deployed).id, timeout=0)
        until((here / "ready").exists)
        client.set_flow_run_state(run.id, Cancelling())
        until(lambda: client.read_flow_run(run.id).state.is_final())
        print(json.dumps(client.read_flow_run(run.id).state.name))
    finally:
        runner.terminate()
        runner.wait()
"""


@pytest.fixture
def child() -> Callable[..., subprocess.Popen[str]]:
    def start(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"DO_NOT_TRACK": "1"},
        )
        assert _line(process.stdout) == "ready"
        return process

    return start


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_asks_to_finish_what_runs(
    child: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = child("patient")
    process.send_signal(number)
    words, errors = process.communicate(timeout=120)
    assert words.splitlines() == [
        "finishing what runs; Ctrl-C again stops at once",
        "requested True, now False",
        "restored True",
    ]
    assert (process.returncode, errors) == (0, "")


def test_a_second_signal_stops_at_once(child: Callable[..., subprocess.Popen[str]]) -> None:
    process = child()
    process.send_signal(signal.SIGINT)
    assert _line(process.stdout).startswith("finishing")
    process.send_signal(signal.SIGTERM)
    words, _ = process.communicate(timeout=120)
    assert words.splitlines() == [
        "stopping at once",
        "cancelled",
        "requested True, now True",
        "restored True",
    ]


def test_a_loop_that_listens_to_nothing_is_left_by_a_third_signal(
    child: Callable[..., subprocess.Popen[str]],
) -> None:
    process = child("deaf")
    for answer in ("finishing", "stopping"):
        process.send_signal(signal.SIGINT)
        assert _line(process.stdout).startswith(answer)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0


def test_a_callback_that_takes_the_lock_of_the_main_thread_does_not_hang() -> None:
    lock, heard = threading.Lock(), threading.Event()

    def say(_: str) -> None:
        with lock:
            heard.set()

    with Interrupts(say) as stop:
        with lock:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.requested
        assert heard.wait(60)


def test_what_was_heard_is_told_before_the_context_ends() -> None:
    told: list[str] = []
    with Interrupts(told.append):
        os.kill(os.getpid(), signal.SIGTERM)
    assert told == ["finishing what runs; Ctrl-C again stops at once"]


def test_handlers_are_restored_after_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError), Interrupts(print):
        raise RuntimeError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_no_handler_is_touched() -> None:
    seen: list[object] = []

    def enter() -> None:
        with Interrupts(print) as stop:
            seen.extend([signal.getsignal(signal.SIGINT), stop.requested])

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before, False]


@pytest.mark.slow
def test_a_cancelled_run_of_a_deployment_is_prefects_own_affair(
    run_script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "served.py").write_text(SERVED)
    words, errors = run_script(CANCEL, str(tmp_path)).communicate(timeout=200)
    assert json.loads(words.splitlines()[-1]) == "Cancelled", errors
    assert (tmp_path / "said").read_text() == "TerminationSignal"
