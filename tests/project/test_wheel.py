"""What `pip install` brings: the tree, all of it, and nothing beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("flows", "tasks", "surrogate", "deploy")
SHIPPED = {".py", ".yaml", ".html", ".css", ".typed"}


def in_the_tree() -> set[str]:
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.suffix in SHIPPED or path.name == "py.typed"
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy, so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for room in ROOMS:
        shutil.copytree(
            ROOT / room, folder / "source" / room, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*build, str(folder / "source")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_module_and_every_data_file_of_the_tree_is_in_the_wheel(
    wheel: zipfile.ZipFile,
) -> None:
    shipped = {name.removeprefix("leadline/") for name in wheel.namelist()}
    assert sorted(in_the_tree() - shipped) == []


def test_the_wheel_holds_nothing_but_the_tree(wheel: zipfile.ZipFile) -> None:
    own = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert sorted(own - {f"leadline/{name}" for name in in_the_tree()}) == []


def test_the_wheel_brings_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    (points,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    assert b"leadline = leadline.flows.cli:main" in wheel.read(points)
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())
