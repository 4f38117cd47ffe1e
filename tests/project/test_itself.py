"""The project speaks of itself alone, and its parts agree with each other."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = {".py", ".md", ".yaml", ".toml", ".html", ".css", ".json", ""}
MACHINE_PATH = re.compile(r"""(?<![\w.$}~/-])/(work|root|home|mnt|Users|data/scratch)(/|\b)""")
REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted|files\.python|conda\.anaconda", re.IGNORECASE)


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no clone: git lists no files")
    own = str(Path(__file__).relative_to(ROOT))
    paths = (ROOT / name for name in done.stdout.splitlines() if name != own)
    return [path for path in paths if path.is_file() and path.suffix in TEXT]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_names_a_folder_of_somebody_s_machine() -> None:
    assert lines_with(MACHINE_PATH) == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert lines_with(REGISTRY_HOST) == []


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    names = tomllib.loads(text)["project"]["dependencies"]
    reasons = re.findall(r'^  "([^"]+)",\s+# \S', block, re.MULTILINE)
    assert sorted(reasons) == sorted(names)


def test_the_changelog_tells_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
