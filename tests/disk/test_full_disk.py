"""A full disk: a clear error, nothing half-written, and all goes on once there is room."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from small_disk import KB, SmallDisk, mounted

from leadline.flows.writing import write_whole
from leadline.surrogate.descriptors.table import descriptor
from leadline.tasks.calculation import FailureKind, Request, Result
from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.features import pool_features
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.candidates.table import source
from leadline.tasks.compute.attempt import Standing, State, inspect
from leadline.tasks.compute.worker import run_calculation
from leadline.tasks.errors import StoreError, WriteError
from leadline.tasks.export import ExportRow, export_campaign
from leadline.tasks.store.records import Calculation, CalculationState, Campaign
from leadline.tasks.store.store import open_store
from leadline.tasks.structures import to_plain

ORDERINGS = {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": 8}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of two megabytes."""
    with mounted(tmp_path / "disk", 2048 * KB) as small:
        yield small


def pool_in(folder: Path) -> PoolFile:
    sources = [source("orderings", ORDERINGS, folder)]
    return build_pool(sources, Checks(), np.random.default_rng(0), folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def three(step: int) -> list[Calculation]:
    return [Calculation(f"{step}-{k}", "s", {}, {}, "f" * 500, check=step) for k in range(3)]


def test_a_store_keeps_what_it_had_and_goes_on_when_there_is_room(disk: SmallDisk) -> None:
    folder, large = disk.path / "store", Campaign("large", {"text": "x" * 100 * KB})
    with open_store(directory=folder) as store:
        store.create_campaign(Campaign("cu-au", {}))
        disk.fill(leave=40 * KB)
        steps = (three(n) for n in range(1000))
        with pytest.raises(StoreError, match=r"cannot grow: the disk is full.*free some space"):
            deque(map(store.ensure_calculations, steps))
        kept = next(steps)[0].check - 1
        stored = store.by_state(CalculationState.QUEUED)
        assert {each.id for each in stored} == {f"{n}-{k}" for n in range(kept) for k in range(3)}
        with pytest.raises(StoreError, match="the disk is full"):
            store.create_campaign(large)
    with open_store(directory=folder, write=False) as reader:
        assert len(reader.by_state(*CalculationState)) == 3 * kept
    disk.clear()
    with open_store(directory=folder) as store:
        assert store.claim("0-0", "me")
        store.create_campaign(large)


def test_no_store_is_opened_for_writing_on_a_full_disk(disk: SmallDisk) -> None:
    with open_store(directory=disk.path / "old") as store:
        store.create_campaign(Campaign("cu-au", {}))
    disk.fill()
    for folder in (disk.path / "new", disk.path / "old"):
        with pytest.raises(StoreError, match=r"store.*(disk is full|No space left)"):
            open_store(directory=folder)
    disk.clear()
    for folder in (disk.path / "new", disk.path / "old"):
        open_store(directory=folder).close()


def test_a_store_that_has_too_little_room_to_be_opened_says_so(disk: SmallDisk) -> None:
    folder = disk.path / "store"
    with open_store(directory=folder) as store:
        store.create_campaign(Campaign("cu-au", {}))
    said = []
    for leave in range(0, 80 * KB, 4 * KB):
        disk.fill(leave=leave)
        try:
            open_store(directory=folder).close()
        except StoreError as error:
            said.append(str(error))
        disk.clear()
    assert 0 < len(said) < 20
    assert [each for each in said if not re.search("disk is full|No space left", each)] == []


def test_an_artefact_is_whole_or_not_there(disk: SmallDisk) -> None:
    with open_store(directory=disk.path / "store") as store:
        small = store.artefacts.put(b"small", "text/plain")
        disk.fill(leave=60 * KB)
        large = np.random.default_rng(0).bytes(200 * KB)
        with pytest.raises(StoreError, match=r"artefact of 204800 bytes.*No space left.*run again"):
            store.artefacts.put(large, "text/plain")
        assert names(disk.path / "store" / "artefacts") == [small.sha256[2:]]
        assert store.artefacts.get(small) == b"small"
        disk.clear()
        assert store.artefacts.get(store.artefacts.put(large, "text/plain")) == large


def test_a_pool_is_whole_or_not_there(disk: SmallDisk) -> None:
    folder = disk.path / "pools"
    for leave in (0, 8 * KB, 24 * KB):
        disk.fill(leave=leave)
        with pytest.raises(WriteError, match=r"pool.*No space left.*free some space"):
            pool_in(folder)
        assert not folder.exists() or names(folder) == []
        disk.clear()
    assert len(pool_in(folder)) > 0


DESCRIBE = """
import sys
from pathlib import Path
from leadline.surrogate.descriptors.table import descriptor
from leadline.surrogate.errors import LeadlineError
from leadline.tasks.candidates.features import pool_features
from leadline.tasks.candidates.pool import PoolFile
pool = PoolFile(Path(sys.argv[1]))
try:
    pool_features(pool, descriptor("pair-correlations", pool.elements), Path(sys.argv[2]))
except LeadlineError as error:
    print(error)
"""


def test_features_are_whole_or_not_there(disk: SmallDisk, tmp_path: Path) -> None:
    pool, folder = pool_in(tmp_path), disk.path / "features"
    for leave in (0, 16 * KB, 48 * KB):
        disk.fill(leave=leave)
        # In a process of its own: a page of a mapped file that has no room ends it by a signal.
        said = subprocess.run(
            [sys.executable, "-c", DESCRIBE, str(pool.path), str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (said.returncode, said.stderr) == (0, "")
        assert "No space left" in said.stdout
        assert "free some space" in said.stdout
        assert not folder.exists() or names(folder) == []
        disk.clear()
    chosen = descriptor("pair-correlations", pool.elements)
    table, _ = pool_features(pool, chosen, folder)
    again, _ = pool_features(pool, chosen, tmp_path / "features")
    assert np.array_equal(table.features, again.features)


@pytest.mark.parametrize("format_", ["extxyz", "ase-db", "cif", "json"])
def test_an_export_that_has_no_room_leaves_the_earlier_one(disk: SmallDisk, format_: str) -> None:
    plain = to_plain(bulk_copper())
    rows = [ExportRow(f"{n:064x}", "c", "Cu", plain, None, -3.5) for n in range(200)]
    path = disk.path / "export"
    if format_ != "cif":
        path.write_text("the first")
    before = names(disk.path)
    disk.fill(leave=16 * KB)
    with pytest.raises(WriteError, match=r"export cannot be written: .*free some space, and run"):
        export_campaign(rows, format_, path)
    disk.clear()
    assert names(disk.path) == before
    assert export_campaign(rows, format_, path) == 200


def bulk_copper() -> Structure:
    return Structure(Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])


def test_a_report_that_has_no_room_leaves_the_earlier_one(disk: SmallDisk) -> None:
    report = disk.path / "reports" / "cu-au.html"
    write_whole(report, "the first")
    disk.fill(leave=8 * KB)
    with pytest.raises(WriteError, match=r"cu-au.html cannot be written.*No space left"):
        write_whole(report, "x" * 100 * KB)
    assert names(report.parent) == ["cu-au.html"]
    assert report.read_text() == "the first"


def request(folder: Path, attempt: int = 1, gone: tuple[int, ...] = ()) -> Request:
    cell = {"lattice": [[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]}
    return Request(
        calculation="one",
        attempt=attempt,
        structure_id="cu",
        structure=cell | {"species": ["Cu"], "coords": [[0, 0, 0]]},
        engine={"name": "emt", "settings": {}},
        recipe={"name": "relax", "settings": {}},
        site={},
        folder=str(folder),
        gone=gone,
        keep="all",
    )


def settled(folder: Path) -> Standing:
    """Look until the guardian has ended: with no room to sign off, its end is the proof."""
    deadline = time.monotonic() + 60
    while (standing := inspect(folder)).state is State.ALIVE and time.monotonic() < deadline:
        time.sleep(0.05)
    return standing


@pytest.mark.slow
def test_a_result_is_whole_or_not_there(disk: SmallDisk) -> None:
    folder = disk.path / "calculations" / "one"
    attempt = 0
    for leave in range(0, 48 * KB, 4 * KB):
        attempt += 1
        disk.fill(leave=leave)
        asked = request(folder, attempt, gone=tuple(range(1, attempt)))
        answer = Result.from_json(run_calculation(asked.to_plain())["result"])
        assert answer.complete or answer.failure is not None
        if answer.failure is not None:
            assert answer.failure.kind is FailureKind.REMOTE
            assert "No space left" in answer.failure.message
        standing = settled(folder)
        assert standing.state in (State.GONE, State.FINISHED)
        assert (standing.state is State.FINISHED) == answer.complete
        assert not [each for each in names(disk.path) if each.startswith(".")]
        disk.clear()
        if answer.complete:
            break
    asked = request(folder, attempt + 1, gone=tuple(range(1, attempt + 1)))
    assert Result.from_json(run_calculation(asked.to_plain())["result"]).complete
