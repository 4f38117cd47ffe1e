"""A campaign in a process of its own that others steer: what tests of that share."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from leadline.tasks.store.records import Campaign, Proposal
from leadline.tasks.store.store import Store, open_store

DEADLINE_S = 900.0


def reading(store: Path) -> Store:
    return open_store(None, store, write=False)


def campaign_of(store: Path, name: str = "small") -> Campaign:
    with reading(store) as opened:
        found = opened.campaign(name)
    assert found is not None
    return found


def proposals(store: Path, name: str = "small") -> list[Proposal]:
    """The picks, those of elements left out; none while there is no store."""
    if not (store / "store.sqlite").exists():
        return []
    with reading(store) as opened:
        return [each for each in opened.proposals(name) if each.why["share"] != "reference"]


def engines(store: Path) -> list[dict[str, Any]]:
    file = store / "calculations" / "engines.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def running(store: Path) -> list[psutil.Process]:
    """The engines of the elements, once both compute."""
    starts = [line for line in engines(store) if line["event"] == "start"]
    alive = [int(line["pid"]) for line in starts if psutil.pid_exists(int(line["pid"]))]
    return [psutil.Process(pid) for pid in alive] if len(alive) == 2 else []


def until(what: Callable[[], Any], *processes: subprocess.Popen[str]) -> Any:
    """Wait until something is so, while the processes live; return it."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := what()):
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def ended(process: subprocess.Popen[str]) -> str:
    words, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, words + errors
    assert "Traceback" not in errors, errors
    return words + errors
