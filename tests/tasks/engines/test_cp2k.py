"""CP2K for real where it is installed, and every other end played by a script."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.engines.cp2k import DEBIAN_DATA, Cp2kEngine
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.program import BrokenOutputError
from leadline.tasks.engines.table import engine_settings
from leadline.tasks.errors import ConfigurationError, SpecError

Computed = Callable[..., Result]
Play = Callable[[str], Result]

NEEDS_CP2K = pytest.mark.skipif(
    shutil.which("cp2k") is None or not DEBIAN_DATA.is_dir(),
    reason="needs Debian's cp2k and cp2k-data",
)
HELIUM: dict[str, Any] = {
    "basis_sets": {"He": "DZVP-MOLOPT-SR-GTH"},
    "potentials": {"He": "GTH-PBE-q2"},
    "cutoff": 200,
    "kpts": [1, 1, 1],
}
BASIS = " He DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q2\n 1\n 2 0 1 5 2 1\n      9.8 0.1\n#\n"
POTENTIAL = "#\nHe GTH-PBE-q2 GTH-PBE\n    2\n     0.2    2    -9.1     1.7\n#\nNe GTH-PBE-q8\n"


def failed(result: Result, kind: str, reason: str) -> None:
    assert not result.complete
    assert result.energy is None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (kind, reason), result.failure.message


@NEEDS_CP2K
@pytest.mark.parametrize(
    ("changes", "shift", "kind", "reason", "words"),
    [
        ({"max_scf": 1}, 1.0, "physics", "scf-not-converged", "SCF run NOT converged"),
        ({}, 1e-7, "physics", "atoms-overlap", "GEOMETRY wrong"),
        ({"basis_sets": {"He": "NONE"}}, 1.0, "configuration", "settings",
         "BASIS_MOLOPT has no NONE for He; it has SZV"),
        ({"xc": "BLYP", "potentials": {"He": "NONE"}}, 1.0, "configuration", "settings",
         "GTH_POTENTIALS has no NONE for He"),
    ],
)  # fmt: skip
def test_every_failure_of_cp2k_has_its_kind_and_no_energy(
    changes: Mapping[str, Any], shift: float, kind: str, reason: str, words: str, computed: Computed
) -> None:
    helium = bulk("He", "bcc", a=2.4, cubic=True)
    helium.positions[1] *= shift
    result = computed("cp2k", {**HELIUM, **changes}, helium)
    failed(result, kind, reason)
    assert result.failure is not None
    assert words in result.failure.message


@NEEDS_CP2K
def test_cp2k_stops_by_itself_before_it_would_be_ended(computed: Computed) -> None:
    endless = {**HELIUM, "eps_scf": 1e-40, "max_scf": 100_000}
    result = computed("cp2k", endless, bulk("He", "bcc", a=2.4, cubic=True), time_limit=4.0)
    failed(result, "remote", "walltime")


GOOD = """\
  *** SCF run converged in    10 steps ***
 ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:               -2.500000000000000
 ATOMIC FORCES in [a.u.]
 # Atom   Kind   Element          X              Y              Z
      1      1      He          0.00000000     0.00000000    -0.01000000
 SUM OF ATOMIC FORCES           0.00000000     0.00000001    -0.00000000     0.00000001
 STRESS| Analytical stress tensor [GPa]
 STRESS|                        x                   y                   z
 STRESS|      x        5.00000000000E+00   6.00000000000E+00   7.00000000000E+00
 STRESS|      y        6.00000000000E+00   5.00000000000E+00   8.00000000000E+00
 STRESS|      z        7.00000000000E+00   8.00000000000E+00   5.00000000000E+00
  **** **** ******  **  PROGRAM ENDED AT                 2026-11-24 19:48:22.266
