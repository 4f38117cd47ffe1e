"""ABINIT for real where it is installed, and every other end played by a script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.engines.abinit import AbinitEngine
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.program import BrokenOutputError
from leadline.tasks.engines.table import engine_settings
from leadline.tasks.errors import ConfigurationError, SpecError

Computed = Callable[..., Result]
Play = Callable[[str], Result]

NEEDS_ABINIT = pytest.mark.skipif(
    shutil.which("abinit") is None or not (find_spec("sparc") or os.environ.get("ABINIT_PP_PATH")),
    reason="needs abinit, and the psp8 files of the extra abinit",
)
SILICON: dict[str, Any] = {
    "pseudopotentials": {"Si": "14_Si_4_1.9_1.9_pbe_n_v1.0.psp8"},
    "ecut": 8,
    "kpts": [2, 2, 2],
    "smearing": "gaussian",
}
GOLDEN = -226.893845038907
"""eV of two atoms at a = 5.43 Å, by ABINIT 9.6.2 from an input written by hand.

acell 3*5.43 Angstrom, ecut 8, ecutsm 0.5, ngkpt 2 2 2, shiftk 0 0 0, occopt 7, tsmear 0.01,
nband 10, toldfe 1d-10; all else by default.
"""
PSP8 = "Cu by hand\n 29.0 11.0 260101 zatom,zion,pspd\n 8 11 2 4 600 0 pspcod,pspxc\n"


@NEEDS_ABINIT
def test_silicon_has_its_golden_energy(computed: Computed) -> None:
    result = computed("abinit", SILICON, bulk("Si", a=5.43))
    assert result.complete, result.failure
    assert result.energy == pytest.approx(GOLDEN, abs=1e-4)
    assert result.properties["largest_force"] < 1e-3
    assert result.properties["scf_iterations"] > 3
    assert result.versions["abinit"][0].isdigit()


@NEEDS_ABINIT
@pytest.mark.parametrize("smearing", ["none", "gaussian"])
def test_the_gap_of_silicon_is_that_of_pbe_and_indirect(smearing: str, computed: Computed) -> None:
    gap = {"name": "band_gap", "settings": {}}
    result = computed("abinit", {**SILICON, "smearing": smearing}, bulk("Si", a=5.43), recipe=gap)
    assert result.complete, result.failure
    # From Γ to X on this mesh, 0.6 to 0.7 eV; the direct one of PBE at Γ is 2.5 eV.
    assert result.properties["band_gap"] == pytest.approx(0.65, abs=0.1)
    assert result.properties["direct_band_gap"] == pytest.approx(2.5, abs=0.15)
    assert result.properties["scf_iterations"] > 3
    assert result.energy == pytest.approx(GOLDEN, abs=0.02 if smearing == "none" else 1e-4)


@NEEDS_ABINIT
def test_a_magnet_keeps_the_moments_of_its_structure(computed: Computed) -> None:
    iron = {
        "pseudopotentials": {"Fe": "26_Fe_16_2.0_2.5_pbe_n_v1.0.psp8"},
        "ecut": 15,
        "kpts": [2, 2, 2],
        "nsppol": 2,
        "toldfe": 1e-6,
    }
    result = computed("abinit", iron, bulk("Fe", a=2.8), moments=[2.2])
    assert result.complete, result.failure
    assert result.properties["total_magnetization"] > 1.0


@NEEDS_ABINIT
@pytest.mark.parametrize(
    ("changes", "shift", "kind", "reason", "words"),
    [
        ({"nstep": 3}, 1.0, "physics", "scf-not-converged", "not enough SCF cycles"),
        ({}, 1e-7, "physics", "atoms-overlap", "the same point"),
        ({"extra": {"nstpe": 3}}, 1.0, "configuration", "bad-input", "NSTPE"),
        ({"extra": {"nspden": 7}}, 1.0, "configuration", "bad-input", "nspden"),
    ],
)
def test_every_failure_of_abinit_has_its_kind_and_no_energy(
    changes: Mapping[str, Any], shift: float, kind: str, reason: str, words: str, computed: Computed
) -> None:
    silicon = bulk("Si", a=5.43)
    silicon.positions[1] *= shift
    result = computed("abinit", {**SILICON, **changes}, silicon)
    failed(result, kind, reason)
    assert result.failure is not None
    assert words in result.failure.message


@NEEDS_ABINIT
def test_every_rung_of_the_ladder_gives_the_answer(computed: Computed, tmp_path: Path) -> None:
    engine = AbinitEngine(SILICON, EngineSite())
    energies = []
    for reason, attempt in (("scf-not-converged", 3), ("symmetry", 1)):
        rung = engine.remedies(Failure(FailureKind.PHYSICS, reason, ""), attempt)
        silicon = bulk("Si", a=5.43)
        changed = AbinitEngine({**SILICON, **(rung or {})}, EngineSite())
        silicon.calc = changed.calculator(silicon, tmp_path / reason)
        energies.append(silicon.get_potential_energy())
    assert energies == pytest.approx([GOLDEN] * 2, abs=1e-4)


@NEEDS_ABINIT
def test_abinit_stops_by_itself_before_it_would_be_ended(computed: Computed) -> None:
    # Even 1e-40 is reached, once no digit changes: with this mesh long after the limit.
    endless = {**SILICON, "toldfe": 1e-40, "nstep": 100_000, "kpts": [10, 10, 10]}
    result = computed("abinit", endless, bulk("Si", a=5.43), time_limit=3.0)
    failed(result, "remote", "walltime")


def failed(result: Result, kind: str, reason: str) -> None:
    assert not result.complete
    assert result.energy is None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (kind, reason), result.failure.message


COPPER = {"pseudopotentials": {"Cu": "Cu.psp8"}, "ecut": 20, "kspacing": 0.5}
GOOD = """\
.Version 9.6.2 of ABINIT
 -outvars: echo values of preprocessed input variables --------
            natom           1
             nkpt           1
            nband           9
           ntypat           1
            rprim      0.0000000000E+00  1.8000000000E+00  1.8000000000E+00
                       1.8000000000E+00  0.0000000000E+00  1.8000000000E+00
                       1.8000000000E+00  1.8000000000E+00  0.0000000000E+00
            typat      1
            znucl       29.00000
