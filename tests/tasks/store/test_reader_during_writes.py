"""A process that reads while another writes: what it sees at each look is what the design says.

In the embedded store a look is one state, so states and events agree to the letter. On a
server nothing groups two writes, and the event comes last: an event that is seen is of a
state that stands or has been left, and once the writer has ended they agree as well.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from java_server import JavaServer

from leadline.tasks.store.records import Calculation, CalculationState, Event
from leadline.tasks.store.store import Store, open_store

CAMPAIGN = "cu-au"
CALCULATIONS = 40
LIFE = [f"calculation.{state}" for state in ("queued", "claimed", "running", "done")]
WRITER = """
import sys
from pathlib import Path
from leadline.tasks.calculation import Result
from leadline.tasks.store.records import Calculation, Campaign
from leadline.tasks.store.store import open_store
folder, count, uri = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] or None
with open_store(uri, folder, self_test=False) as store:
    store.create_campaign(Campaign("cu-au", {}))
    print("open", flush=True)
    sys.stdin.readline()
    for id in map(str, range(count)):
        store.ensure_calculations([Calculation(id, "s", {}, {}, "f", campaign="cu-au")])
        store.claim(id, "me")
        store.start(id, 1, {"host": "node1"})
        store.finish(id, 1, Result(id, 1, True, energy=float(id)))
"""


@pytest.fixture(params=["embedded", "java"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where both processes have the store."""
    if request.param == "embedded":
        return None
    server: JavaServer = request.getfixturevalue("java_server")
    return urlsplit(server.uri)._replace(path=f"/{tmp_path.name[-40:]}").geturl()


@pytest.fixture
def writer(uri: str | None, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has opened the store and waits for a word to write."""
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(CALCULATIONS), uri or ""]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_at_every_look_states_and_events_agree_and_what_is_done_stays_done(
    uri: str | None, writer: subprocess.Popen[str], tmp_path: Path
) -> None:
    looks, done = 0, dict[str, Calculation]()
    with open_store(uri, tmp_path, write=False) as reader:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
        ended = False
        while not ended:
            ended = writer.poll() is not None  # before the look: the last one sees the end
            events, stored = look(reader)
            check(events, stored, exact=uri is None or ended)
            now_done = {id: each for id, each in stored.items() if each.energy is not None}
            assert done.items() <= now_done.items()
            looks, done = looks + (len(now_done) > len(done)), now_done
            time.sleep(0.01)
    assert writer.returncode == 0
    assert [done[str(each)].energy for each in range(CALCULATIONS)] == [*range(CALCULATIONS)]
    assert looks > 5, "the reader saw too little of the writing to mean anything"


def look(reader: Store) -> tuple[list[Event], dict[str, Calculation]]:
    """Read events and then states: one state of the embedded store, two looks at a server."""
    with reader._reading():
        events = reader.events(CAMPAIGN)
        return events, {each.id: each for each in reader.by_state(*CalculationState)}


def check(events: list[Event], stored: dict[str, Calculation], *, exact: bool) -> None:
    told: dict[str, list[str]] = {}
    for each in events:
        if each.kind.startswith("calculation."):
            told.setdefault(each.subject, []).append(each.kind)
    for id, kinds in told.items():
        assert kinds == LIFE[: len(kinds)]
        assert LIFE.index(f"calculation.{stored[id].state}") >= len(kinds) - 1
    for id, found in stored.items():
        assert (found.energy is not None) == (found.state is CalculationState.DONE)
        assert [attempt.state for attempt in found.attempts] == [str(found.state)] * (
            found.state is not CalculationState.QUEUED
        )
        if exact:
            assert told[id][-1] == f"calculation.{found.state}"
