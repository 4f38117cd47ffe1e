"""What leadline makes of every way in which pw.x can end, played by a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.engines.compute import compute
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.espresso import EspressoEngine

Play = Callable[[str], Result]

UPF = (
    '<UPF version="2.0.1"><PP_HEADER element="Cu" pseudo_type="NC" functional="PBE" '
    'z_valence="11.0" wfc_cutoff="0.0" rho_cutoff="0.0"/></UPF>'
)
SETTINGS = {"pseudopotentials": {"Cu": "Cu.UPF"}, "ecutwfc": 30, "kspacing": 0.5}
GOOD = """\
     Program PWSCF v.6.7MaX starts
     bravais-lattice index     =            0
     lattice parameter (alat)  =       4.8240  a.u.
     number of atoms/cell      =            1
     number of atomic types    =            1
     celldm(1)=   4.824000  celldm(2)=   0.000000  celldm(3)=   0.000000
     crystal axes: (cart. coord. in units of alat)
               a(1) = (   0.000000   0.707107   0.707107 )
               a(2) = (   0.707107   0.000000   0.707107 )
               a(3) = (   0.707107   0.707107   0.000000 )
     site n.     atom                  positions (alat units)
         1           Cu  tau(   1) = (   0.0000000   0.0000000   0.0000000  )
!    total energy              =     -87.80000000 Ry
     convergence has been achieved in   6 iterations
     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.00000000    0.00000000    0.00000000

     total   stress  (Ry/bohr**3)                   (kbar)     P=      -14.71
  -0.00010000   0.00000000   0.00000000          -14.71        0.00        0.00
   0.00000000  -0.00010000   0.00000000            0.00      -14.71        0.00
   0.00000000   0.00000000  -0.00010000            0.00        0.00      -14.71

   JOB DONE.
"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Compute copper with a pw.x that does what a shell script says."""
    (tmp_path / "Cu.UPF").write_text(UPF)
    (tmp_path / "good.pwo").write_text(GOOD)

    def compute_with(script: str) -> Result:
        program = tmp_path / "pw.x"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return compute(_request(tmp_path, str(program)), tmp_path / "attempt")

    return compute_with


def _request(folder: Path, command: str) -> Request:
    atoms = bulk("Cu")
    return Request(
        calculation="c",
        attempt=1,
        structure_id="s",
        structure={
            "lattice": atoms.cell.array.tolist(),
            "species": ["Cu"],
            "coords": [[0.0, 0.0, 0.0]],
        },
        engine={"name": "espresso", "settings": SETTINGS},
        recipe={"name": "static", "settings": {}},
        site={"command": command, "pseudopotentials": str(folder), "version": "6.7"},
        folder="",
    )


def test_a_whole_output_is_an_answer(play: Play) -> None:
    result = play('cat "$(dirname "$0")/good.pwo"')
    assert result.complete, result.failure
    assert result.energy == pytest.approx(-87.8 * 13.605693, abs=1e-3)
    assert result.properties["residual_pressure"] == pytest.approx(-1.471, abs=1e-3)
    assert result.properties["scf_iterations"] == 6


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ('head -c 900 "$(dirname "$0")/good.pwo"', "remote", "output-cut-short"),
        ("true", "remote", "output-cut-short"),
        ("head -c 2000 /dev/urandom", "remote", "output-cut-short"),
        ('sed "s/-87.80000000/**********/" "$(dirname "$0")/good.pwo"', "physics",
         "output-unreadable"),
        ('sed "s/-87.80000000/NaN/" "$(dirname "$0")/good.pwo"', "physics", "not-finite"),
        ('sed "s/-87.80000000/87.80000000/" "$(dirname "$0")/good.pwo"', "physics",
         "absurd-energy"),
        ('sed "s/has been achieved/NOT achieved/" "$(dirname "$0")/good.pwo"; exit 2', "physics",
         "scf-not-converged"),
        ('sed "s/has been achieved/NOT achieved/" "$(dirname "$0")/good.pwo"', "physics",
         "scf-not-converged"),
        ('sed "/convergence has/d" "$(dirname "$0")/good.pwo"', "remote", "output-cut-short"),
        ('echo "     Maximum CPU time exceeded"; exit 255', "remote", "walltime"),
        ("kill -KILL $$", "remote", "engine-killed"),
        ("kill -TERM $$", "remote", "engine-killed"),
        ("exit 137", "remote", "engine-killed"),
        ("kill -SEGV $$", "physics", "engine-crashed"),
        ("exit 139", "physics", "engine-crashed"),
        ("exit 127", "configuration", "binary-missing"),
        ("exit 7", "remote", "engine-exit"),
        ("kill -XFSZ $$", "remote", "disk-full"),
        ('echo "write error: No space left on device" >&2; exit 1', "remote", "disk-full"),
        ('echo "pw.x: error while loading shared libraries: libmpi.so" >&2; exit 127',
         "configuration", "binary-broken"),
        ('echo "There are not enough slots available in the system" >&2; exit 1',
         "configuration", "launcher"),
        ('echo "mpirun has detected an attempt to run as root." >&2; exit 1',
         "configuration", "launcher"),
        ("echo \"but OMPI was not built with SLURM's PMI support and cannot\" >&2; exit 1",
         "configuration", "launcher"),
    ],
)  # fmt: skip
def test_every_end_has_its_kind_and_no_energy(
    play: Play, script: str, kind: str, reason: str
) -> None:
    result = play(script)
    assert not result.complete
    assert result.energy is None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (kind, reason), result.failure.message