================================================================================
 At SCF step    8, etot is converged :
 ----iterations are completed or convergence reached----
 cartesian coordinates (angstrom) at end:
    1      0.00000000000000     0.00000000000000     0.00000000000000
 cartesian forces (eV/Angstrom) at end:
    1      0.00000000000000     0.00000000000000     0.00000000000000
--- !EnergyTerms
total_energy        : -1.80000000000000E+02
total_energy_eV     : -4.89805089275000E+03
...
 Cartesian components of stress tensor (hartree/bohr^3)
  sigma(1 1)= -1.00000000E-04  sigma(3 2)=  0.00000000E+00
  sigma(2 2)= -1.00000000E-04  sigma(3 1)=  0.00000000E+00
  sigma(3 3)= -1.00000000E-04  sigma(2 1)=  0.00000000E+00
== END DATASET(S) ==============================================================
 Calculation completed.
"""


@pytest.fixture
def play(tmp_path: Path, computed: Computed) -> Play:
    """Compute copper with an ABINIT that does what a shell script says."""
    (tmp_path / "Cu.psp8").write_text(PSP8)
    (tmp_path / "good.abo").write_text(GOOD)

    def run(script: str) -> Result:
        program = tmp_path / "abinit"
        program.write_text(f"#!/bin/sh\ngood={tmp_path}/good.abo\n{script}\n")
        program.chmod(0o755)
        site = {"command": str(program), "version": "9.6.2", "pseudopotentials": str(tmp_path)}
        return computed("abinit", COPPER, bulk("Cu"), site=site)

    return run


def test_a_whole_output_is_an_answer(play: Play) -> None:
    result = play("cp $good abinit.abo")
    assert result.complete, result.failure
    assert result.energy == pytest.approx(-4898.05089275)
    assert result.properties["residual_pressure"] == pytest.approx(2.942, abs=1e-3)
    assert result.properties["scf_iterations"] == 8


def error(source: str, message: str) -> str:
    block = f"--- !ERROR\\nsrc_file: {source}\\nmessage: |\\n    {message}\\n..."
    return f"printf -- '{block}\\n'; exit 14"


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ("true", "remote", "output-cut-short"),
        ("head -c 900 $good > abinit.abo", "remote", "output-cut-short"),
        ("sed '/is converged/d' $good > abinit.abo", "remote", "output-cut-short"),
        ("sed 's/ At SCF.*/ nstep= 50 was not enough SCF cycles to converge;/' $good > abinit.abo",
         "physics", "scf-not-converged"),
        ("cp $good abinit.abo; echo 'nstep 50 was not enough SCF cycles to converge.'", "physics",
         "scf-not-converged"),
        ("sed 's/-4.898/*.***/' $good > abinit.abo", "physics", "output-unreadable"),
        ("sed 's/-4.89805089275000E+03/NaN/' $good > abinit.abo", "physics", "not-finite"),
        ("echo 'Approaching time limit  3.00 [s].'", "remote", "walltime"),
        (error("m_sygrp.F90", "the symmetry operation is not found"), "physics", "symmetry"),
        (error("m_lobpcg2.F90", "hegv failed"), "physics", "diagonalization"),
        (error("m_pspheads.F90", "Fortran open returned"), "configuration", "pseudopotential"),
        (error("m_new.F90", "something"), "physics", "engine-error"),
        ("exit 14", "remote", "engine-exit"),
        ("kill -KILL $$", "remote", "engine-killed"),
        ("kill -SEGV $$", "physics", "engine-crashed"),
        ("exit 127", "configuration", "binary-missing"),
        ("echo 'No space left on device' >&2; exit 14", "remote", "disk-full"),
    ],
)  # fmt: skip
def test_every_other_end_has_its_kind_and_no_energy(
    play: Play, script: str, kind: str, reason: str
) -> None:
    failed(play(script), kind, reason)


def test_an_output_of_an_earlier_run_is_not_read_again(play: Play) -> None:
    assert play("cp $good abinit.abo").complete
    failed(play("true"), "remote", "output-cut-short")


def test_every_setting_reaches_the_input(tmp_path: Path, play: Play) -> None:
    settings = {
        **COPPER, "ecutsm": 0.4, "smearing": "fermi-dirac", "tsmear": 0.02, "nsppol": 2,
        "initial_moments": {"Cu": 0.5}, "toldfe": 1e-8, "nstep": 33, "bands": 2.0, "diemac": 12,
        "diemix": 0.3, "iscf": 3, "wfoptalg": 14, "nline": 6, "symmetry": False,
        "extra": {"dilatmx": 1.1},
    }  # fmt: skip
    site = EngineSite(command="true", version="9", pseudopotentials=tmp_path)
    atoms: Atoms = bulk("Cu", cubic=True)
    atoms.info["charge"] = 1.0
    atoms.calc = AbinitEngine(settings, site).calculator(atoms, tmp_path / "run")
    with pytest.raises(BrokenOutputError):
        atoms.get_potential_energy()
    lines = set((tmp_path / "run" / "abinit.in").read_text().splitlines())
    assert {
        "ecut 20.0", "ecutsm 0.4", "occopt 3", "tsmear 0.02", "nsppol 2", "toldfe 4e-08",
        "nstep 33", "nband 47", "diemac 12.0", "diemix 0.3", "iscf 3", "wfoptalg 14", "nline 6",
        "nsym 1", "dilatmx 1.1", "cellcharge 1.0", "ngkpt 4 4 4", "typat 1 1 1 1",
        "spinat " + " ".join(["0.0 0.0 0.5"] * 4), 'pseudos "Cu.psp8"',
    } <= lines  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extra": {"ecut": 3}}, "ecut is set by leadline"),
        ({"extra": {"ionmov": 2}}, "ionmov is set by leadline"),
        ({"extra": {"pp_dirpath": 1}}, "pp_dirpath is set by leadline"),
        ({"extra": {"ecut 3\nnstep": 3}}, "no plain lower-case variable"),
        ({"extra": {"boxcutmin": float("inf")}}, "not finite"),
        ({"pseudopotentials": {"Cu": "../Cu.psp8"}}, "without a folder"),
        ({"initial_moments": {"Cu": 1.0}}, "needs nsppol: 2"),
        ({"kpts": [2, 2, 2]}, "either kspacing (1/Å) or kpts"),
    ],
)
def test_what_would_go_wrong_is_refused_at_the_door(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as refusal:
        engine_settings("abinit", {**COPPER, **changes})
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PSP8.replace("29.0", "79.0"), "is made for Au"),
        (PSP8.replace(" 8 11", " 6 11"), "no psp8 pseudopotential"),
        ("", "no psp8 pseudopotential"),
    ],
)
def test_a_wrong_pseudopotential_is_refused(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "Cu.psp8").write_text(content)
    site = EngineSite(version="9.6.2", pseudopotentials=tmp_path)
    with pytest.raises(ConfigurationError, match=words):
        AbinitEngine(COPPER, site).check(frozenset({"Cu"}))


def test_mixed_functionals_are_refused_before_anything_is_submitted(tmp_path: Path) -> None:
    (tmp_path / "Cu.psp8").write_text(PSP8)
    (tmp_path / "Au.psp8").write_text(PSP8.replace("29.0", "79.0").replace("8 11", "8 7"))
    mixed = {**COPPER, "pseudopotentials": {"Cu": "Cu.psp8", "Au": "Au.psp8"}}
    engine = AbinitEngine(mixed, EngineSite(version="9.6.2", pseudopotentials=tmp_path))
    with pytest.raises(ConfigurationError, match=r"mixes functionals: .*LDA.*PBE|PBE.*LDA"):
        engine.check(frozenset({"Cu", "Au"}))


def test_the_files_of_the_wheel_are_found_without_loading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ABINIT_PP_PATH", raising=False)
    wheel = tmp_path / "sparc"
    (wheel / "psp").mkdir(parents=True)
    (wheel / "__init__.py").write_text("raise RuntimeError('loaded')")
    (wheel / "psp" / "Cu.psp8").write_text(PSP8)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert AbinitEngine(COPPER, EngineSite(version="9.6.2")).check(frozenset({"Cu"})) == []


@pytest.mark.skipif(find_spec("sparc") is not None, reason="the extra abinit is installed")
def test_without_a_folder_of_pseudopotentials_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ABINIT_PP_PATH", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'leadline\[abinit\]'"):
        AbinitEngine(COPPER, EngineSite(version="9.6.2")).check(frozenset({"Cu"}))


@pytest.mark.parametrize(("command", "words"), [("no-such-abinit", "abinit"), ("cat", "answer")])
def test_a_machine_without_abinit_says_so(command: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        AbinitEngine(COPPER, EngineSite(command=command)).version()


def test_remedies_climb_a_ladder_of_path_keys_and_end() -> None:
    engine = AbinitEngine(COPPER, EngineSite(version="9.6.2"))
    for reason in ("scf-not-converged", "diagonalization", "electrons", "symmetry"):
        rungs = [
            engine.remedies(Failure(FailureKind.PHYSICS, reason, ""), attempt)
            for attempt in range(1, 6)
        ]
        climbed = [rung for rung in rungs if rung is not None]
        assert climbed
        assert rungs[-1] is None
        for rung in climbed:
            assert set(rung) <= engine.path_keys
            AbinitEngine({**COPPER, **rung}, EngineSite(version="9.6.2"))
