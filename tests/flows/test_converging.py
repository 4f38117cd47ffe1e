"""`leadline converge`: settings found by real calculations, and kept as records."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from leadline.tasks.store.records import CalculationState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

Command = Callable[..., "Said"]
SILICON = {
    "candidates": [{"source": "prototypes", "elements": ["Si"], "names": ["A4"]}],
    "engine": {
        "name": "espresso",
        "pseudopotentials": {"Si": "Si.pz-vbc.UPF"},
        "ecutwfc": 10,
        "kspacing": 0.7,
        "smearing": "gaussian",
        "degauss": 0.01,
    },
    "compute": {"workers": 1},
}
STAND_IN = Path(__file__).parents[1] / "plugins" / "stand_in_vasp"
needs_pw = pytest.mark.skipif(
    shutil.which("pw.x") is None or not Path("/usr/share/espresso/pseudo").is_dir(),
    reason="needs pw.x and Debian's quantum-espresso-data",
)


@needs_pw
@pytest.mark.espresso
@pytest.mark.slow
def test_cutoff_and_mesh_of_silicon_are_found_and_hold(
    command: Command, campaign_file: WriteFile, store: Path
) -> None:
    said = command("converge", campaign_file(**SILICON), "--error", "20meV")
    assert said.code == 0, said.err + said.out
    assert "Converging espresso on Si (2 atoms): its total energy" in said.out
    found = said.out.partition("Recommended:\n")[2]
    cutoff, spacing = (float(each) for each in re.findall(r": ([\d.]+)", found))
    assert 8 < cutoff <= 31
    assert 0.1 < spacing < 0.8
    with open_store(None, store, write=False) as opened:
        records = opened.by_state(CalculationState.DONE)
    settings = [each.engine["settings"] for each in records]
    # Far beyond what was found nothing changes by more: the promise that was made.
    finest = max(each["ecutwfc"] for each in settings), min(each["kspacing"] for each in settings)
    assert finest[0] >= cutoff * 1.25**2 * 0.95
    assert finest[1] < spacing
    assert {each.recipe["name"] for each in records} == {"static"}
    again = command("converge", campaign_file(**SILICON), "--error", "20meV")
    assert again.out == said.out


def test_the_cutoff_of_vasp_is_found_inside_of_its_incar(
    command: Command, campaign_file: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("custodian", reason="needs custodian: the extra vasp")
    site = {
        "command": f"{sys.executable} {STAND_IN / 'stand_in_vasp.py'} basis",
        "pseudopotentials": str(STAND_IN / "potentials"),
    }
    profile = {"cluster": {"kind": "local", "dashboard": None}, "engines": {"vasp": site}}
    (tmp_path / "replayed.yaml").write_text(yaml.safe_dump(profile))
    monkeypatch.setenv("LEADLINE_PROFILES", str(tmp_path))
    file = campaign_file(
        candidates=[{"source": "orderings", "lattice": "fcc", "elements": ["Cu"], "max_atoms": 1}],
        engine={
            "name": "vasp",
            "user_incar_settings": {"ENCUT": 300, "ISMEAR": 1, "SIGMA": 0.1},
            "user_potcar_settings": {"Cu": "Cu"},
            "kspacing": 1.0,
        },
        compute={"workers": 1, "profile": "replayed"},
    )
    said = command("converge", file, "--error", "5meV")
    assert said.code == 0, said.err + said.out
    assert "ENCUT (eV)" in said.out
    found = yaml.safe_load(said.out.partition("Recommended:\n")[2])["engine"]
    # 1 eV exp(-ENCUT / 60 eV) is what the stand-in's basis lacks: 5 meV at 318 eV.
    assert 240 < found["user_incar_settings"]["ENCUT"] <= 375
    assert set(found) == {"user_incar_settings", "kspacing"}
    assert set(found["user_incar_settings"]) == {"ENCUT"}


def test_an_engine_without_such_settings_is_refused(
    command: Command, campaign_file: WriteFile
) -> None:
    said = command("converge", campaign_file())
    assert said.code == 2
    assert "the engine emt has no setting here that converges" in said.err


@pytest.mark.parametrize("error", ["0", "-1meV", "1 Ry", "much"])
def test_an_error_that_is_no_energy_is_refused(
    command: Command, campaign_file: WriteFile, error: str
) -> None:
    said = command("converge", campaign_file(), f"--error={error}")
    assert said.code == 2
    assert f"--error: found {error!r}" in said.err


@needs_pw
@pytest.mark.espresso
def test_a_candidate_that_is_not_there_is_named_with_those_that_are(
    command: Command, campaign_file: WriteFile
) -> None:
    said = command("converge", campaign_file(**SILICON), "--candidate", "GaAs")
    assert said.code == 2
    assert "no candidate of the pool has the formula 'GaAs'" in said.err
    assert "its formulas begin with Si" in said.err
