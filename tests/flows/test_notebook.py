"""The notebook of ``deploy/notebooks`` runs as it stands beside a process that serves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DEPLOYMENT = "cu-au"
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("serving")
def test_the_notebook_runs_from_its_first_cell_to_its_last(
    tmp_path: Path,
) -> None:
    shutil.copytree(ROOT / "deploy/campaigns", tmp_path / "campaigns")
    (tmp_path / "notebooks").mkdir()
    book = nbformat.read(ROOT / "deploy/notebooks/trigger.ipynb", as_version=4)
    client = NotebookClient(
        book, timeout=1200, resources={"metadata": {"path": str(tmp_path / "notebooks")}}
    )
    client.execute(env=os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    shown = [output for cell in book.cells for output in cell.get("outputs", [])]
    words = [each.data["text/plain"] for each in shown if "data" in each]
    assert any("stopped: The budget is spent: 16 of 16 calculations." in each for each in words)
    tables = [each.data["text/html"] for each in shown if "text/html" in each.get("data", {})]
    assert len(tables) == 2
    assert any("image/png" in each.get("data", {}) for each in shown)
