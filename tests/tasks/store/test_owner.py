"""Who holds a lease: proved gone, proved alive, or neither."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from leadline.tasks.errors import LeaseError
from leadline.tasks.store.owner import in_words, is_alive, is_gone, this_process
from leadline.tasks.store.records import Campaign
from leadline.tasks.store.store import Store, open_store

SPEAK = """
from leadline.tasks.store.owner import this_process
print(this_process(), flush=True)
input()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path / "store") as opened:
        opened.create_campaign(Campaign("cu-au", {}))
        yield opened


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process, and its name as an owner."""
    process = subprocess.Popen(
        [sys.executable, "-c", SPEAK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def test_a_process_is_alive_until_it_has_ended(other: tuple[subprocess.Popen[str], str]) -> None:
    process, owner = other
    assert (is_alive(owner), is_gone(owner)) == (True, False)
    process.kill()
    process.wait()
    assert (is_alive(owner), is_gone(owner)) == (False, True)


def test_a_clock_that_was_set_proves_nobody_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    me = this_process()
    monkeypatch.setattr(psutil, "boot_time", lambda: 3600.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 3600.0)
    assert (is_alive(me), is_gone(me)) == (True, False)


def test_in_another_container_of_this_boot_a_pid_is_another_process() -> None:
    host, boot, pid, _, token = this_process().split("/")
    elsewhere = f"{host}/{boot.partition(':')[0]}:1/{pid}/1.00/{token}"
    assert (is_alive(elsewhere), is_gone(elsewhere)) == (False, False)


def test_a_driver_that_sleeps_keeps_its_lease_however_long(
    store: Store, other: tuple[subprocess.Popen[str], str]
) -> None:
    process, owner = other
    store.take_lease("cu-au", owner)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    asleep = rf"process {process.pid} on .* \(asleep: `kill -CONT {process.pid}` wakes it\)"
    with pytest.raises(LeaseError, match=asleep):
        store.take_lease("cu-au", this_process(), stale_after_s=0.0)
    process.kill()
    process.wait()
    store.take_lease("cu-au", this_process())


def test_a_namesake_of_this_host_that_beats_is_not_taken_for_a_boot_that_is_over(
    store: Store,
) -> None:
    host, _, *rest = this_process().split("/")
    namesake = "/".join([host, "another-boot", *rest])
    store.take_lease("cu-au", namesake)
    with pytest.raises(LeaseError, match="last beat at 20"):
        store.take_lease("cu-au", this_process(), stale_after_s=60)
    time.sleep(0.1)
    store.take_lease("cu-au", this_process(), stale_after_s=0.01)


def test_an_owner_that_is_no_process_is_shown_as_it_stands() -> None:
    assert in_words("somebody") == "somebody"
