"""Who imports whom: rules on paper, and what a process has really loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("flows", "tasks", "surrogate", "deploy")
HEAVY = ("prefect", "mongoengine", "mongomock_ng", "torch", "gpytorch", "botorch")


def modules(folder: str) -> list[str]:
    return sorted(
        ".".join(("leadline", *path.relative_to(ROOT).with_suffix("").parts))
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    )


def loaded_by(names: list[str]) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after these imports."""
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", script, *names],
        capture_output=True,
        text=True,
        check=True,
        env=plain,
    )
    return set(done.stdout.split())


def test_imports_go_one_way() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"leadline.tasks.compute.{name}"], id=name)
        for name in ("worker", "local_worker", "guardian", "nursery")
    ]
    + [pytest.param(modules(folder), id=folder) for folder in ("tasks/engines", "tasks/recipes")],
)
def test_what_runs_on_a_worker_loads_neither_prefect_nor_a_database_nor_torch(
    names: list[str],
) -> None:
    assert loaded_by(names).isdisjoint(HEAVY)


def test_the_mathematics_loads_no_scheduler_and_no_database() -> None:
    loaded = loaded_by(modules("surrogate"))
    assert loaded.isdisjoint({"prefect", "dask", "distributed", "mongoengine", "mongomock_ng"})


def test_the_command_line_answers_before_anything_heavy_is_loaded() -> None:
    loaded = loaded_by(["leadline.flows.cli"])
    assert loaded.isdisjoint({*HEAVY, "numpy", "pydantic", "pymatgen", "ase", "yaml", "dask"})


def test_every_package_file_is_empty() -> None:
    first = ROOT / "flows" / "__init__.py"  # sets what Prefect reads when any module loads it
    files = [path for room in ROOMS for path in (ROOT / room).rglob("__init__.py") if path != first]
    assert len(files) >= 10
    assert [str(path.relative_to(ROOT)) for path in files if path.read_bytes()] == []


def test_who_reads_where_a_campaign_stands_waits_for_no_heavy_import() -> None:
    assert not loaded_by(["leadline.flows.telling"]) & {"torch", "prefect", "distributed"}
