"""The embedded store: steps, its one writer, its readers, and what can befall its file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from leadline.tasks.errors import StoreError, StoreLockedError
from leadline.tasks.store.records import Calculation, CalculationState, Campaign, Message
from leadline.tasks.store.rows import FILE
from leadline.tasks.store.store import Store, open_store

HOLDER = """
import sys
from pathlib import Path
from leadline.tasks.store.store import open_store
with open_store(directory=Path(sys.argv[1])) as store:
    print("open", flush=True)
    for line in sys.stdin:
        store.log("cu-au", line.strip(), "x")
        taken = []
        store.take_inbox("cu-au", lambda message: taken.append(message.kind))
        print(taken, flush=True)
"""
WRITER = """
import sys
from pathlib import Path
from leadline.tasks.store.records import Calculation
from leadline.tasks.store.store import open_store
store = open_store(directory=Path(sys.argv[1]), self_test=False)
for n in range(int(sys.argv[2]), 1_000_000):
    with store.step():
        store.ensure_calculations([Calculation(f"{n}-{k}", "s", {}, {}, "f") for k in range(3)])
        store.log("cu-au", "step", str(n))
    print(n, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(directory=tmp_path) as opened:
        yield opened


def calculation(id: str) -> Calculation:
    return Calculation(id, "s1", {"name": "emt"}, {"name": "relax"}, "f1", campaign="cu-au")


def child(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdin is not None
    process.stdin.write(words + "\n")
    process.stdin.flush()
    return line(process)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the store of this test."""
    with child(HOLDER, str(tmp_path)) as process:
        assert line(process) == "open"
        yield process
        process.kill()


def test_a_step_that_fails_leaves_nothing(store: Store) -> None:
    store.ensure_calculations([calculation("c1")])

    def write() -> None:
        with store.step():
            store.create_campaign(Campaign("cu-au", {}))
            store.claim("c1", "me")
            store.ensure_calculations([calculation("c2")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert store.campaigns() == []
    assert store.calculation("c1") == calculation("c1")
    assert store.calculation("c2") is None
    assert store.by_state(CalculationState.CLAIMED) == []
    assert [each.kind for each in store.events("cu-au")] == ["calculation.queued"]
    assert store.claim("c1", "me") is not None


def test_a_step_inside_a_step_is_undone_alone(store: Store) -> None:
    def write() -> None:
        with store.step():
            store.log("cu-au", "inside", "x")
            raise ZeroDivisionError

    with store.step():
        store.log("cu-au", "before", "x")
        with pytest.raises(ZeroDivisionError):
            write()
        store.log("cu-au", "after", "x")
    assert [each.kind for each in store.events("cu-au")] == ["before", "after"]


def test_the_steps_of_two_threads_do_not_mix(store: Store) -> None:
    def write(name: str) -> None:
        for _ in range(20):
            with store.step():
                for _ in range(3):
                    store.log("cu-au", name, "x")

    threads = [threading.Thread(target=write, args=(f"t{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = sorted(store.events("cu-au"), key=lambda each: each.sequence)
    assert len(events) == 240
    for k in range(0, 240, 3):
        assert len({each.kind for each in events[k : k + 3]}) == 1


def test_no_thread_reads_what_another_has_not_committed(store: Store) -> None:
    inside, seen = threading.Event(), []

    def read() -> None:
        inside.wait()
        seen.append(store.campaigns())

    def write() -> None:
        with store.step():
            store.create_campaign(Campaign("cu-au", {}))
            inside.set()
            time.sleep(0.05)
            raise ZeroDivisionError

    thread = threading.Thread(target=read)
    thread.start()
    with pytest.raises(ZeroDivisionError):
        write()
    thread.join()
    assert seen == [[]]


def test_a_step_is_one_commit(store: Store, tmp_path: Path) -> None:
    with open_store(directory=tmp_path, write=False) as reader:
        with store.step():
            store.create_campaign(Campaign("cu-au", {}))
            assert len(store.campaigns()) == 1
            assert reader.campaigns() == []
        assert len(reader.campaigns()) == 1


def test_a_second_writer_is_told_who_holds_the_store(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(StoreLockedError) as caught:
        open_store(directory=tmp_path)
    message = str(caught.value)
    for words in (
        f"process {holder.pid} on",
        "since 20",
        "leadline status",
        "LEADLINE_MONGODB_URI",
    ):
        assert words in message


def test_a_store_in_this_process_locks_as_well(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()} on"):
        open_store(directory=tmp_path)
    store.close()
    store.close()
    open_store(directory=tmp_path).close()


def test_the_lock_of_a_killed_holder_is_free(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    open_store(directory=tmp_path).close()


def test_a_reader_follows_the_holder(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with open_store(directory=tmp_path, write=False) as reader:
        assert reader.events("cu-au") == []
        tell(holder, "one")
        assert [each.kind for each in reader.events("cu-au")] == ["one"]
        tell(holder, "two")
        assert [each.kind for each in reader.events("cu-au")] == ["one", "two"]


def test_a_reader_asks_the_holder_through_the_inbox(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with open_store(directory=tmp_path, write=False) as reader:
        reader.send("cu-au", "stop", {"why": "enough"})
        assert tell(holder, "look") == "['stop']"
        assert tell(holder, "look") == "[]"
        assert "inbox.stop" in [each.kind for each in reader.events("cu-au")]


def test_a_reader_changes_nothing_else(store: Store, tmp_path: Path) -> None:
    store.ensure_calculations([calculation("c1")])
    with open_store(directory=tmp_path, write=False) as reader:
        changes: list[Callable[[], object]] = [
            lambda: reader.create_campaign(Campaign("cu-au", {})),
            lambda: reader.claim("c1", "me"),
            lambda: reader.log("cu-au", "x", "x"),
            lambda: reader.take_inbox("cu-au", lambda message: None),
        ]
        reader.send("cu-au", "stop", {})
        for change in changes:
            with pytest.raises(StoreError, match="was opened for reading"):
                change()
    assert store.calculation("c1") == calculation("c1")
    taken: list[Message] = []
    store.take_inbox("cu-au", taken.append)
    assert [each.kind for each in taken] == ["stop"]


def test_nothing_acknowledged_is_lost_and_nothing_half_is_kept_after_kill_9(
    tmp_path: Path,
) -> None:
    acknowledged = -1
    for _ in range(6):
        with child(WRITER, str(tmp_path), str(acknowledged + 2)) as process:
            timer = threading.Timer(
                random.uniform(1.0, 2.5), lambda each=process: each.send_signal(signal.SIGKILL)
            )
            timer.start()
            assert process.stdout is not None
            lines = [int(each) for each in process.stdout if each.endswith("\n")]
            timer.join()
            assert process.wait() == -signal.SIGKILL
        with open_store(directory=tmp_path) as store:
            steps = [int(each.subject) for each in store.events("cu-au")]
            assert set(lines) <= set(steps)
            stored = store.by_state(CalculationState.QUEUED)
        assert sorted(each.id for each in stored) == sorted(
            f"{n}-{k}" for n in steps for k in range(3)
        )
        acknowledged = max(lines, default=acknowledged)
    assert acknowledged > 20


def test_a_missing_store_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store in .*nowhere.*start a campaign"):
        open_store(directory=tmp_path / "nowhere", write=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="name a folder on a local disk"):
        open_store(directory=tmp_path / "file" / "store")


def filled(folder: Path) -> Path:
    with open_store(directory=folder) as store:
        store.ensure_calculations([calculation(f"c{k}") for k in range(300)])
    return folder / FILE


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"this is no database, but text" * 400,
        lambda content: content[: len(content) // 2],
        lambda content: content[:4096] + b"\xff" * (len(content) - 4096),
    ],
    ids=["empty", "text", "cut", "overwritten"],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = filled(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()

    def use() -> None:
        with open_store(directory=tmp_path) as store:
            store.by_state(CalculationState.QUEUED)

    with pytest.raises(StoreError, match=r"is damaged.*put a copy"):
        use()
    assert path.read_bytes() == damaged


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="is of version 99, and this leadline reads version 2"):
        open_store(directory=tmp_path)


def test_a_full_disk_loses_the_step_and_nothing_before_it(store: Store) -> None:
    store.create_campaign(Campaign("cu-au", {}))
    rows: Any = store._connection
    connection = rows._rows._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def write() -> None:
        with store.step():
            store.log("cu-au", "before", "x")
            store.create_campaign(Campaign("large", {"text": "x" * 1_000_000}))

    with pytest.raises(StoreError, match=r"disk is full.*free some space"):
        write()
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [each.name for each in store.campaigns()] == ["cu-au"]
    assert [each.kind for each in store.events("cu-au")] == ["campaign.created"]
    store.create_campaign(Campaign("large", {"text": "x" * 1_000_000}))


def test_nothing_follows_in_a_step_that_the_disk_has_undone(store: Store) -> None:
    """SQLite may undo all of a step when one of its writes fails, not that write alone."""
    rows: Any = store._connection
    connection = rows._rows._connection

    def write() -> None:
        with store.step():
            store.log("cu-au", "before", "x")
            connection.execute("ROLLBACK")  # as SQLite does by itself
            with suppress(StoreError):
                store.log("cu-au", "inside", "x")
            store.log("cu-au", "after", "x")

    with pytest.raises(StoreError, match="the step was undone by an earlier error; run again"):
        write()
    assert store.events("cu-au") == []
    store.log("cu-au", "next", "x")
    assert [each.kind for each in store.events("cu-au")] == ["next"]


def swap_time(store: Store, ids: list[str]) -> float:
    """Median CPU seconds of a compare-and-set by id, its commit included."""
    times = []
    for id in ids:
        start = time.thread_time()
        query = {"pk": id, "state": CalculationState.QUEUED, "tries": 0}
        assert store._set(store._documents.calculations, query, {"state": CalculationState.CUT})
        times.append(time.thread_time() - start)
    return statistics.median(times)


@pytest.mark.slow
def test_compare_and_set_by_id_takes_2_ms_among_50_000(store: Store) -> None:
    ids = [f"{n:064x}" for n in range(50_000)]
    few = ids[:100]
    store.ensure_calculations([calculation(id) for id in few])
    alone = swap_time(store, few)
    with store.step():
        [raw] = store._documents.calculations.objects(pk=ids[0]).as_pymongo()
        documents = store._connection.database["calculations"]
        for id in ids[100:]:
            documents.insert_one(raw | {"_id": id, "state": "queued"})
    among = swap_time(store, ids[1000:50_000:490])
    assert among < 0.002
    assert among < 2 * alone
