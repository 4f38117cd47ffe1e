"""A campaign whose database goes away in every way: it waits, says so, and loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from java_server import JavaServer
from proxy import DENIED, WRITES, Proxy, proxied

from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

AWAY, BACK = " since 20", " answers again "
LONG = 400.0
"""Seconds that a loaded machine never needs for what is waited for."""


class Told:
    """What a process says, while it says it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (process.stdout, process.stderr)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until words were said so many times."""
        wait_until(
            lambda: self.text.count(words) >= times or self.process.poll() is not None,
            lambda: f"it did not say {words!r} {times} times: {self.text}",
        )
        assert self.text.count(words) >= times, f"it ended before {words!r}: {self.text}"

    def end(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        code = self.process.wait(LONG)
        for thread in self._threads:
            thread.join(LONG)
        return code

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def _read(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self.lines.extend(iter(stream.readline, ""))


def wait_until(true: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


def starts(store: Path) -> Counter[str]:
    """Return how often the engine of each calculation started, from a file outside any database."""
    file = store / "calculations" / "engines.log"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return Counter(each["calculation"] for each in lines if each["event"] == "start")


def wait_for_starts(told: Told, store: Path, more: int) -> None:
    wanted = starts(store).total() + more
    wait_until(
        lambda: starts(store).total() >= wanted or told.process.poll() is not None,
        lambda: f"no more engines start: {told.text}",
    )
    assert told.process.poll() is None, told.text


def check_all_kept(uri: str, store: Path, calculations: int) -> None:
    """Each engine started once, and each answer is on record with states that agree."""
    with open_store(uri, store, write=False) as opened:
        [campaign] = opened.campaigns()
        assert campaign.state is CampaignState.STOPPED, campaign.reason
        proposals = opened.proposals("small")
        found = opened.calculations(str(each.calculation) for each in proposals)
        events = Counter((each.subject, each.kind) for each in opened.events("small"))
    picked = [each for each in proposals if each.round > 0]
    assert len({each.structure for each in picked}) == len(picked) == calculations
    assert {each.state for each in found.values()} == {CalculationState.DONE}
    assert {id: len(each.attempts) for id, each in found.items()} == dict.fromkeys(found, 1)
    assert starts(store) == Counter(dict.fromkeys(found, 1))
    assert {key: n for key, n in events.items() if key[0] in found and n > 1} == {}


@pytest.fixture
def in_front(mortal_server: JavaServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A way to a database of its own, which all commands of a test take."""
    with proxied(mortal_server.port) as standing:
        uri = f"{standing.uri}?socketTimeoutMS=5000"
        monkeypatch.setenv("LEADLINE_MONGODB_URI", uri)
        yield standing


def lose_answers(proxy: Proxy, count: int) -> None:
    """Have the next writes made, and their answers lost."""
    left, lock = iter(range(count)), threading.Lock()

    def cut(command: str) -> str | None:
        with lock:
            return "after" if command in WRITES and next(left, None) is not None else None

    proxy.cut = cut


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_campaign_outlasts_whatever_befalls_its_database(
    leadline: Run,
    campaign_file: WriteFile,
    store: Path,
    mortal_server: JavaServer,
    in_front: Proxy,
) -> None:
    def be_full() -> None:
        in_front.full = True

    faults: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (mortal_server.pause, mortal_server.resume),
        (in_front.refuse_writes, in_front.heal),
        (mortal_server.stop, mortal_server.start),
        (be_full, in_front.heal),
        (lambda: lose_answers(in_front, 5), lambda: None),
        (mortal_server.kill, mortal_server.start),
    ]
    in_front.delay = 0.01
    engine = {"name": "moody-emt", "seconds": 0.1}
    stop = {"expected_missed": None, "calculations": 20}
    told = Told(leadline("run", campaign_file(engine=engine, stop=stop)))
    for number, (befall, heal) in enumerate(faults, 1):
        wait_for_starts(told, store, 2)
        befall()
        told.wait_for(AWAY, number)
        heal()
        told.wait_for(BACK, number)
    assert told.end() == 0, told.text
    assert "Traceback" not in told.text
    assert "does not answer since" in told.text
    assert "takes no writes since" in told.text
    check_all_kept(mortal_server.uri, store, 20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_whose_patience_ends_says_how_to_carry_on_and_has_lost_nothing(
    leadline: Run,
    campaign_file: WriteFile,
    store: Path,
    mortal_server: JavaServer,
    in_front: Proxy,
) -> None:
    file = campaign_file(engine={"name": "moody-emt", "seconds": 0.1}, store={"patience": "3 s"})
    told = Told(leadline("run", file))
    wait_for_starts(told, store, 5)
    mortal_server.stop()
    assert told.end() == 2, told.text
    assert "Traceback" not in told.text
    assert "this run waits no longer. Nothing is lost" in told.text
    for command in (["status"], ["run", file]):
        away = Told(leadline(*command))
        assert away.end() == 2, away.text
        assert "does not answer (" in away.text
        assert "Traceback" not in away.text
    mortal_server.start()
    again = Told(leadline("run", file))
    assert again.end() == 0, again.text
    check_all_kept(mortal_server.uri, store, 12)


def test_a_wrong_password_ends_a_command_at_once_and_is_not_shown(
    command: Callable[..., Said], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.answers = {"saslStart": DENIED}
    uri = proxy.uri.replace("//", "//joe:s3cr3t@")
    monkeypatch.setenv("LEADLINE_MONGODB_URI", uri)
    said = command("status")
    assert said.code == 2
    assert "does not let this user in" in said.err
    assert "s3cr3t" not in said.out + said.err
    assert os.environ["LEADLINE_MONGODB_URI"] == uri
