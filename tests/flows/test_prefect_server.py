"""The Prefect server of a run: real servers, real signals, homes of their own."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL

from leadline.flows.loopback_server import HOST, Process, Server, _free_port
from leadline.flows.prefect_server import prefect_server, wait_for_task_runs
from leadline.flows.process_settings import process_settings
from leadline.flows.server_register import Lobby, Origin, Register
from leadline.tasks.compute.processes import boot_id, host, start_time
from leadline.tasks.errors import PrefectServerError

Run = Callable[..., "subprocess.Popen[str]"]
GONE = "http://127.0.0.1:9/api"

VISIT = """
import json, signal, sys
from leadline.flows.prefect_server import prefect_server

signal.signal(signal.SIGINT, signal.SIG_IGN)
with prefect_server() as server:
    said = {"api": server.api, "started": server.started, "words": server.words}
    print(json.dumps(said), flush=True)
    sys.stdin.readline()
"""

CALCULATE = """
import json, sys
from prefect import flow, runtime, task
from prefect.task_runners import ThreadPoolTaskRunner
from leadline.flows.prefect_server import prefect_server, wait_for_task_runs

@task(cache_policy=None)
def one(number):
    return number

@flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
def many(count):
    for future in [one.submit(number) for number in range(count)]:
        future.result()
    return str(runtime.flow_run.id), wait_for_task_runs(runtime.flow_run.id, count)

with prefect_server():
    print(json.dumps(many(int(sys.argv[1]))))
"""

RECOUNT = """
import sys
from leadline.flows.prefect_server import prefect_server, wait_for_task_runs

with prefect_server():
    print(wait_for_task_runs(sys.argv[1], int(sys.argv[2]), timeout=0))
"""


class Visit:
    """A run that uses a server until it is told to leave."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said = json.loads(line)
        self.api, self.started, self.words = said["api"], said["started"], said["words"]

    def leave(self) -> None:
        _, errors = self.process.communicate("\n", timeout=60)
        assert (self.process.returncode, errors) == (0, "")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def visit(run_script: Run) -> Callable[..., Visit]:
    return lambda **variables: Visit(run_script(VISIT, **variables))