@pytest.mark.parametrize(
    ("routine", "message", "kind", "reason"),
    [
        ("c_bands", "too many bands are not converged", "physics", "diagonalization"),
        ("cdiaghg", "problems computing cholesky", "physics", "diagonalization"),
        ("efermig", "internal error, cannot bracket Ef", "physics", "too-few-bands"),
        ("read_rhog", "error reading file", "physics", "restart-files"),
        ("electrons", "charge is wrong: smearing is needed", "physics", "needs-smearing"),
        ("electrons", "charge is wrong", "physics", "electrons"),
        ("check_atoms", "atoms # 1 and # 2 overlap!", "physics", "atoms-overlap"),
        ("read_namelists", "bad line in namelist &system", "configuration", "bad-input"),
        ("readpp", "file Cu.UPF not readable", "configuration", "pseudopotential"),
        ("set_dft_from_name", "conflicting values for icorr", "configuration", "mixed-functionals"),
        ("davcio", "error while writing from file", "remote", "disk"),
        ("nobody_knows", "something new", "physics", "engine-error"),
    ],
)
def test_an_error_in_a_routine_is_told_in_the_words_of_pw(
    play: Play, routine: str, message: str, kind: str, reason: str
) -> None:
    box = "%" * 78
    words = f" {box}\\n     Error in routine  {routine} (1):\\n      {message}\\n {box}"
    result = play(f"printf '{words.replace('%', '%%')}\\n'; exit 1")
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (kind, reason)
    assert message in result.failure.message


def test_a_launcher_that_starts_nothing_is_quoted_from_its_first_word(play: Play) -> None:
    rule, advice = "-" * 70, [f"advice {n}" for n in range(9)]
    lines = [rule, "launch: no such partition", "", *advice, rule]
    printed = "".join(f"echo '{line}' >&2\n" for line in lines)
    result = play(f"{printed}exit 1")
    assert result.failure is not None
    assert result.failure.message == (
        "exit 1: launch: no such partition / advice 0 / advice 1 / advice 2 / ... / advice 7 / "
        "advice 8"
    )
    result = play(f"echo 'step 1'; {printed}exit 1")
    assert result.failure is not None
    assert result.failure.message.endswith("advice 8; its output ends: step 1")


def test_a_crash_file_speaks_where_the_output_is_silent(play: Play) -> None:
    box = "%" * 20
    crash = f"{box}\n     task #         0\n     from readpp : error #         1\n     no x\n {box}"
    result = play(f"printf '%s\\n' '{crash}' > CRASH; exit 1")
    assert result.failure is not None
    assert result.failure.kind == FailureKind.CONFIGURATION
    assert result.failure.reason == "pseudopotential"
    assert result.failure.message == "Error in routine readpp (1):\nno x"


def test_the_words_of_a_failure_can_be_shown_on_a_terminal(play: Play) -> None:
    result = play("printf '\\033[2J\\033]0;title\\007wild \\377\\376 words\\n'; exit 7")
    assert result.failure is not None
    assert result.failure.message == "exit 7: [2J ]0;title wild words"


