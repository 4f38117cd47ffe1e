"""VASP by a stand-in that writes its files: every end of a run, and what custodian makes of it."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from asked import asked

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.engines import vasp_failures
from leadline.tasks.engines.compute import compute
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.table import engine_settings
from leadline.tasks.engines.vasp import VaspEngine
from leadline.tasks.errors import ConfigurationError, SpecError

pytest.importorskip("custodian", reason="needs custodian: the extra vasp")

HERE = Path(__file__).parents[2] / "plugins" / "stand_in_vasp"
POTENTIALS = HERE / "potentials"
COMMAND = f"{sys.executable} {HERE / 'stand_in_vasp.py'}"
SETTINGS: dict[str, Any] = {
    "user_incar_settings": {"ENCUT": 400, "ISMEAR": 0, "SIGMA": 0.05},
    "user_potcar_settings": {"Cu": "Cu", "Au": "Au"},
    "kspacing": 0.8,
}
SET: dict[str, Any] = {"input_set": "MPRelaxSet", "user_potcar_settings": {"Cu": "Cu", "Au": "Au"}}


def cells() -> Atoms:
    atoms: Atoms = bulk("CuAu", "cesiumchloride", a=3.1) * (2, 1, 1)
    atoms.positions[1] += 0.1
    return atoms


def run(
    folder: Path,
    fault: str = "",
    changes: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] = SETTINGS,
    moments: list[float] | None = None,
    **more: Any,
) -> Result:
    site = {"command": f"{COMMAND} {fault}", "pseudopotentials": str(POTENTIALS)}
    engine = {"name": "vasp", "settings": settings, "changes": changes or {}}
    request = asked(engine, cells(), site=site, moments=moments)
    return compute(replace(request, **more), folder)


def engine(settings: Mapping[str, Any], folder: Path = POTENTIALS) -> VaspEngine:
    return VaspEngine(settings, EngineSite(command=COMMAND, pseudopotentials=folder))


def test_the_energy_is_the_free_one_and_no_potential_is_kept(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.complete, result.failure
    assert result.energy is not None
    text = (tmp_path / "raw" / "vasprun.xml").read_text()
    assert f"{result.energy:.8f}" in text.split("e_fr_energy")[-1]
    # The stand-in's -TS is 4 meV an atom, and half of it is taken away.
    extrapolated = result.properties["energy_without_smearing"]
    assert extrapolated - result.energy == pytest.approx(0.002 * len(cells()))
    kept = {Path(name).name for name in result.files}
    assert kept >= {"INCAR", "KPOINTS", "POSCAR", "OUTCAR", "vasprun.xml", "vasp.out"}
    assert not kept & {"POTCAR", "WAVECAR", "vaspout.h5"}
    assert not (tmp_path / "raw" / "POTCAR").exists()


GAP = {"name": "band_gap", "settings": {}}


@pytest.mark.parametrize("spins", [1, 2])
def test_the_gap_lies_between_the_bands_that_are_filled_and_those_that_are_not(
    tmp_path: Path, spins: int
) -> None:
    incar = {**SETTINGS["user_incar_settings"], "ISPIN": spins}
    result = run(tmp_path, settings={**SETTINGS, "user_incar_settings": incar}, recipe=GAP)
    assert result.complete, result.failure
    gaps = {name: result.properties[name] for name in ("band_gap", "direct_band_gap")}
    assert gaps == {"band_gap": pytest.approx(1.25), "direct_band_gap": pytest.approx(1.25)}


def test_without_empty_bands_there_is_no_gap_to_see(tmp_path: Path) -> None:
    failure = run(tmp_path, "no-empty-bands", recipe=GAP).failure
    assert failure is not None
    assert (failure.kind, failure.reason) == ("physics", "no-bands")


def test_it_is_asked_to_end_before_its_time_is_up_and_that_is_no_answer(tmp_path: Path) -> None:
    result = run(tmp_path, "endless", time_limit=3.0)
    assert not result.complete
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == ("remote", "walltime")
    assert "STOPCAR" in result.failure.message
    # Its files show fewer SCF steps than NELM, as those of a converged run do.
    assert "General timing" in (tmp_path / "raw" / "OUTCAR").read_text()
    assert not (tmp_path / "raw" / "STOPCAR").exists()


def test_one_that_converged_in_its_last_moment_is_an_answer(tmp_path: Path) -> None:
    assert run(tmp_path, "just-done", time_limit=3.0).energy == run(tmp_path / "again").energy


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("edddav", "physics", "edddav"),
        ("eddrmm-goes-on", "physics", "eddrmm"),
        ("zbrent", "physics", "zbrent"),
        ("tetrahedra", "physics", "tet"),
        ("scf", "physics", "scf-not-converged"),
        ("segfault", "physics", "engine-crashed"),
        ("killed", "remote", "engine-killed"),
        ("terminated", "remote", "engine-killed"),
        ("walltime", "remote", "walltime"),
        ("cut-vasprun", "remote", "output-cut-short"),
        ("cut-outcar", "remote", "output-cut-short"),
        ("nothing", "remote", "output-cut-short"),
        ("unknown", "remote", "engine-exit"),
        ("disk", "remote", "disk-full"),
        ("license", "configuration", "license"),
        ("potentials", "configuration", "pseudopotential"),
        ("keyword", "configuration", "bad-input"),
    ],
)
def test_every_end_has_its_kind_and_no_energy(
    tmp_path: Path, fault: str, kind: str, reason: str
) -> None:
    result = run(tmp_path, fault)
    assert not result.complete
    assert result.energy is None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == (kind, reason), result.failure.message
    assert Failure.from_plain(result.failure.to_plain()) == result.failure


@pytest.mark.parametrize(
    ("fault", "settings"),
    [
        ("edddav", SETTINGS),
        ("scf-needs-all", SETTINGS),
        ("eddrmm-goes-on", {**SETTINGS, "algo": "Fast"}),
    ],
)
def test_a_correction_of_custodian_by_path_keys_is_a_further_attempt_that_succeeds(
    tmp_path: Path, fault: str, settings: Mapping[str, Any]
) -> None:
    failed = run(tmp_path / "1", fault, settings=settings).failure
    assert failed is not None
    remedy = engine(settings).remedies(failed, 1)
    assert remedy is not None
    assert {"algo"} <= set(remedy) <= engine(settings).path_keys
    assert f"sets algo = {remedy['algo']}" in failed.message
    again = run(tmp_path / "2", fault, changes=remedy, settings=settings)
    assert again.complete, again.failure
    assert engine({**settings, **remedy}).fingerprint() == engine(settings).fingerprint()


@pytest.mark.parametrize(("fault", "key"), [("zbrent", "EDIFF"), ("tetrahedra", "ISMEAR")])
def test_a_correction_of_custodian_that_touches_the_physics_names_another_calculation(
    tmp_path: Path, fault: str, key: str
) -> None:
    settings = {**SETTINGS, "user_incar_settings": {"ENCUT": 400, "ISMEAR": -5}}
    failed = run(tmp_path, fault, settings=settings).failure
    assert failed is not None
    ours = engine(settings)
    assert ours.remedies(failed, 1) is None
    assert f"would set {key} = " in failed.message
    assert failed.message.endswith("that is another calculation")
    remedy = ours.physics_remedy(failed)
    assert remedy is not None
    assert remedy.changes["user_incar_settings"].items() >= {"ENCUT": 400}.items()
    other = engine({**settings, **remedy.changes})
    assert other.settings.user_incar_settings[key] != ours.settings.user_incar_settings.get(key)
    assert other.fingerprint() != ours.fingerprint()


@pytest.mark.parametrize(
    ("actions", "advice", "words"),
    [
        ([{"dict": "INCAR", "action": {"_set": {"ALGO": "All"}}}], {"algo": "All"}, []),
        (
            [{"dict": "INCAR", "action": {"_set": {"SIGMA": 0.2, "ALGO": "All"}}}],
            {"algo": "All", "user_incar_settings": {"ENCUT": 400, "ISMEAR": 0, "SIGMA": 0.2}},
            ["SIGMA = 0.2"],
        ),
        (
            [{"dict": "INCAR", "action": {"_unset": {"SIGMA": 1}}}],
            {"user_incar_settings": {"ENCUT": 400, "ISMEAR": 0}},
            ["SIGMA = None"],
        ),
        ([{"dict": "INCAR", "action": {"_set": {"ISMEAR": 0}}}], {}, []),
        ([{"dict": "INCAR", "action": {"_unset": {"LREAL": 1}}}], {}, ["LREAL = None"]),
        (
            [
                {"dict": "INCAR", "action": {"_set": {"SIGMA": 0.2}}},
                {"dict": "KPOINTS", "action": {"_set": {"generation_style": "Gamma"}}},
            ],
            {},
            ["SIGMA = 0.2", "KPOINTS"],
        ),
    ],
)
def test_a_correction_becomes_settings_where_a_campaign_file_could_say_it(
    actions: list[Mapping[str, Any]], advice: dict[str, Any], words: list[str]
) -> None:
    plain = engine(SETTINGS).settings.model_dump()
    assert vasp_failures.corrections(actions, plain) == (advice, words)


def test_corrections_that_come_again_and_again_end(tmp_path: Path) -> None:
    changes: dict[str, Any] = {}
    for attempt in range(1, 20):
        failed = run(tmp_path / str(attempt), "edddav-always", changes=changes).failure
        assert failed is not None
        remedy = engine(SETTINGS).remedies(failed, attempt)
        if remedy is None:
            break
        changes |= remedy
    assert 1 < attempt <= 5


def test_the_folder_of_a_failed_run_stays_as_it_was(tmp_path: Path) -> None:
    run(tmp_path, "edddav")
    assert "ALGO" not in (tmp_path / "raw" / "INCAR").read_text()
    assert not list((tmp_path / "raw").glob("error.*"))


def test_trouble_that_is_none_of_the_structure_has_no_remedy() -> None:
    cut = Failure(FailureKind.REMOTE, "walltime", "", {"algo": "All"})
    assert engine(SETTINGS).remedies(cut, 1) is None


def test_moments_reach_their_atoms_and_come_back_to_them(tmp_path: Path) -> None:
    spin = {**SETTINGS["user_incar_settings"], "ISPIN": 2}
    atoms = cells()
    atoms.set_initial_magnetic_moments([1.0, 0.0, -2.0, 0.5])
    atoms.calc = engine({**SETTINGS, "user_incar_settings": spin}).calculator(atoms, tmp_path)
    assert atoms.get_magnetic_moments().tolist() == [1.0, 0.0, -2.0, 0.5]


def test_moments_without_spin_are_refused(tmp_path: Path) -> None:
    found = run(tmp_path, moments=[1.0, 0.0, 0.0, 0.0]).failure
    assert found is not None
    assert (found.kind, "ISPIN" in found.message) == (FailureKind.CONFIGURATION, True)


@pytest.mark.parametrize("input_set", ["MPRelaxSet", "MITRelaxSet", "MPScanStaticSet"])
def test_a_set_of_pymatgen_becomes_one_energy_on_one_mesh(tmp_path: Path, input_set: str) -> None:
    settings = {**SET, "input_set": input_set, "potcar_functional": "PBE_54"}
    atoms = cells()
    calculator = engine(settings).calculator(atoms, tmp_path)
    meshes = []
    for scale in (1.0, 1.3):
        atoms.set_cell(cells().cell * scale, scale_atoms=True)
        atoms.calc = calculator
        atoms.get_potential_energy()
        lines = (tmp_path / "KPOINTS").read_text().splitlines()
        assert lines[2][0] in "GM"
        meshes.append(lines[3])
    assert meshes[0] == meshes[1]
    incar = dict(
        line.replace(" ", "").split("=") for line in (tmp_path / "INCAR").read_text().splitlines()
    )
    assert (incar["NSW"], incar["IBRION"], incar["ISIF"]) == ("0", "-1", "2")
    assert not {"KSPACING", "EDIFFG", "ICHARG"} & set(incar)


def test_a_charge_takes_electrons_away(tmp_path: Path) -> None:
    atoms = cells()
    atoms.info["charge"] = 1.0
    atoms.calc = engine(SETTINGS).calculator(atoms, tmp_path)
    atoms.get_potential_energy()
    assert "NELECT = 43.0" in (tmp_path / "INCAR").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user_incar_settings": {"ENCUT": 400, "ALGO": "All"}}, "engine.algo; give it there"),
        ({"user_incar_settings": {"ENCUT": 400, "NSW": 99}}, "recipes move the ions"),
        ({"user_incar_settings": {"ENCUT": 400, "ML_LMLFF": True}}, "recipes move the ions"),
        ({"user_incar_settings": {"ENCUT": 400, "encut": 300}}, "write it in capitals"),
        ({"user_incar_settings": {"ENCUT": 400, "GGA": "PE\nNSW = 9"}}, "no INCAR key takes"),
        ({"user_incar_settings": {"ENCUT": float("inf")}}, "not finite"),
        ({"user_incar_settings": {}}, "needs ENCUT"),
        ({"kspacing": None}, "without an input_set give one of"),
        ({"kpts": [2, 2, 2]}, "give one of"),
        ({"input_set": "MPNonSCFSet"}, "engine.input_set"),
        ({"user_potcar_settings": {"Cu": "../Cu"}}, "engine.user_potcar_settings.Cu"),
        ({"algo": "None"}, "engine.algo"),
        ({"ncore": 2, "npar": 2}, "not both"),
    ],
)
def test_what_would_go_wrong_is_refused_at_the_door(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as refusal:
        engine_settings("vasp", {**SETTINGS, **changes})
    assert words in str(refusal.value)


def test_a_potential_counts_by_its_content_whatever_compresses_it(tmp_path: Path) -> None:
    place = tmp_path / "POT_GGA_PAW_PBE_54"
    (place / "Cu").mkdir(parents=True)
    source = POTENTIALS / place.name
    (place / "Cu" / "POTCAR.gz").write_bytes(gzip.compress((source / "POTCAR.Cu").read_bytes()))
    (place / "POTCAR.Au").write_bytes((source / "POTCAR.Au").read_bytes())
    same = engine(SETTINGS).fingerprint()
    assert engine(SETTINGS, tmp_path).fingerprint() == same
    with (place / "POTCAR.Au").open("a") as file:
        file.write("another projector\n")
    assert engine(SETTINGS, tmp_path).fingerprint() != same


def test_asking_for_a_fingerprint_leaves_the_sets_of_pymatgen_as_they_are() -> None:
    from pymatgen.io.vasp.sets import MPRelaxSet

    before = repr(MPRelaxSet.CONFIG)
    engine(SET).fingerprint()
    assert repr(MPRelaxSet.CONFIG) == before
    assert "NELM" in MPRelaxSet.CONFIG["INCAR"]


def test_a_potential_that_is_not_there_is_named_with_those_that_are() -> None:
    wrong = {**SETTINGS, "user_potcar_settings": {"Cu": "Cu_pv"}}
    with pytest.raises(ConfigurationError, match=r"POTCAR\.Cu_pv .* those that are there: Cu\."):
        engine(wrong).check(frozenset({"Cu"}))


def test_an_element_without_a_potential_is_refused_with_what_the_set_takes() -> None:
    with pytest.raises(ConfigurationError, match="Fe: Fe_pv"):
        engine(SET).check(frozenset({"Fe", "Cu"}))


def test_a_potential_of_another_element_is_refused() -> None:
    wrong = {**SETTINGS, "user_potcar_settings": {"Cu": "Au"}}
    with pytest.raises(ConfigurationError, match="is made for Au"):
        engine(wrong).check(frozenset({"Cu"}))


def test_a_folder_that_nothing_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    with pytest.raises(ConfigurationError, match=r"engines\.vasp\.pseudopotentials"):
        VaspEngine(SETTINGS, EngineSite(command=COMMAND)).check(frozenset({"Cu"}))


def test_a_program_that_is_not_vasp_is_not_taken_for_it() -> None:
    for command, words in (("cat", "does not answer as VASP"), ("no-such-vasp", "is not found")):
        with pytest.raises(ConfigurationError, match=words):
            VaspEngine(SETTINGS, EngineSite(command=command)).version()


def test_choices_that_an_expert_would_question_are_questioned() -> None:
    words = "\n".join(engine(SET).check(frozenset({"Cu", "Au"})))
    assert "MPRelaxSet takes Cu_pv for Cu" in words
    assert "ISMEAR -5 (tetrahedra)" in words
    low = {**SETTINGS, "user_incar_settings": {"ENCUT": 250}}
    words = "\n".join(engine(low).check(frozenset({"Cu"})))
    assert "ENCUT 250 eV is below the 295.446 eV of Cu's POTCAR" in words
    tight = {**SETTINGS, "user_incar_settings": {"ENCUT": 300}}
    assert "Pulay" in "\n".join(engine(tight).check(frozenset({"Cu"})))


def test_plus_u_is_seen_where_a_set_brings_it() -> None:
    oxide = {**SET, "user_potcar_settings": {"Fe": "Fe_pv", "O": "O"}}
    assert engine(oxide).plus_u
    assert not engine(SET).plus_u
    own = {"ENCUT": 400, "LDAU": True, "LDAUU": {"Cu": 4.0}}
    assert engine({**SETTINGS, "user_incar_settings": own}).plus_u


def test_forces_are_those_of_the_atoms_in_their_own_order(tmp_path: Path) -> None:
    atoms, turned = cells(), cells()[[2, 3, 0, 1]]
    for each, name in ((atoms, "a"), (turned, "b")):
        each.calc = engine(SETTINGS).calculator(each, tmp_path / name)
    assert np.allclose(atoms.get_forces()[[2, 3, 0, 1]], turned.get_forces())
