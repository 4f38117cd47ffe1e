"""A newcomer follows the README, line by line, on a smaller pool."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LINES = re.findall(
    r"^leadline ([^#\n]+)",
    README.partition("## Your own alloy")[2].partition("\n## ")[0],
    re.MULTILINE,
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_line_of_the_walk_through_does_what_is_said(
    leadline: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    printed = {}
    for line in LINES:
        process = leadline(*shlex.split(line))
        out, err = process.communicate()
        assert process.returncode == 0, f"leadline {line}\n{out}{err}"
        printed[line.strip()] = out
        if line.startswith("init"):
            file = tmp_path / "cu-pd.yaml"
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace("[Cu, Au]", "[Cu, Pd]").replace("atoms: 8", "atoms: 4"))

    assert "It can run." in printed["check cu-pd.yaml --try-one"]
    assert "found" in printed["run cu-pd.yaml"]
    told = printed["show cu-pd Cu3Pd"]
    if "`leadline show cu-pd ID` tells all of one" in told:
        told = leadline("show", "cu-pd", told.splitlines()[1].split()[0]).communicate()[0]
    assert "picked because" in told
    assert (tmp_path / "cu-pd.extxyz").is_file()
