"""GPAW for real where it is installed, and every other end played by a script."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.gpaw import GpawEngine
from leadline.tasks.engines.table import engine_settings
from leadline.tasks.errors import ConfigurationError, SpecError

Computed = Callable[..., Result]
Play = Callable[[str], Result]

NEEDS_GPAW = pytest.mark.skipif(find_spec("gpaw") is None, reason="needs GPAW: the extra gpaw")
SILICON: dict[str, Any] = {"cutoff": 200, "kpts": [2, 2, 2]}
GOLDEN = -8.23364219
"""Free energy in eV of two atoms at a = 5.43 Å, by GPAW 26.7 from a script written by hand.

``GPAW(mode=PW(200), xc="PBE", kpts={"size": (2, 2, 2), "gamma": True},
occupations={"name": "fermi-dirac", "width": 0.1})``; all else by default.
"""


@NEEDS_GPAW
def test_silicon_has_its_golden_energy(computed: Computed) -> None:
    result = computed("gpaw", SILICON, bulk("Si", a=5.43))
    assert result.complete, result.failure
    assert result.energy == pytest.approx(GOLDEN, abs=1e-4)
    assert result.properties["largest_force"] < 1e-3
    assert result.properties["scf_iterations"] > 3
    assert result.versions["gpaw"][:2].isdigit()
    assert {"raw/gpaw.txt", "raw/gpaw.json", "raw/gpaw_run.py"} <= set(result.files)


@NEEDS_GPAW
def test_the_gap_of_silicon_is_that_of_pbe_and_indirect(computed: Computed) -> None:
    gap = {"name": "band_gap", "settings": {}}
    result = computed("gpaw", SILICON, bulk("Si", a=5.43), recipe=gap)
    assert result.complete, result.failure
    # From Γ to X on this mesh, 0.6 to 0.7 eV; the direct one of PBE at Γ is 2.5 eV.
    assert result.properties["band_gap"] == pytest.approx(0.65, abs=0.1)
    assert result.properties["direct_band_gap"] == pytest.approx(2.5, abs=0.15)
    assert result.energy == pytest.approx(GOLDEN, abs=1e-4)


@NEEDS_GPAW
def test_atoms_may_leave_the_symmetry_of_the_step_before(tmp_path: Path) -> None:
    silicon = bulk("Si", a=5.43)
    silicon.calc = GpawEngine(SILICON, EngineSite()).calculator(silicon, tmp_path)
    symmetric = silicon.get_potential_energy()
    silicon.positions[1] += [0.02, 0.05, 0.0]
    assert silicon.get_potential_energy() > symmetric + 0.005


@NEEDS_GPAW
def test_a_magnet_keeps_the_moments_of_its_structure(computed: Computed) -> None:
    settings = {"cutoff": 250, "kpts": [2, 2, 2], "spinpol": True, "eigenstates_convergence": 1e-5}
    result = computed("gpaw", settings, bulk("Fe", a=2.8), moments=[2.2])
    assert result.complete, result.failure
    assert result.properties["total_magnetization"] > 1.0


@NEEDS_GPAW
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs mpirun")
def test_two_processes_give_the_answer_of_one(
    computed: Computed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
        monkeypatch.setenv(variable, "1")
    site = {"launcher": "mpirun --oversubscribe -np {ranks}", "ranks": 2}
    two = computed("gpaw", SILICON, bulk("Si", a=5.43), site=site)
    assert two.complete, two.failure
    assert re.search(r"cores: +2", (tmp_path / "raw" / "gpaw.txt").read_text())
    assert two.energy == pytest.approx(GOLDEN, abs=1e-4)


@NEEDS_GPAW
@pytest.mark.parametrize(
    ("changes", "shift", "kind", "reason", "words"),
    [
        ({"maxiter": 2}, 1.0, "physics", "scf-not-converged", "KohnShamConvergenceError"),
        ({}, 1e-7, "physics", "atoms-overlap", "too close"),
        ({}, 0.2, "physics", "diagonalization", "not positive definite"),
        ({"xc": "NONSENSE"}, 1.0, "configuration", "bad-input", "Unknown functional: NONSENSE"),
        ({"setups": {"Si": "none"}}, 1.0, "configuration", "no-setup", '"Si.none.PBE"'),
    ],
)
def test_every_failure_of_gpaw_has_its_kind_and_no_energy(
    changes: Mapping[str, Any], shift: float, kind: str, reason: str, words: str, computed: Computed
) -> None:
    silicon = bulk("Si", a=5.43)
    silicon.positions[1] *= shift
    result = computed("gpaw", {**SILICON, **changes}, silicon)
    assert not result.complete
    assert result.energy is None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (kind, reason), result.failure.message
    assert words in result.failure.message


def test_moments_without_spin_are_refused(play: Play, computed: Computed, tmp_path: Path) -> None:
    site = {"version": "26.7", "pseudopotentials": str(tmp_path)}
    result = computed("gpaw", SILICON, bulk("Fe"), moments=[2.0], site=site)
    assert result.failure is not None
    assert result.failure.kind == "configuration"
    assert "spinpol" in result.failure.message


@pytest.fixture
def play(tmp_path: Path, computed: Computed) -> Play:
    """Compute silicon with a Python that does what a shell script says."""
    (tmp_path / "setups").mkdir()
    (tmp_path / "setups" / "Si.PBE.gz").write_bytes(b"a data set")

    def run(script: str) -> Result:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        setups = str(tmp_path / "setups")
        site = {"command": str(program), "version": "26.7", "pseudopotentials": setups}
        return computed("gpaw", SILICON, bulk("Si"), site=site)

    return run


GOOD = {
    "energy": -10.0,
    "forces": [[0.0, 0.0, 0.0]] * 2,
    "stress": [0.0] * 6,
    "numbers": {"total_magnetization": 0.0, "scf_iterations": 12},
}


def leaving(answer: Mapping[str, Any]) -> str:
    return f"echo '{json.dumps(answer)}' > answer.json"


def test_a_whole_answer_is_an_answer(play: Play) -> None:
    result = play(leaving(GOOD))
    assert result.complete, result.failure
    assert (result.energy, result.properties["scf_iterations"]) == (-10.0, 12)


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ("true", "remote", "output-cut-short"),
        (leaving(GOOD)[:60] + "' > answer.json", "remote", "output-cut-short"),
        (leaving({**GOOD, "energy": float("nan")}), "physics", "not-finite"),
        (leaving({"error": ["Odd", "Exception"], "message": ""}) + "; exit 1", "physics",
         "engine-error"),
        (leaving({"error": ["SymmetryBrokenError"], "message": "x"}) + "; exit 1", "physics",
         "symmetry"),
        (leaving(GOOD) + "; kill -KILL $$", "remote", "engine-killed"),
        ("kill -SEGV $$", "physics", "engine-crashed"),
        ("exit 127", "configuration", "binary-missing"),
        ("exit 1", "remote", "engine-exit"),
        ("echo 'No space left on device' >&2; exit 1", "remote", "disk-full"),
        ("echo 'There are not enough slots available' >&2; exit 1", "configuration", "launcher"),
    ],
)  # fmt: skip
def test_every_other_end_has_its_kind_and_no_energy(
    play: Play, script: str, kind: str, reason: str
) -> None:
    result = play(script)
    assert not result.complete
    assert result.energy is None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (kind, reason), result.failure.message


def test_an_answer_of_an_earlier_geometry_is_not_taken_again(play: Play, tmp_path: Path) -> None:
    assert play(leaving(GOOD)).complete
    assert not play("true").complete


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"setups": {"Si": "../Si"}}, "must name a data set"),
        ({"setups": {"Si": "*"}}, "must name a data set"),
        ({"initial_moments": {"Si": 1.0}}, "needs spinpol: true"),
        ({"bands": "many"}, "a share such as '120%'"),
        ({"kspacing": 0.3}, "either kspacing (1/Å) or kpts"),
        ({"cutoff": 0}, "greater than 0"),
        ({"xc": "PBE; import os"}, "engine.xc"),
    ],
)
def test_what_would_go_wrong_is_refused_at_the_door(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as refusal:
        engine_settings("gpaw", {**SILICON, **changes})
    assert words in str(refusal.value)


def test_the_fingerprint_follows_the_content_of_the_data_sets(tmp_path: Path) -> None:
    site = EngineSite(version="26.7", pseudopotentials=tmp_path)
    (tmp_path / "Si.PBE.gz").write_bytes(b"one")
    before = GpawEngine(SILICON, site).fingerprint()
    (tmp_path / "Si.dzp.basis.gz").write_bytes(b"a start for the wavefunctions")
    (tmp_path / "Si.LDA.gz").write_bytes(b"of another functional")
    assert GpawEngine(SILICON, site).fingerprint() == before
    (tmp_path / "Si.PBE.gz").write_bytes(b"two")
    assert GpawEngine(SILICON, site).fingerprint() != before


def test_a_python_without_gpaw_says_what_to_install() -> None:
    bare = EngineSite(command=f"{sys.executable} -I -S")
    with pytest.raises(ConfigurationError, match=r"pip install 'leadline\[gpaw\]'"):
        GpawEngine(SILICON, bare).version()


def test_a_version_without_a_folder_of_data_sets_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="name their folder"):
        GpawEngine(SILICON, EngineSite(version="26.7")).content()


def test_remedies_climb_a_ladder_of_path_keys_and_end() -> None:
    engine = GpawEngine(SILICON, EngineSite(version="26.7"))
    for reason in ("scf-not-converged", "diagonalization", "symmetry", "engine-crashed"):
        failed = Failure(FailureKind.PHYSICS, reason, "")
        rungs = [engine.remedies(failed, attempt) for attempt in range(1, 6)]
        climbed = [rung for rung in rungs if rung is not None]
        assert climbed
        assert rungs[-1] is None
        for rung in climbed:
            assert set(rung) <= engine.path_keys
            GpawEngine({**SILICON, **rung}, EngineSite(version="26.7"))
    assert engine.remedies(Failure(FailureKind.PHYSICS, "atoms-overlap", ""), 1) is None


@NEEDS_GPAW
def test_magnetism_without_a_start_is_doubted() -> None:
    (doubt,) = GpawEngine({**SILICON, "spinpol": True}, EngineSite()).check(frozenset({"Fe"}))
    assert "will come out non-magnetic" in doubt
