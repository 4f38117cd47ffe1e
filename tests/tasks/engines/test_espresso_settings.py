"""What a campaign file may say of Quantum ESPRESSO, and what is written for pw.x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.espresso import EspressoEngine
from leadline.tasks.engines.k_mesh import k_mesh
from leadline.tasks.engines.table import engine_settings
from leadline.tasks.errors import ConfigurationError, SpecError

SETTINGS: dict[str, Any] = {
    "pseudopotentials": {"Cu": "Cu.UPF", "Au": "Au.UPF"},
    "ecutwfc": 30,
    "kspacing": 0.3,
}
UPF = (
    '<UPF version="2.0.1"><PP_HEADER element="{0}" pseudo_type="{1}" functional="PBE" '
    'z_valence="11.0" wfc_cutoff="{2}" rho_cutoff="0.0"/></UPF>'
)


@pytest.fixture
def site(tmp_path: Path) -> EngineSite:
    for element in ("Cu", "Au"):
        (tmp_path / f"{element}.UPF").write_text(UPF.format(element, "NC", 0.0))
    return EngineSite(pseudopotentials=tmp_path, version="6.7MaX")


def written(site: EngineSite, folder: Path, changes: dict[str, Any], moments: list[float]) -> str:
    atoms = bulk("CuAu", "rocksalt", a=5.0)
    atoms.set_initial_magnetic_moments(moments)
    calculator = EspressoEngine({**SETTINGS, **changes}, site).calculator(atoms, folder)
    calculator.write_inputfiles(atoms, ["energy"])  # type: ignore[attr-defined]
    return (folder / "espresso.pwi").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extra": {"electrons": {"scf_must_converge": False}}}, "unfinished SCF would pass"),
        ({"extra": {"control": {"outdir": "/somewhere"}}}, "control.outdir is set by leadline"),
        ({"extra": {"control": {"pseudo_dir": "/x"}}}, "control.pseudo_dir is set by leadline"),
        ({"extra": {"system": {"ecutwfc": 20}}}, "a key of its own"),
        ({"extra": {"system": {"hubbard_u(1)": 3.0}}}, "order of species differs"),
        ({"extra": {"system": {"input_dft": "pbe'\n/\n&control"}}}, "no keyword of pw.x has"),
        (
            {"extra": {"ions": {"pot_extrapolation": "atomic"}}},
            "'control', 'system' or 'electrons'",
        ),
        ({"extra": {"system": {"lambda": float("nan")}}}, "not finite"),
        ({"pseudopotentials": {"Cu": "../Cu.UPF"}}, "without a folder"),
        ({"kpts": [2, 2, 2]}, "either kspacing (1/Å) or kpts"),
        ({"kspacing": None}, "either kspacing (1/Å) or kpts"),
        ({"starting_magnetization": {"Cu": 0.1}}, "needs nspin: 2"),
        ({"tot_magnetization": 1.0}, "needs nspin: 2"),
        ({"hubbard_u": {"Fe": 4.0}}, "hubbard_u names Fe"),
        ({"extra": {"system": {"nbnd": 40}}}, "system.nbnd is set by leadline"),
        ({"ecutwfc": -3}, "greater than 0"),
        ({"ecutwfc": "30 eV"}, "engine.ecutwfc"),
    ],
)
def test_what_would_go_wrong_is_refused_at_the_door(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as refusal:
        engine_settings("espresso", {**SETTINGS, **changes})
    assert str(refusal.value).startswith("engine")
    assert words in str(refusal.value)


def test_every_setting_reaches_the_input(site: EngineSite, tmp_path: Path) -> None:
    changes = {
        "ecutrho": 240, "conv_thr": 1e-9, "mixing_beta": 0.3, "mixing_mode": "local-TF",
        "electron_maxstep": 33, "diagonalization": "cg", "max_seconds": 77.0,
        "smearing": "fermi-dirac", "degauss": 0.01, "nosym": True, "vdw_corr": "grimme-d3",
        "empty_bands": 0.5, "nspin": 2, "tot_magnetization": 1.0,
        "extra": {"system": {"noinv": True}},
    }  # fmt: skip
    text = written(site, tmp_path / "run", changes, [0.0, 0.0])
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert {
        "ecutwfc = 30.0", "ecutrho = 240.0", "conv_thr = 2e-09", "mixing_beta = 0.3",
        "mixing_mode = 'local-TF'", "electron_maxstep = 33", "diagonalization = 'cg'",
        "max_seconds = 77.0", "smearing = 'fermi-dirac'", "degauss = 0.01", "nosym = .true.",
        "noinv = .true.", "vdw_corr = 'grimme-d3'", "nbnd = 18", "tot_magnetization = 1.0",
        "tprnfor = .true.", "tstress = .true.", "nspin = 2", "disk_io = 'low'",
    } <= lines  # fmt: skip


def test_moments_are_written_as_fractions_of_the_valence(site: EngineSite, tmp_path: Path) -> None:
    changes = {"nspin": 2, "starting_magnetization": {"Au": 0.1}}
    text = written(site, tmp_path / "run", changes, [2.2, 0.0])
    assert "starting_magnetization(1) = 0.2" in text
    assert "starting_magnetization(2) = 0.1" in text


def test_the_mesh_stays_while_the_cell_changes(site: EngineSite, tmp_path: Path) -> None:
    atoms = bulk("Cu")
    calculator = EspressoEngine(SETTINGS, site).calculator(atoms, tmp_path / "run")
    meshes = []
    for scale in (1.0, 1.5):
        changed = atoms.copy()
        changed.set_cell(atoms.cell * scale, scale_atoms=True)
        calculator.write_inputfiles(changed, ["energy"])  # type: ignore[attr-defined]
        text = (tmp_path / "run" / "espresso.pwi").read_text()
        meshes.append(text.split("K_POINTS automatic\n")[1].splitlines()[0])
    assert meshes[0] == meshes[1]


@given(spacing=st.floats(0.05, 2.0), scale=st.floats(0.5, 3.0))
def test_points_of_the_mesh_are_as_close_as_asked_and_no_closer(
    spacing: float, scale: float
) -> None:
    atoms = bulk("Mg")
    atoms.set_cell(atoms.cell * scale)
    lengths = 2 * 3.141592653589793 * (atoms.cell.reciprocal().array ** 2).sum(axis=1) ** 0.5
    for length, divisions in zip(lengths, k_mesh(atoms, spacing), strict=True):
        assert length / divisions <= spacing * (1 + 1e-6)
        assert divisions == 1 or length / (divisions - 1) > spacing * (1 - 1e-6)


def test_the_fingerprint_follows_content_and_not_the_name_of_a_file(
    site: EngineSite, tmp_path: Path
) -> None:
    before = EspressoEngine(SETTINGS, site).fingerprint()
    (tmp_path / "Cu.UPF").write_text(UPF.format("Cu", "NC", 1.0))
    assert EspressoEngine(SETTINGS, site).fingerprint() != before


def test_another_major_version_is_another_fingerprint(site: EngineSite) -> None:
    prints = {
        version: EspressoEngine(
            SETTINGS, site.model_copy(update={"version": version})
        ).fingerprint()
        for version in ("6.7MaX", "6.8", "7.2")
    }
    assert prints["6.7MaX"] == prints["6.8"] != prints["7.2"]


def test_a_machine_without_the_binary_says_what_to_install(tmp_path: Path) -> None:
    nowhere = EspressoEngine(SETTINGS, EngineSite(command="no-such-pw.x"))
    with pytest.raises(ConfigurationError, match="quantum-espresso"):
        nowhere.version()


def test_a_program_that_is_not_pw_is_not_taken_for_it() -> None:
    with pytest.raises(ConfigurationError, match=r"does not answer as pw\.x"):
        EspressoEngine(SETTINGS, EngineSite(command="cat")).version()


def test_an_ultrasoft_file_asks_for_a_denser_density(tmp_path: Path, site: EngineSite) -> None:
    (tmp_path / "Cu.UPF").write_text(UPF.format("Cu", "US", 0.0))
    doubts = EspressoEngine(SETTINGS, site).check(frozenset({"Cu"}))
    assert len(doubts) == 1
    assert "8 to 12 times" in doubts[0]


def test_magnetism_without_a_start_is_doubted(site: EngineSite) -> None:
    (doubt,) = EspressoEngine({**SETTINGS, "nspin": 2}, site).check(frozenset({"Cu"}))
    assert "will come out non-magnetic" in doubt
    started = {**SETTINGS, "nspin": 2, "starting_magnetization": {"Cu": 0.1}}
    assert EspressoEngine(started, site).check(frozenset({"Cu"})) == []


def test_a_charge_reaches_the_input(site: EngineSite, tmp_path: Path) -> None:
    atoms = bulk("Cu")
    atoms.info["charge"] = 1.0
    EspressoEngine(SETTINGS, site).calculator(atoms, tmp_path).write_inputfiles(  # type: ignore[attr-defined]
        atoms, ["energy"]
    )
    assert "tot_charge       = 1.0" in (tmp_path / "espresso.pwi").read_text()


def test_a_hubbard_u_is_given_to_each_species_in_its_turn(site: EngineSite, tmp_path: Path) -> None:
    changes = {"nspin": 2, "hubbard_u": {"Au": 3.0}}
    text = written(site, tmp_path / "run", changes, [1.0, -1.0]).lower()
    assert "lda_plus_u = .true." in " ".join(text.split())
    assert [line.split() for line in text.splitlines() if "hubbard_u(" in line] == [
        ["hubbard_u(2)", "=", "3.0"]
    ]
    assert EspressoEngine({**SETTINGS, **changes}, site).plus_u


def test_a_hubbard_u_is_refused_where_pw_takes_it_in_another_form(site: EngineSite) -> None:
    new = site.model_copy(update={"version": "7.2"})
    with pytest.raises(ConfigurationError, match=r"engine\.hubbard_u: pw\.x 7\.2"):
        EspressoEngine({**SETTINGS, "hubbard_u": {"Cu": 4.0}}, new).check(frozenset({"Cu"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"smearing": "none"}, "Au, Cu are metals, and occupations are fixed"),
        ({"kspacing": 0.6}, "kspacing 0.6 1/Å is coarse"),
        ({"kspacing": None, "kpts": [2, 2, 2]}, "one mesh for cells of every size"),
        ({"pseudopotentials": {"Fe": "Fe.UPF"}}, "Fe mostly have moments, and no spin is computed"),
    ],
)
def test_choices_that_an_expert_would_question_are_questioned(
    site: EngineSite, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    (tmp_path / "Fe.UPF").write_text(UPF.format("Fe", "NC", 0.0))
    settings = {k: v for k, v in {**SETTINGS, **changes}.items() if v is not None}
    elements = frozenset(settings["pseudopotentials"])
    assert words in "\n".join(EspressoEngine(settings, site).check(elements))
    assert words not in "\n".join(EspressoEngine(SETTINGS, site).check(frozenset({"Cu", "Au"})))