"""
LATER = (
    GOOD.replace("energy [a.u.]:", "energy [hartree]")
    .replace("ATOMIC FORCES in [a.u.]", "FORCES| Atomic forces [hartree/bohr]")
    .replace(" # Atom   Kind   Element          X", " FORCES|   Atom     x")
    .replace("      1      1      He          0.0", " FORCES|      1  0.0")
    .replace("-0.01000000", "-1.00000000E-02  1.00000000E-02")
)


@pytest.fixture
def play(tmp_path: Path, computed: Computed) -> Play:
    """Compute helium with a CP2K that does what a shell script says."""
    (tmp_path / "BASIS_MOLOPT").write_text(BASIS)
    (tmp_path / "GTH_POTENTIALS").write_text(POTENTIAL)
    (tmp_path / "good.out").write_text(GOOD)
    (tmp_path / "later.out").write_text(LATER)

    def run(script: str) -> Result:
        program = tmp_path / "cp2k"
        program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        program.chmod(0o755)
        site = {"command": str(program), "version": "2023.1", "pseudopotentials": str(tmp_path)}
        return computed("cp2k", HELIUM, bulk("He", "fcc", a=3.0), site=site)

    return run


@pytest.mark.parametrize("output", ["good.out", "later.out"])
def test_a_whole_output_is_an_answer(play: Play, output: str) -> None:
    result = play(f"cat {output}")
    assert result.complete, result.failure
    assert result.energy == pytest.approx(-2.5 * 27.211386, abs=1e-4)
    assert result.forces is not None
    assert result.forces[0][2] == pytest.approx(-0.01 * 51.42207, abs=1e-5)
    assert result.stress is not None
    pressures = [-part * 160.21766 for part in result.stress]
    assert pressures == pytest.approx([5, 5, 5, 8, 7, 6], abs=1e-4)
    assert result.properties["scf_iterations"] == 10


def abort(words: str) -> str:
    stars = "*" * 79
    return (
        f"printf ' {stars}\\n *   ___ *\\n * [ABORT] *\\n *  \\\\\\\\___/   {words}  *\\n"
        f" * / \\\\\\\\        input.F:246 *\\n {stars}\\n'; exit 1"
    )


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ("true", "remote", "output-cut-short"),
        ("head -c 500 good.out", "remote", "output-cut-short"),
        ("sed 's/run converged/run finished/' good.out", "remote", "output-cut-short"),
        ("cat good.out; echo '*** WARNING in qs_scf.F:601 :: SCF run NOT converged ***'",
         "physics", "scf-not-converged"),
        ("sed 's/-2.500000000000000/****************/' good.out", "physics", "output-unreadable"),
        ("sed 's/-0.01000000/    NaN    /' good.out", "physics", "output-unreadable"),
        ("sed '/STRESS/d' good.out", "physics", "output-unreadable"),
        ("echo ' *** SCF run terminated - exceeded requested execution time: 3.0 seconds.'",
         "remote", "walltime"),
        (abort("found an unknown keyword MAX_SFC"), "configuration", "bad-input"),
        (abort("GEOMETRY wrong or EMAX_SPLINE too small!"), "physics", "atoms-overlap"),
        (abort("something else"), "physics", "engine-error"),
        ("exit 1", "remote", "engine-exit"),
        ("kill -KILL $$", "remote", "engine-killed"),
        ("kill -SEGV $$", "physics", "engine-crashed"),
        ("exit 127", "configuration", "binary-missing"),
        ("echo 'No space left on device' >&2; exit 1", "remote", "disk-full"),
    ],
)  # fmt: skip
def test_every_other_end_has_its_kind_and_no_energy(
    play: Play, script: str, kind: str, reason: str
) -> None:
    failed(play(script), kind, reason)


def test_the_words_of_an_abort_come_without_their_box(play: Play) -> None:
    failure = play(abort("found an unknown keyword MAX_SFC")).failure
    assert failure is not None
    assert failure.message == "found an unknown keyword MAX_SFC input.F:246"


def test_every_setting_reaches_the_input(tmp_path: Path, play: Play) -> None:
    settings = {
        **HELIUM, "kpts": [2, 3, 4], "rel_cutoff": 70, "xc": "PADE", "electronic_temperature": 500,
        "eps_scf": 1e-6, "eps_default": 1e-10, "max_scf": 33, "mixing": "PULAY_MIXING",
        "alpha": 0.2, "nbuffer": 4, "bands": 2,
    }  # fmt: skip
    helium = bulk("He", "fcc", a=3.0, cubic=True)
    helium.info["charge"] = 2.0
    site = EngineSite(command="true", version="2023.1", pseudopotentials=tmp_path)
    helium.calc = Cp2kEngine(settings, site).calculator(helium, tmp_path / "run")
    with pytest.raises(BrokenOutputError):
        helium.get_potential_energy()
    lines = set((tmp_path / "run" / "cp2k.inp").read_text().splitlines())
    assert {
        "CUTOFF [Ry] 200.0", "REL_CUTOFF [Ry] 70.0", "&XC_FUNCTIONAL PADE", "EPS_SCF 1e-06",
        "EPS_DEFAULT 1e-10", "MAX_SCF 33", "METHOD PULAY_MIXING", "ALPHA 0.2", "NBUFFER 4",
        "ELECTRONIC_TEMPERATURE [K] 500.0", "SCHEME MACDONALD 2 3 4 0 0 0", "CHARGE 2",
        "ADDED_MOS 7", "BASIS_SET DZVP-MOLOPT-SR-GTH", "POTENTIAL GTH-PBE-q2",
        f"POTENTIAL_FILE_NAME {tmp_path}/GTH_POTENTIALS",
    } <= lines  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"basis_sets": {"He": "DZVP\n&END"}}, "one plain word"),
        ({"potentials": {}}, "must name the same elements; He"),
        ({"basis_set_file": "../BASIS"}, "engine.basis_set_file"),
        ({"kspacing": 0.3}, "either kspacing (1/Å) or kpts"),
        ({"xc": "PBE0"}, "engine.xc"),
    ],
)
def test_what_would_go_wrong_is_refused_at_the_door(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as refusal:
        engine_settings("cp2k", {**HELIUM, **changes})
    assert words in str(refusal.value)


def test_the_fingerprint_follows_the_definitions_and_not_the_rest_of_their_files(
    tmp_path: Path, play: Play
) -> None:
    engine = Cp2kEngine(HELIUM, EngineSite(version="2023.1", pseudopotentials=tmp_path))
    before = engine.fingerprint()
    (tmp_path / "GTH_POTENTIALS").write_text(POTENTIAL + "    2 6\n")
    assert engine.fingerprint() == before
    (tmp_path / "GTH_POTENTIALS").write_text(POTENTIAL.replace("-9.1", "-9.2"))
    assert engine.fingerprint() != before


def test_a_structure_with_moments_is_refused(
    play: Play, tmp_path: Path, computed: Computed
) -> None:
    site = {"version": "2023.1", "pseudopotentials": str(tmp_path)}
    result = computed("cp2k", HELIUM, bulk("He", "fcc", a=3.0), moments=[1.0], site=site)
    failed(result, "configuration", "settings")


@pytest.mark.parametrize(
    ("command", "words"), [("no-such-cp2k", "Debian: cp2k"), ("cat", "answer")]
)
def test_a_machine_without_cp2k_says_so(command: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Cp2kEngine(HELIUM, EngineSite(command=command)).version()


def test_remedies_climb_a_ladder_of_path_keys_and_end() -> None:
    engine = Cp2kEngine(HELIUM, EngineSite(version="2023.1"))
    for reason in ("scf-not-converged", "diagonalization", "engine-crashed"):
        failure = Failure(FailureKind.PHYSICS, reason, "")
        rungs = [engine.remedies(failure, attempt) for attempt in range(1, 6)]
        climbed = [rung for rung in rungs if rung is not None]
        assert climbed
        assert rungs[-1] is None
        for rung in climbed:
            assert set(rung) <= engine.path_keys
            Cp2kEngine({**HELIUM, **rung}, EngineSite(version="2023.1"))
