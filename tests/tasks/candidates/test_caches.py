"""Pools and features are caches: deleted or damaged at any time, nothing is lost by it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from leadline.surrogate.descriptors.table import descriptor
from leadline.tasks.candidates import features
from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.features import pool_features
from leadline.tasks.candidates.pool import BLOCK, PoolFile
from leadline.tasks.candidates.table import source
from leadline.tasks.errors import CandidateError
from leadline.tasks.writing import LEFT_OVER, written_whole

ORDERINGS = {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": 8}


def built(folder: Path) -> PoolFile:
    sources = [source("orderings", ORDERINGS, folder)]
    return build_pool(sources, Checks(), np.random.default_rng(0), folder)


def described(pool: PoolFile, folder: Path) -> np.ndarray:
    chosen = descriptor("pair-correlations", pool.elements)
    table, _ = pool_features(pool, chosen, folder)
    return np.asarray(table.features)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_pool_that_is_deleted_while_it_is_used_can_still_be_read(tmp_path: Path) -> None:
    pool = built(tmp_path / "pools")
    assert len(pool) > BLOCK
    expected = [each.id for each in pool.candidates()]
    shutil.rmtree(tmp_path / "pools")
    assert [each.id for each in pool.candidates()] == expected
    assert pool.candidate(expected[-1]).id == expected[-1]
    again = built(tmp_path / "pools")
    assert (again.sha256, again.ids) == (pool.sha256, pool.ids)


def test_a_pool_that_is_overwritten_while_it_is_used_says_what_to_do(tmp_path: Path) -> None:
    pool = built(tmp_path)
    length = pool.path.stat().st_size
    with pool.path.open("r+b") as file:
        file.write(bytes(length))
    with pytest.raises(CandidateError, match=r"can no longer be read.*delete it and run again"):
        list(pool.blocks())


def test_features_that_are_deleted_while_they_are_used_stay_at_hand(tmp_path: Path) -> None:
    pool, folder = built(tmp_path / "pools"), tmp_path / "features"
    table, _ = pool_features(pool, descriptor("pair-correlations", pool.elements), folder)
    expected = np.array(table.features)
    shutil.rmtree(folder)
    assert np.array_equal(table.features, expected)
    assert np.array_equal(described(pool, folder), expected)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
@pytest.mark.parametrize("which", ["features-*", "preparation-*"])
def test_features_that_were_cut_short_are_made_again(
    tmp_path: Path, which: str, kept: float
) -> None:
    pool, folder = built(tmp_path / "pools"), tmp_path / "features"
    expected = described(pool, folder).copy()
    [path] = folder.glob(which)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert np.array_equal(described(pool, folder), expected)
    assert path.read_bytes() == whole


def test_two_may_describe_one_pool_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, folder = built(tmp_path / "pools"), tmp_path / "features"
    expected = described(pool, tmp_path / "alone").copy()
    both = threading.Barrier(2, timeout=60)
    write_rows = features._write_rows

    def together(*given: object) -> None:
        both.wait()
        write_rows(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(features, "_write_rows", together)
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(described(pool, folder))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert all(np.array_equal(each, expected) for each in found)
    assert len(names(folder)) == 2


def test_what_a_killed_process_left_goes_a_day_later(tmp_path: Path) -> None:
    old, fresh, folder = (tmp_path / f".{n}.part" for n in ("old", "fresh", "folder"))
    old.write_text("half")
    fresh.write_text("half")
    folder.mkdir()
    (folder / "raw.npy").write_text("half")
    long_ago = time.time() - LEFT_OVER - 60
    for path in (old, folder):
        os.utime(path, (long_ago, long_ago))
    with written_whole(tmp_path / "new") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == [".fresh.part", "new"]


def test_a_writing_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("whole")

    def write() -> None:
        with written_whole(tmp_path / "old") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert (tmp_path / "old").read_text() == "whole"
    assert names(tmp_path) == ["old"]
