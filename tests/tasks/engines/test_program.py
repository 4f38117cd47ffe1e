"""Programs that are asked what they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from leadline.tasks.engines import program
from leadline.tasks.engines.program import asked
from leadline.tasks.errors import ConfigurationError

KILLED_AT_FIRST = """
import os, pathlib, sys
tries = pathlib.Path("tries")
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if len(tries.read_text()) < int(sys.argv[1]):
    os.kill(os.getpid(), 9)
print("version 7")
"""


def test_a_program_that_was_killed_before_it_answered_is_asked_again(tmp_path: Path) -> None:
    answer = asked([sys.executable, "-c", KILLED_AT_FIRST, "3"], directory=str(tmp_path))
    assert answer.stdout == "version 7\n"


def test_one_that_is_killed_each_time_gives_no_answer(tmp_path: Path) -> None:
    answer = asked([sys.executable, "-c", KILLED_AT_FIRST, "9"], directory=str(tmp_path))
    assert (answer.returncode, answer.stdout) == (-9, "")
    assert (tmp_path / "tries").read_text() == "xxx"


def test_one_that_fails_by_itself_is_asked_once(tmp_path: Path) -> None:
    fails = "open('tries', 'a').write('x'); raise SystemExit(3)"
    answer = asked([sys.executable, "-c", fails], directory=str(tmp_path))
    assert (answer.returncode, (tmp_path / "tries").read_text()) == (3, "x")


def test_one_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "ANSWER_SECONDS", 0.2)
    with pytest.raises(ConfigurationError, match=r"sleep 60 was asked .* did not end within 0 s"):
        asked(["sleep", "60"])
