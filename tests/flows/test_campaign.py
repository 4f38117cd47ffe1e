"""Campaigns from their first line to their last, in this process, with real engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymatgen.entries.computed_entries import ComputedStructureEntry

from leadline.flows.campaign import campaign
from leadline.flows.spec import CampaignSpec

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

pytestmark = pytest.mark.usefixtures("served")
Command = Callable[..., "Said"]


def test_from_python_a_campaign_returns_what_it_found(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    monkeypatch.setenv("LEADLINE_STORE", str(store))
    summary = campaign(
        CampaignSpec.model_validate(
            {
                "name": "python",
                "candidates": [
                    {
                        "source": "orderings",
                        "lattice": "fcc",
                        "elements": ["Cu", "Au"],
                        "max_atoms": 3,
                    }
                ],
                "engine": {"name": "emt"},
                "start": {"random": 3},
                "acquisition": {"batch": 3},
                "stop": {"expected_missed": None, "calculations": 6},
                "compute": {"workers": 2},
            }
        )
    )
    assert summary.state == "stopped"
    assert (summary.computed, summary.pool, summary.failed) == (6, 10, 0)
    assert all(isinstance(each, ComputedStructureEntry) for each in summary.entries)
    assert {"Cu", "Au"} <= {each.composition.reduced_formula for each in summary.entries}
    assert len(summary.structures()) == len(summary.entries)


def test_a_campaign_is_run_told_shown_reported_and_exported(
    command: Command, campaign_file: WriteFile, tmp_path: Path
) -> None:
    file = campaign_file(recipe={"name": "relax", "fmax": 0.1})
    ran = command("run", file)
    assert ran.code == 0, ran.err
    assert "Stopped: " in ran.out
    status: dict[str, Any] = json.loads(command("status", "small", "--json").out)
    assert (status["state"], status["computed"], status["pool"]) == ("stopped", 12, 29)
    assert status["found"]
    assert command("status").out.startswith("small: stopped")
    _is_shown(command, status["found"][0])
    page = tmp_path / "page.html"
    assert command("report", "small", "--out", page).code == 0
    assert page.read_text().startswith("<!doctype html>")
    for format_, ending in (("extxyz", ".extxyz"), ("ase-db", ".db"), ("json", ".json")):
        said = command("export", "small", "--format", format_)
        assert said.out == f"Wrote 14 calculations to small{ending}\n"
        assert (tmp_path / f"small{ending}").stat().st_size > 0
    assert command("export", "small", "--format", "cif", "--out", "cifs").code == 0
    assert len(list((tmp_path / "cifs").glob("*.cif"))) == 14
    again = command("run", file)
    assert (again.code, "Stopped: " in again.out) == (0, True)


def _is_shown(command: Command, found: dict[str, Any]) -> None:
    by_structure = command("show", "small", found["structure"][:8]).out
    calculation = next(
        line.split()[1] for line in by_structure.splitlines() if line.startswith("  calculation")
    )
    assert command("show", "small", calculation[:10]).out == by_structure
    assert by_structure in command("show", "small", found["formula"]).out
    unknown = command("show", "small", "Fe7")
    assert (unknown.code, "no structure with id or formula 'Fe7'" in unknown.err) == (2, True)
