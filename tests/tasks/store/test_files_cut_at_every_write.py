"""Artefacts, results, pools and reports cut off at any write: old or new, never half."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from leadline.flows.writing import write_whole
from leadline.tasks.calculation import Request, Result
from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.candidates.table import source
from leadline.tasks.compute.attempt_files import (
    Running,
    attempt_folder,
    is_signed_off,
    read_result,
    sign_off,
    take_turn,
    turns,
    write_result,
)
from leadline.tasks.compute.attempt_files import write_whole as write_attempt_file
from leadline.tasks.store.artefacts import Artefacts
from leadline.tasks.store.records import ArtefactRef
from leadline.tasks.writing import LEFT_OVER

if TYPE_CHECKING:
    from tests.tasks.store.conftest import Cuts

CONTENTS = (b"one" * 10_000, b"two", b"one" * 10_000)
ANSWER = Result("one", 1, True, energy=-3.7, forces=[[0.0, 0.1, 0.2]] * 200)
ORDERINGS = {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": 4}


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def put_artefacts(folder: str) -> None:
    artefacts = Artefacts(folder)
    for content in CONTENTS:
        ref = artefacts.put(content, "text/plain")
        say(json.dumps([ref.sha256, ref.size]))


@pytest.mark.timeout(300)
def test_an_artefact_cut_off_at_any_write_is_whole_or_missing(cuts: Cuts, tmp_path: Path) -> None:
    said, number = tmp_path / "said", 0
    folder = tmp_path / "artefacts"
    folder.mkdir()
    for cut in cuts(__file__, "put_artefacts", folder, said):
        number += 1
        artefacts = Artefacts(str(cut.folder))
        for line in said.read_text().splitlines()[: cut.said]:
            sha256, size = json.loads(line)
            assert artefacts.get(ArtefactRef(sha256, size, "text/plain")) in CONTENTS
        left = [*cut.folder.glob("*/*.part")]
        long_ago = time.time() - LEFT_OVER - 60
        for path in left:
            os.utime(path, (long_ago, long_ago))
        for content in CONTENTS:
            assert artefacts.get(artefacts.put(content, "text/plain")) == content
        assert len(left) <= 1
        whole = [path for path in left if path.exists()]
        assert all(path.with_suffix("").with_suffix("").exists() for path in whole)
    assert number > 5


def request(folder: str | Path, attempt: int = 1, gone: tuple[int, ...] = ()) -> Request:
    return Request("one", attempt, "s", {}, {}, {}, {}, str(folder), gone)


def run_attempt(folder: str) -> None:
    """Write what the guardian of an attempt and its engine write, in that order."""
    asked, directory = request(folder), attempt_folder(Path(folder), 1)
    directory.mkdir()
    assert take_turn(asked, Running.here(asked)) is None
    say("turn")
    for number in (1, 2):
        write_attempt_file(directory / "heartbeat", str(number))
    write_result(ANSWER, directory)
    say("result")
    sign_off(Path(folder), 1, "its guardian saw everything end")
    say("signed off")


@pytest.mark.timeout(300)
def test_an_attempt_cut_off_at_any_write_is_read_as_it_stands(cuts: Cuts, tmp_path: Path) -> None:
    said, number = tmp_path / "said", 0
    folder = tmp_path / "one"
    folder.mkdir()
    for cut in cuts(__file__, "run_attempt", folder, said):
        number += 1
        ran, result = turns(cut.folder), read_result(cut.folder, 1)
        assert [each.attempt for each in ran] in ([], [1])
        assert len(ran) == 1 or cut.said < 1
        assert result in (None, ANSWER)
        assert result == ANSWER or cut.said < 2
        assert result == ANSWER or not is_signed_off(cut.folder, 1)
        heartbeat = attempt_folder(cut.folder, 1) / "heartbeat"
        assert not heartbeat.exists() or heartbeat.read_text() in ("1", "2")
        second = request(cut.folder, 2, gone=(1,))
        assert take_turn(second, Running.here(second)) == result
    assert number > 10


def write_reports(folder: str) -> None:
    for words in ("the first", "the second" * 1000):
        write_whole(Path(folder) / "report.html", words)
        say(words)


@pytest.mark.timeout(300)
def test_a_report_cut_off_at_any_write_is_the_old_or_the_new(cuts: Cuts, tmp_path: Path) -> None:
    said, number = tmp_path / "said", 0
    folder = tmp_path / "reports"
    folder.mkdir()
    for cut in cuts(__file__, "write_reports", folder, said):
        number += 1
        report = cut.folder / "report.html"
        versions = ("", "the first", "the second" * 1000)
        found = report.read_text() if report.exists() else ""
        assert found in versions[cut.said : cut.said + 2]
    assert number > 5


def write_pool(folder: str) -> None:
    sources = [source("orderings", ORDERINGS, Path(folder))]
    say(build_pool(sources, Checks(), np.random.default_rng(0), Path(folder)).sha256)


@pytest.mark.timeout(300)
def test_a_pool_cut_off_at_any_write_is_whole_or_missing(cuts: Cuts, tmp_path: Path) -> None:
    said, number = tmp_path / "said", 0
    folder = tmp_path / "pools"
    folder.mkdir()
    for cut in cuts(__file__, "write_pool", folder, said):
        number += 1
        found = [PoolFile(path) for path in cut.folder.glob("pool-*.zip")]
        assert [len(pool) for pool in found] in ([], [29])
    assert number >= 2
