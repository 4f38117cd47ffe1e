"""Campaigns over finished data sets, and results that people already have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import pytest

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

pytestmark = pytest.mark.usefixtures("served")
Command = Callable[..., "Said"]
SAMPLE = Path(__file__).parents[1] / "data" / "cuagau_fcc" / "dataset.extxyz.gz"
SOURCE = {"source": "dataset", "path": str(SAMPLE), "geometry": "ideal", "id_key": "id"}


def status(command: Command, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("status", name, "--json").out)
    return found


def test_a_property_is_minimised_over_a_data_set_without_energies(
    command: Command, campaign_file: WriteFile
) -> None:
    file = campaign_file(
        "above",
        candidates=[SOURCE],
        engine={
            "name": "replay",
            "path": str(SAMPLE),
            "properties": {"above_hull": "e_above_hull"},
        },
        objective={"kind": "property", "property": "above_hull", "threshold": 0.001},
        stop={"calculations": 16, "expected_missed": None},
    )
    assert command("run", file).code == 0
    found = status(command, "above")
    assert (found["state"], found["computed"]) == ("stopped", 16)
    assert all(each["value"] <= 0.001 for each in found["found"])
    assert command("report", "above").code == 0
    refused = command("export", "above", "--format", "json")
    assert (refused.code, "nothing to export" in refused.err) == (2, True)


def test_a_hull_is_found_over_a_data_set_with_energies(
    command: Command, campaign_file: WriteFile
) -> None:
    file = campaign_file(
        "hull",
        candidates=[SOURCE],
        engine={"name": "replay", "path": str(SAMPLE), "energy_key": "energy_ev"},
        stop={"calculations": 12, "expected_missed": None},
    )
    said = command("run", file)
    assert said.code == 0, said.err
    assert status(command, "hull")["computed"] == 12


def test_results_of_one_campaign_are_taken_in_by_another(
    command: Command, campaign_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("run", campaign_file("giver"))
    command("export", "giver", "--out", "giver.extxyz")
    monkeypatch.setenv("LEADLINE_STORE", str(tmp_path / "other"))
    file = campaign_file("taker", stop={"calculations": 4, "expected_missed": None})
    wrong = command("import", file, "giver.extxyz", "--fingerprint", "0123456789abcdef")
    assert wrong.code == 2
    assert "fingerprint: is '0123456789abcdef', this campaign's engine has" in wrong.err
    taken = command("import", file, "giver.extxyz", "--fingerprint", "same")
    assert taken.out == (
        "Imported 14 results from giver.extxyz, 14 of them candidates of the pool\n"
    )
    again = command("import", file, "giver.extxyz", "--fingerprint", "same")
    assert again.out == "giver.extxyz was imported before; nothing was changed\n"
    said = command("run", file)
    assert said.code == 0, said.err
    engines = (tmp_path / "other" / "calculations" / "engines.log").read_text().splitlines()
    assert len(engines) == 2 * 4
    found = status(command, "taker")
    assert (found["computed"], found["pool"]) == (4, 29)
    assert {each["formula"] for each in found["found"]}


def test_known_results_in_the_file_are_labels_from_the_start(
    command: Command, campaign_file: WriteFile, tmp_path: Path
) -> None:
    command("run", campaign_file("giver"))
    command("export", "giver", "--out", "giver.extxyz")
    frames: list[Any] = list(ase.io.iread(tmp_path / "giver.extxyz"))
    frames[3].calc.results["energy"] = float("nan")
    ase.io.write(tmp_path / "known.extxyz", frames)
    known = [{"path": "known.extxyz", "fingerprint": "same"}]
    file = campaign_file(
        "taker",
        recipe={"name": "relax", "fmax": 0.1},
        start={"random": 4, "known": known},
        stop={"calculations": 4, "expected_missed": None},
    )
    said = command("run", file)
    assert said.code == 0, said.err
    assert "Imported 13 results from known.extxyz" in said.out
    assert "dropped: 1 no finite energy" in said.out
