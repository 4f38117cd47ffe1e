"""``keep:`` on real attempts: which raw files stay of those that end well, fail, or are ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leadline.tasks.calculation import Result
from leadline.tasks.compute.attempt_files import attempt_folder
from leadline.tasks.compute.worker import run_calculation

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Asking

ENDS: dict[str, dict[str, Any]] = {
    "well": {},
    "by a crash": {"exit_status": 3},
    "at the time limit": {"seconds": 300, "time_limit": 3.0},
}
STAYS = {("all", end) for end in ENDS} | {
    ("failed", "by a crash"),
    ("failed", "at the time limit"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("keep", ["all", "failed", "none"])
def test_raw_files_of_an_attempt_stay_by_the_rule(ask: Asking, keep: str, end: str) -> None:
    request = replace(ask(**ENDS[end]), keep=keep)
    folder = attempt_folder(Path(request.folder), 1)
    scratch = folder / "raw" / "wave-functions"
    scratch.mkdir(parents=True)  # what the engine would write
    (scratch / "k1").write_text("1")
    licensed = folder / "raw" / "licensed"
    licensed.write_text("a file that nobody may pass on")
    (folder / "raw" / "pw.out").write_text("words")
    result = Result.from_json(run_calculation(request.to_plain())["result"])
    assert result.complete == (end == "well")
    assert (folder / "raw" / "pw.out").exists() == ((keep, end) in STAYS)
    assert not scratch.exists()
    assert not licensed.exists()
    assert (folder / "result.json").exists()