def answers(api: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def finish(process: subprocess.Popen[str]) -> str:
    words, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return words


def completed(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        query = "select count(*) from task_run where state_type = 'COMPLETED'"
        return int(database.execute(query).fetchone()[0])


@pytest.mark.slow
def test_every_task_run_is_on_record_after_the_server_has_ended(
    run_script: Run, prefect_home: Path
) -> None:
    proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    words = finish(run_script(CALCULATE, "200", PREFECT_LOGGING_LEVEL="ERROR", **proxy))
    flow_run, missing = json.loads(words)
    assert missing == 0
    assert not list(prefect_home.glob("leadline/*/server.json"))
    assert completed(prefect_home / "prefect.db") == 200
    assert finish(run_script(RECOUNT, flow_run, "200")).strip() == "0"


@pytest.mark.slow
def test_the_last_run_ends_the_server_and_no_ctrl_c_does(visit: Callable[..., Visit]) -> None:
    first = visit()
    os.killpg(first.process.pid, signal.SIGINT)
    second = visit()
    assert (first.started, second.started) == (True, False)
    assert "(started for this run, ends with the last that uses it" in first.words
    assert "(shared with another run, ends" in second.words
    assert second.api == first.api
    first.leave()
    assert answers(second.api)
    second.leave()
    assert not answers(second.api)


@pytest.mark.slow
def test_a_server_that_a_killed_run_left_is_joined_by_the_next_and_ended_by_it(
    visit: Callable[..., Visit],
) -> None:
    first = visit()
    first.kill()
    assert answers(first.api)
    second = visit()
    assert (second.started, second.api) == (False, first.api)
    assert "(left behind by a run that was killed, ends with the last" in second.words
    third = visit()
    assert "(shared with another run, ends" in third.words
    third.leave()
    second.leave()
    assert not answers(first.api)


@pytest.mark.slow
def test_a_server_that_the_environment_names_is_used_and_left_alone(
    visit: Callable[..., Visit],
) -> None:
    owner = visit()
    guest = visit(PREFECT_API_URL=owner.api)
    assert (guest.started, guest.api) == (False, owner.api)
    guest.leave()
    assert answers(owner.api)
    owner.leave()


@pytest.mark.slow
def test_two_hosts_that_share_a_home_do_not_write_one_file(
    run_script: Run, prefect_home: Path
) -> None:
    other = prefect_home / "leadline" / "node7"
    other.mkdir(parents=True)
    (other / "server.json").write_text("{}")
    own = prefect_home / f"leadline-{host()}.db"
    shutil.copy(prefect_home / "prefect.db", own)
    finish(run_script(CALCULATE, "3", PREFECT_LOGGING_LEVEL="ERROR"))
    assert (completed(own), completed(prefect_home / "prefect.db")) == (3, 0)


@pytest.mark.slow
def test_a_server_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(PrefectServerError, match=r"(?s)ended.*Could not parse.*Start one"):
        Lobby(tmp_path).enter(
            {
                "PREFECT_HOME": str(tmp_path),
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": "not a database",
            },
            lambda: None,
        )
    assert not list(tmp_path.glob("leadline/*/server.json"))


@pytest.mark.slow
def test_a_server_whose_port_was_taken_while_it_came_up_is_replaced(
    prefect_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as rival:
        rival.bind((HOST, 0))
        rival.listen()
        ports = [rival.getsockname()[1], _free_port(0)]
        monkeypatch.setattr("leadline.flows.loopback_server._free_port", lambda _: ports.pop(0))
        lobby = Lobby(prefect_home)
        expected = ports[1]
        assert lobby.enter({"PREFECT_HOME": str(prefect_home)}, lambda: None) == (
            expected,
            Origin.STARTED,
        )
        assert answers(f"http://{HOST}:{expected}/api")
        assert lobby.leave()


KILLED_MEANWHILE = """
import os, signal, sys
from pathlib import Path
from leadline.flows.loopback_server import Server
def known(server):
    print(server.process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
Server.start({}, Path(sys.argv[1]) / "server.log", 0, known)
"""


def test_a_run_that_is_killed_before_its_server_stands_in_the_register_leaves_none(
    tmp_path: Path,
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_MEANWHILE, str(tmp_path)], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while start_time(int(killed.stdout)) is not None:
        assert time.monotonic() < deadline, "it became a server that nobody knows"
        time.sleep(0.05)
    assert (tmp_path / "server.log").read_text() == ""


def test_a_named_server_that_does_not_answer_is_refused() -> None:
    with (
        process_settings({"PREFECT_API_URL": GONE}),
        pytest.raises(PrefectServerError, match=r"PREFECT_API_URL is http://127.0.0.1:9/api"),
        prefect_server(),
    ):
        pytest.fail("a server that is not there was given")


def refusal(**variables: str) -> str:
    with (
        process_settings(variables),
        pytest.raises(PrefectServerError) as refused,
        prefect_server(),
    ):
        pytest.fail("a server that cannot be used was given")
    return str(refused.value)


@pytest.mark.slow
def test_a_password_that_is_missing_or_wrong_is_told_as_such(prefect_home: Path) -> None:
    asks = {"PREFECT_HOME": str(prefect_home), "PREFECT_SERVER_API_AUTH_STRING": "ada:right"}
    server = Server.start(asks, prefect_home / "server.log", first=0)
    try:
        server.wait_until_it_answers(prefect_home / "server.log")
        named = {"PREFECT_API_URL": f"http://{HOST}:{server.port}/api"}
        missing = refusal(**named)
        wrong = refusal(**named, PREFECT_API_AUTH_STRING="ada:wrong")
        with (
            process_settings({**named, "PREFECT_API_AUTH_STRING": "ada:right"}),
            prefect_server() as given,
        ):
            assert given.api == named["PREFECT_API_URL"]
    finally:
        server.end()
    assert "the server there asks for a password, and none is given (HTTP 401)" in missing
    assert "the server there refuses the password given (HTTP 401)" in wrong
    assert "ada:wrong" not in wrong
    for words in (missing, wrong):
        assert "set PREFECT_API_AUTH_STRING to its USER:PASSWORD" in words
        assert "no Prefect server answers" not in words


@pytest.mark.slow
def test_an_address_that_is_not_that_of_the_api_is_told_as_such(
    prefect_api: dict[str, str],
) -> None:
    api = prefect_api["PREFECT_API_URL"]
    page = refusal(PREFECT_API_URL=api.removesuffix("/api"))
    nowhere = refusal(PREFECT_API_URL=f"{api}/api")
    assert page.endswith("what answers there is not Prefect's API: the address should end in /api")
    assert nowhere.endswith("what answers there is not Prefect's API: look at host, port and path")


def test_a_server_that_is_gone_holds_no_run(caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    with process_settings({"PREFECT_API_URL": GONE}), caplog.at_level(logging.WARNING):
        missing = wait_for_task_runs("00000000-0000-0000-0000-000000000000", 7)
    assert missing == 7
    assert "0 of 7 task runs: it does not answer" in caplog.text
    assert time.monotonic() - began < 30


def test_settings_reach_threads_of_a_prefect_already_imported_and_are_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    refresh_global_settings_context()
    before = PREFECT_API_URL.value()
    seen: list[str | None] = []
    with process_settings({"PREFECT_API_URL": GONE}):
        thread = threading.Thread(target=lambda: seen.append(PREFECT_API_URL.value()))
        thread.start()
        thread.join()
    assert seen == [GONE]
    assert PREFECT_API_URL.value() == before
    assert "PREFECT_API_URL" not in os.environ


def test_names_of_the_dead_count_for_nothing(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = Process.this()
    again = Process(os.getpid(), here.start - 1)
    path = tmp_path / "server.json"
    Register(boot_id(), Server(again, 4200), (here, again, Process(ended.pid, 1.0))).write(path)
    assert Register.read(path) == Register(boot_id(), None, (here,))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot": 1}', "null", '{"boot": "%s"}'])
def test_a_register_that_cannot_be_read_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "server.json"
    path.write_text(text.replace("%s", boot_id()))
    assert Register.read(path) == Register(boot_id())


def test_a_register_of_an_earlier_boot_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    Register("an earlier boot", Server(Process.this(), 4200), (Process.this(),)).write(path)
    assert Register.read(path) == Register(boot_id())


def test_a_host_that_shares_the_home_is_seen(tmp_path: Path) -> None:
    lobby = Lobby(tmp_path)
    for name in (host(), "node7"):
        folder = tmp_path / "leadline" / name
        folder.mkdir(exist_ok=True)
        Register(boot_id(), None, (Process.this(),)).write(folder / "server.json")
    assert lobby.other_hosts == ["node7"]
