"""A reader that goes away, as `head` does, ends a command quietly: real processes and pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.flows.conftest import WriteFile

MAIN = "from leadline.flows.cli import main; main()"


def without_a_reader(folder: Path, *arguments: str, unbuffered: str = "") -> tuple[int, str]:
    """Run a command whose standard output nobody reads any more: its exit code and errors."""
    reader, writer = os.pipe()
    os.close(reader)
    variables = {"PYTHONUNBUFFERED": unbuffered, "LEADLINE_STORE": str(folder / "store")}
    try:
        ran = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=os.environ | variables,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writer)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "at the first line"])
@pytest.mark.parametrize("words", ["--help", "reconcile --rules", "init mine"])
def test_a_command_that_nobody_reads_ends_quietly(
    words: str, unbuffered: str, tmp_path: Path
) -> None:
    code, errors = without_a_reader(tmp_path, *words.split(), unbuffered=unbuffered)
    assert errors == ""
    assert code in (0, 1)


def test_a_check_that_nobody_reads_leaves_no_cluster_behind(
    campaign_file: WriteFile, tmp_path: Path
) -> None:
    file = str(campaign_file(compute={"workers": 1}))
    code, errors = without_a_reader(tmp_path, "check", file, unbuffered="1")
    assert errors == ""
    assert code in (0, 1)
