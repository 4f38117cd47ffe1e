"""The stand-in for pw.x that tests of campaigns run: as true to the real one as they need."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.espresso import DEBIAN_PSEUDOPOTENTIALS, EspressoEngine

HERE = Path(__file__).parents[2] / "plugins" / "stand_in_pw"
STAND_IN = f"{sys.executable} {HERE / 'stand_in_pw.py'}"
SETTINGS = {"pseudopotentials": {"Cu": "Cu.UPF", "Au": "Au.UPF"}, "ecutwfc": 12, "kspacing": 1.0}


def disturbed() -> Atoms:
    atoms: Atoms = bulk("CuAu", "cesiumchloride", a=3.0) * (2, 1, 1)
    atoms.positions[1] += 0.1
    return atoms


def stand_in(atoms: Atoms, folder: Path) -> BaseCalculator:
    site = EngineSite(command=STAND_IN, pseudopotentials=HERE / "pseudo")
    return EspressoEngine(SETTINGS, site).calculator(atoms, folder)


def test_its_forces_and_stress_are_the_derivatives_of_its_energy(tmp_path: Path) -> None:
    atoms = disturbed()
    atoms.calc = stand_in(atoms, tmp_path)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    by_hand = calculate_numerical_forces(atoms, eps=1e-3)
    assert forces == pytest.approx(by_hand, abs=1e-3)
    by_hand = calculate_numerical_stress(atoms, eps=1e-4)
    assert stress == pytest.approx(by_hand, abs=1e-4)
    assert np.abs(forces).max() > 0.1


@pytest.mark.espresso
@pytest.mark.skipif(
    shutil.which("pw.x") is None or not DEBIAN_PSEUDOPOTENTIALS.is_dir(),
    reason="needs pw.x and Debian's quantum-espresso-data",
)
def test_every_line_that_it_prints_is_one_that_pw_prints(tmp_path: Path) -> None:
    atoms = bulk("Cu")
    settings = {
        "pseudopotentials": {"Cu": "Cu.pz-d-rrkjus.UPF"}, "ecutwfc": 12, "kpts": [1, 1, 1]
    }  # fmt: skip
    lines = {}
    for name, command in (("real", "pw.x"), ("stand-in", STAND_IN)):
        site = EngineSite(command=command, pseudopotentials=DEBIAN_PSEUDOPOTENTIALS)
        atoms.calc = EspressoEngine(settings, site).calculator(atoms, tmp_path / name)
        atoms.get_stress()
        lines[name] = masked((tmp_path / name / "espresso.pwo").read_text())
    assert lines["stand-in"] - lines["real"] == set()
    assert len(lines["stand-in"]) > 30


@pytest.mark.espresso
@pytest.mark.skipif(shutil.which("pw.x") is None, reason="needs pw.x")
@pytest.mark.parametrize(
    ("old", "new"),
    [("nspin ", "nspinn"), ("Cu.UPF", "No.UPF")],
)
def test_it_refuses_what_pw_refuses_in_the_same_words(tmp_path: Path, old: str, new: str) -> None:
    atoms = bulk("Cu")
    atoms.calc = stand_in(atoms, tmp_path)
    atoms.get_potential_energy()
    wrong = (tmp_path / "espresso.pwi").read_text().replace(old, new, 1)
    (tmp_path / "wrong.pwi").write_text(re.sub(r"&(FCP|RISM)\n/\n", "", wrong))
    said, crash = {}, {}
    for command in ("pw.x", STAND_IN):
        ran = subprocess.run(
            [*command.split(), "-in", "wrong.pwi"], cwd=tmp_path, capture_output=True, text=True
        )
        assert ran.returncode == 1
        said[command] = words(ran.stdout.split("%" * 78)[1])
        crash[command] = words((tmp_path / "CRASH").read_text())
    assert said["pw.x"] == said[STAND_IN]
    assert crash["pw.x"] == crash[STAND_IN]


def words(text: str) -> list[str]:
    """The words of an error; pw.x looks for files in more than one folder."""
    return re.sub(r"/\S+/", "", text).split()


def masked(text: str) -> set[str]:
    """The lines of an output without their numbers and gaps."""
    bare = (re.sub(r"[-+\d.:]+|\s+|[A-Z][a-z]{2}(?=2026)", "", line) for line in text.splitlines())
    return {line for line in bare if line}
