"""Quantum ESPRESSO for real: a golden energy, and each way to fail that can be provoked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Ry
from asked import STATIC, asked

from leadline.tasks.calculation import Failure, Result
from leadline.tasks.engines.compute import compute
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.espresso import DEBIAN_PSEUDOPOTENTIALS, EspressoEngine
from leadline.tasks.errors import ConfigurationError

Computed = Callable[..., Result]

pytestmark = [
    pytest.mark.espresso,
    pytest.mark.skipif(
        shutil.which("pw.x") is None or not DEBIAN_PSEUDOPOTENTIALS.is_dir(),
        reason="needs pw.x and Debian's quantum-espresso-data",
    ),
]

SILICON = {
    "pseudopotentials": {"Si": "Si.pz-vbc.UPF"},
    "ecutwfc": 20,
    "kpts": [4, 4, 4],
    "smearing": "none",
}
GOLDEN = -15.83359512 * Ry
"""eV of two atoms at a = 5.43 Å, by pw.x 6.7 from an input written by hand.

ibrav = 2, celldm(1) = 10.2612129, ecutwfc = 20, fixed occupations, K_POINTS
automatic 4 4 4 0 0 0, Si.pz-vbc.UPF, conv_thr = 1d-9; all else by default.
"""


def run(
    tmp_path: Path,
    settings: Mapping[str, Any],
    atoms: Atoms | None = None,
    recipe: Mapping[str, Any] | None = None,
    moments: list[float] | None = None,
) -> Result:
    atoms = atoms or bulk("Si", a=5.43)
    request = asked(
        {"name": "espresso", "settings": settings}, atoms, recipe=recipe or STATIC, moments=moments
    )
    return compute(request, tmp_path)


def failure(result: Result) -> Failure:
    assert not result.complete
    assert result.energy is None
    assert result.failure is not None
    return result.failure


def test_silicon_has_its_golden_energy(tmp_path: Path) -> None:
    result = run(tmp_path, SILICON)
    assert result.energy == pytest.approx(GOLDEN, abs=1e-4)
    assert result.properties["largest_force"] < 1e-3
    assert result.versions["espresso"].split(".")[0] in {"6", "7"}
    assert "raw/espresso.pwo" in result.files
    assert not (tmp_path / "raw" / "out").exists()


def test_silicon_relaxes_to_its_lattice_parameter(tmp_path: Path) -> None:
    recipe = {"name": "relax", "settings": {"fmax": 0.02}}
    result = run(tmp_path, SILICON, bulk("Si", a=5.3), recipe)
    assert result.complete, result.failure
    assert result.properties["volume_per_atom"] == pytest.approx(5.40**3 / 8, rel=0.02)
    assert result.properties["largest_stress"] < 0.5
    assert result.steps > 1


ALUMINIUM = {
    "pseudopotentials": {"Al": "Al.pz-vbc.UPF"},
    "ecutwfc": 12,
    "kpts": [2, 2, 2],
    "smearing": "gaussian",
    "degauss": 0.05,
}


@pytest.mark.parametrize(
    "cheap",
    [{"name": "emt"}, {"name": "espresso", **ALUMINIUM, "ecutwfc": 8, "kpts": [1, 1, 1]}],
    ids=["a potential", "coarse settings"],
)
def test_a_cheap_engine_that_relaxes_first_spares_ionic_steps(
    cheap: dict[str, Any], tmp_path: Path
) -> None:
    atoms = bulk("Al", cubic=True, a=3.97)
    atoms.rattle(0.1, seed=3)
    settings = {"cell": False, "fmax": 0.1}
    alone = run(tmp_path / "alone", ALUMINIUM, atoms, {"name": "relax", "settings": settings})
    first = {"prerelax": {"engine": cheap, "fmax": 0.02}}
    led = run(tmp_path / "led", ALUMINIUM, atoms, {"name": "relax", "settings": settings | first})
    assert led.complete, led.failure
    assert led.prerelaxed is not None
    assert led.prerelaxed["end"] == "converged", led.prerelaxed["why"]
    # Whatever the engine, atoms are at rest where the symmetry of fcc puts them.
    assert led.steps <= 1 < alone.steps
    assert led.energy == pytest.approx(alone.energy, abs=0.03)
    assert not (tmp_path / "led" / "raw" / "prerelax" / "out").exists()


BAND_GAP = {"name": "band_gap", "settings": {}}


@pytest.mark.parametrize("smearing", ["none", "gaussian"])
def test_the_gap_of_silicon_is_that_of_the_lda_and_indirect(smearing: str, tmp_path: Path) -> None:
    result = run(tmp_path, {**SILICON, "smearing": smearing, "degauss": 0.001}, recipe=BAND_GAP)
    assert result.complete, result.failure
    # From Γ to X on this mesh; the LDA's gap of all k is 0.5 eV, its direct one 2.5 eV.
    assert result.properties["band_gap"] == pytest.approx(0.6, abs=0.1)
    assert result.properties["direct_band_gap"] == pytest.approx(2.55, abs=0.1)
    assert result.energy == pytest.approx(GOLDEN, abs=1e-3)


def test_a_metal_has_no_gap(tmp_path: Path) -> None:
    metal = {**SILICON, "pseudopotentials": {"Al": "Al.pz-vbc.UPF"}, "smearing": "gaussian"}
    result = run(tmp_path, metal, bulk("Al", a=4.0), recipe=BAND_GAP)
    assert result.complete, result.failure
    assert result.properties["band_gap"] == 0


def test_a_metal_with_fixed_occupations_converges_with_the_remedy_of_its_physics(
    tmp_path: Path,
) -> None:
    metal = {**SILICON, "pseudopotentials": {"Al": "Al.pz-vbc.UPF"}}
    atoms = bulk("Al", a=4.0)
    failed = failure(run(tmp_path / "fixed", metal, atoms))
    assert failed.reason == "needs-smearing", failed.message
    engine = EspressoEngine(metal, EngineSite())
    assert engine.remedies(failed, 1) is None
    remedy = engine.physics_remedy(failed)
    assert remedy is not None
    assert run(tmp_path / "smeared", {**metal, **remedy.changes}, atoms).complete


def test_how_well_the_scf_converged_is_told(tmp_path: Path) -> None:
    result = run(tmp_path, {**SILICON, "conv_thr": 1e-7})
    assert 0 < result.properties["scf_residual"] < 2 * 1e-7 * Ry


def test_the_elastic_constants_of_silicon_are_near_those_of_the_lda(tmp_path: Path) -> None:
    result = run(tmp_path, SILICON, bulk("Si", a=5.40), {"name": "elastic", "settings": {}})
    assert result.complete, result.failure
    # Nielsen and Martin, Phys. Rev. B 32, 3792 (1985): 159, 61 and 85 GPa; cutoffs are low here.
    assert result.properties["c11"] == pytest.approx(159, rel=0.1)
    assert result.properties["c12"] == pytest.approx(61, rel=0.2)
    assert result.properties["c44"] == pytest.approx(85, rel=0.1)


def test_a_magnet_keeps_the_moments_of_its_structure(tmp_path: Path) -> None:
    iron = {
        "pseudopotentials": {"Fe": "Fe.pz-nd-rrkjus.UPF"},
        "ecutwfc": 25,
        "ecutrho": 200,
        "kpts": [4, 4, 4],
        "nspin": 2,
    }
    result = run(tmp_path, iron, bulk("Fe", a=2.8), moments=[2.2])
    assert result.complete, result.failure
    assert result.properties["total_magnetization"] == pytest.approx(2.2, abs=0.5)


def test_iron_is_lowest_with_its_moments_up_and_highest_without_any(tmp_path: Path) -> None:
    iron = {
        "pseudopotentials": {"Fe": "Fe.pz-nd-rrkjus.UPF"},
        "ecutwfc": 25,
        "ecutrho": 200,
        "kspacing": 0.6,
        "nspin": 2,
        "starting_magnetization": {"Fe": 0.5},
    }
    cube = bulk("Fe", "bcc", a=2.75, cubic=True)
    energies, kept = [], []
    for name, moments in (("up", [3.0, 3.0]), ("both", [3.0, -3.0]), ("none", [0.0, 0.0])):
        result = run(tmp_path / name, iron, cube, moments=moments)
        assert result.complete, result.failure
        assert result.moments is not None
        energies.append(result.energy)
        kept.append(result.moments)
    assert energies == sorted(energies, key=lambda energy: energy or 0)
    assert kept[0][0] == pytest.approx(2.1, abs=0.3)
    assert kept[1][0] == pytest.approx(-kept[1][1], abs=0.05)
    assert abs(kept[1][0]) > 1
    # Moments of zero are an order of their own: no setting of the engine overrides them.
    assert kept[2] == pytest.approx([0, 0], abs=1e-3)


def test_a_hubbard_u_raises_the_energy_of_d_electrons(tmp_path: Path) -> None:
    alloy = {
        "pseudopotentials": {"Al": "Al.pz-vbc.UPF", "Ni": "Ni.pz-nd-rrkjus.UPF"},
        "ecutwfc": 20, "ecutrho": 160, "kpts": [2, 2, 2], "conv_thr": 1e-6,
    }  # fmt: skip
    atoms, energies = bulk("AlNi", "cesiumchloride", a=2.85), []
    for name, u in (("without", {}), ("with", {"Ni": 2.0})):
        result = run(tmp_path / name, {**alloy, "hubbard_u": u}, atoms)
        assert result.complete, result.failure
        assert result.energy is not None
        energies.append(result.energy)
    assert energies[1] - energies[0] > 0.1


def test_a_later_step_starts_from_the_density_of_the_one_before(tmp_path: Path) -> None:
    cubic, skew = bulk("Si", a=5.43), bulk("Si", a=5.43)
    skew.positions[1] += [0.02, 0.05, 0.01]  # fewer symmetries, more k-points
    outputs = {}
    for name, restart in (("on", True), ("off", False)):
        calculator = EspressoEngine({**SILICON, "restart": restart}, EngineSite()).calculator(
            cubic, tmp_path / name
        )
        for atoms in (cubic, skew):
            atoms.calc = calculator
            atoms.get_potential_energy()
        outputs[name] = (tmp_path / name / "espresso.pwo").read_text()
        outputs[name + " energy"] = skew.get_potential_energy()
    assert "The initial density is read from file" in outputs["on"]
    assert "The initial density is read from file" not in outputs["off"]
    assert outputs["on energy"] == pytest.approx(outputs["off energy"], abs=1e-5)


def test_moments_without_spin_are_refused(tmp_path: Path) -> None:
    found = failure(run(tmp_path, SILICON, moments=[1.0, -1.0]))
    assert found.kind == "configuration"
    assert "nspin" in found.message


def test_an_unconverged_scf_is_physics_and_has_no_energy(tmp_path: Path) -> None:
    found = failure(run(tmp_path, {**SILICON, "electron_maxstep": 2}))
    assert (found.kind, found.reason) == ("physics", "scf-not-converged")
    assert "convergence NOT achieved" in found.message


def test_the_time_limit_of_pw_is_a_cut(tmp_path: Path) -> None:
    slow = {**SILICON, "kpts": [8, 8, 8], "max_seconds": 0.01}
    found = failure(run(tmp_path, slow))
    assert (found.kind, found.reason) == ("remote", "walltime")


def test_pw_stops_by_itself_before_it_would_be_ended(computed: Computed, tmp_path: Path) -> None:
    endless = {**SILICON, "conv_thr": 1e-40, "electron_maxstep": 100_000}
    result = computed("espresso", endless, bulk("Si", a=5.43), time_limit=3.0)
    found = failure(result)
    assert (found.kind, found.reason) == ("remote", "walltime")
    written = (tmp_path / "raw" / "espresso.pwi").read_text()
    (seconds,) = re.findall(r"max_seconds\s*=\s*(\S+)", written)
    assert 1.0 < float(seconds) < 0.95 * 3.0


def test_a_keyword_that_pw_does_not_know_is_configuration(tmp_path: Path) -> None:
    found = failure(run(tmp_path, {**SILICON, "extra": {"system": {"ecutwfcc": 3}}}))
    assert (found.kind, found.reason) == ("configuration", "bad-input")
    assert "bad line in namelist" in found.message


def test_a_missing_pseudopotential_is_configuration(tmp_path: Path) -> None:
    found = failure(run(tmp_path, {**SILICON, "pseudopotentials": {"Si": "Si.none.UPF"}}))
    assert found.kind == "configuration"
    assert "Si.none.UPF" in found.message


def test_mixed_functionals_are_configuration_in_the_words_of_pw(tmp_path: Path) -> None:
    mixed = {
        "pseudopotentials": {"Al": "Al.pz-vbc.UPF", "Ni": "Ni.pbe-nd-rrkjus.UPF"},
        "ecutwfc": 20,
        "kpts": [1, 1, 1],
    }
    found = failure(run(tmp_path, mixed, bulk("AlNi", "cesiumchloride", a=2.9)))
    assert (found.kind, found.reason) == ("configuration", "mixed-functionals")


def test_a_dispersion_that_the_functional_does_not_have_is_configuration(tmp_path: Path) -> None:
    found = failure(run(tmp_path, {**SILICON, "vdw_corr": "grimme-d3"}))
    assert (found.kind, found.reason) == ("configuration", "dispersion")


def test_atoms_on_top_of_each_other_are_physics(tmp_path: Path) -> None:
    twice = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 1e-7]], cell=[3, 3, 3], pbc=True)
    found = failure(run(tmp_path, SILICON, twice))
    assert found.kind == "physics"


def test_mixed_functionals_are_refused_before_anything_is_submitted() -> None:
    mixed = EspressoEngine(
        {
            "pseudopotentials": {"Al": "Al.pz-vbc.UPF", "Ni": "Ni.pbe-nd-rrkjus.UPF"},
            "ecutwfc": 20,
            "kspacing": 0.3,
        },
        EngineSite(),
    )
    with pytest.raises(ConfigurationError, match=r"mixes functionals: .*LDA.*PBE"):
        mixed.check(frozenset({"Al", "Ni"}))


def test_cutoffs_below_what_the_author_suggests_are_doubted() -> None:
    low = EspressoEngine(
        {"pseudopotentials": {"Cu": "Cu.pbe-kjpaw.UPF"}, "ecutwfc": 30, "kspacing": 0.3},
        EngineSite(),
    )
    words = "\n".join(low.check(frozenset({"Cu"})))
    assert "ecutwfc 30 Ry is below the 47 Ry" in words
    assert "ecutrho 120 Ry is below the 189 Ry" in words


def test_a_pseudopotential_of_another_element_is_refused() -> None:
    wrong = EspressoEngine(
        {"pseudopotentials": {"Al": "Si.pz-vbc.UPF"}, "ecutwfc": 20, "kspacing": 0.3}, EngineSite()
    )
    with pytest.raises(ConfigurationError, match="is made for Si"):
        wrong.check(frozenset({"Al"}))


def test_the_refusal_of_an_element_names_the_files_at_hand() -> None:
    silicon = EspressoEngine(SILICON, EngineSite())
    with pytest.raises(ConfigurationError, match=r"Al\.pz-vbc\.UPF"):
        silicon.check(frozenset({"Al"}))