def test_an_output_without_end_is_read_at_both_ends_alone(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadline.tasks.engines.program_end.ROOM", 1000)
    result = play("head -c 100000 /dev/zero | tr '\\0' 'x'; echo; echo the end; exit 7")
    assert result.failure is not None
    assert result.failure.message.endswith("the end")
    assert len(result.failure.message) < 1000


def test_a_binary_that_is_not_there_is_configuration(tmp_path: Path) -> None:
    (tmp_path / "Cu.UPF").write_text(UPF)
    result = compute(_request(tmp_path, str(tmp_path / "no-pw.x")), tmp_path / "attempt")
    assert result.failure is not None
    assert result.failure.kind == FailureKind.CONFIGURATION
    assert "machine profile" in result.failure.message


def test_launcher_ranks_and_threads_come_from_the_site(tmp_path: Path) -> None:
    (tmp_path / "Cu.UPF").write_text(UPF)
    launcher = tmp_path / "launch"
    launcher.write_text('#!/bin/sh\necho "$@ threads=$OMP_NUM_THREADS" >&2\nexit 1\n')
    launcher.chmod(0o755)
    site = EngineSite(
        command="pw.x -nk 2", launcher=f"{launcher} -np {{ranks}}", ranks=4, threads=2,
        pseudopotentials=tmp_path, version="7.2",
    )  # fmt: skip
    atoms = bulk("Cu")
    atoms.calc = EspressoEngine(SETTINGS, site).calculator(atoms, tmp_path / "run")
    with pytest.raises(Exception, match="returned non-zero exit status 1"):
        atoms.get_potential_energy()
    said = (tmp_path / "run" / "espresso.err").read_text()
    assert said.strip() == "-np 4 pw.x -nk 2 -in espresso.pwi threads=2"


def test_remedies_climb_a_ladder_of_path_keys_and_end() -> None:
    engine = EspressoEngine(SETTINGS, EngineSite(version="6.7"))
    for reason in (
        "scf-not-converged",
        "diagonalization",
        "electrons",
        "too-few-bands",
        "symmetry",
    ):
        failed = Failure(FailureKind.PHYSICS, reason, "")
        rungs = [engine.remedies(failed, attempt) for attempt in range(1, 6)]
        climbed = [rung for rung in rungs if rung is not None]
        assert climbed
        assert rungs[-1] is None
        assert len({str(rung) for rung in climbed}) == len(climbed)
        for rung in climbed:
            assert set(rung) <= engine.path_keys
            EspressoEngine({**SETTINGS, **rung}, EngineSite(version="6.7"))
    assert engine.remedies(Failure(FailureKind.PHYSICS, "atoms-overlap", ""), 1) is None


def test_what_only_smearing_helps_is_no_further_attempt_and_names_it() -> None:
    failed = Failure(FailureKind.PHYSICS, "needs-smearing", "")
    fixed = EspressoEngine({**SETTINGS, "smearing": "none"}, EngineSite(version="6.7"))
    assert fixed.remedies(failed, 1) is None
    remedy = fixed.physics_remedy(failed)
    assert remedy is not None
    assert remedy.changes == {"smearing": "marzari-vanderbilt"}
    assert "suits insulators alone; smeared by 0.02 Ry" in remedy.why


def test_smearing_is_widened_as_long_as_it_is_a_small_correction() -> None:
    failed = Failure(FailureKind.PHYSICS, "scf-not-converged", "")
    widths = {}
    for degauss in (0.01, 0.02, 0.03, 0.031):
        engine = EspressoEngine({**SETTINGS, "degauss": degauss}, EngineSite(version="6.7"))
        remedy = engine.physics_remedy(failed)
        widths[degauss] = remedy and remedy.changes
    assert widths == {
        0.01: {"degauss": 0.02},
        0.02: {"degauss": 0.04},
        0.03: {"degauss": 0.06},
        0.031: None,
    }


def test_a_run_leaves_no_crash_file_of_an_earlier_one(play: Play, tmp_path: Path) -> None:
    raw = tmp_path / "attempt" / "raw"
    raw.mkdir(parents=True)
    (raw / "CRASH").write_text("%%%%%%\n Error in routine readpp (1):\n old\n %%%%%%")
    result = play("exit 7")
    assert result.failure is not None
    assert result.failure.reason == "engine-exit"
