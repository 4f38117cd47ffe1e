"""Laws that every engine obeys. A new engine needs one Example here, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa

from leadline.tasks.calculation import Failure, FailureKind, Request
from leadline.tasks.engines.compute import compute
from leadline.tasks.engines.engine import Engine, EngineSite
from leadline.tasks.engines.table import ENGINES, engine
from leadline.tasks.errors import ConfigurationError, SpecError
from leadline.tasks.structures import from_plain, structure_id

REASONS = frozenset(
    {"scf-not-converged", "not-relaxed", "diagonalization", "electrons", "needs-smearing"}
    | {"too-few-bands", "symmetry", "restart-files", "atoms-overlap", "engine-crashed"}
    | {"not-finite", "output-unreadable", "absurd-energy", "too-large", "brmix", "never-heard-of"}
)
"""Why a structure may fail, of whatever engine."""


@dataclass(frozen=True)
class Example:
    """One engine as the laws see it: changes holds another value for every setting."""

    name: str
    settings: Mapping[str, Any]
    atoms: Atoms
    changes: Mapping[str, Any]
    lacks: str | None
    force_tolerance: float = 1e-5
    stress_tolerance: float = 1e-6
    step: float = 1e-4
    site: EngineSite = field(default_factory=EngineSite)
    advice: Mapping[str, Any] = field(default_factory=dict)
    """What the files of a failed run may advise that is another calculation."""
    cured: frozenset[str] = frozenset()
    """Reasons of failures that it names another calculation for."""

    def engine(self, changes: Mapping[str, Any] | None = None) -> Engine:
        settings = {**self.settings, **(changes or {})}
        return engine(self.name, {k: v for k, v in settings.items() if v is not None}, self.site)


def _rattled(atoms: Atoms, stdev: float) -> Atoms:
    atoms.rattle(stdev, seed=1)
    strain = 0.01 * np.array([[1, 2, 0], [2, 0, 1], [0, 1, -1]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


EMT = Example(
    name="emt",
    settings={},
    atoms=_rattled(bulk("Cu", cubic=True), 0.05),
    changes={"asap_cutoff": True},
    lacks="Fe",
)
ESPRESSO = Example(
    name="espresso",
    settings={
        "pseudopotentials": {"Si": "Si.pz-vbc.UPF"},
        "ecutwfc": 24,
        "kpts": [2, 2, 2],
        "smearing": "gaussian",
        "degauss": 0.02,
        "conv_thr": 1e-10,
    },
    atoms=_rattled(bulk("Si"), 0.05),
    changes={
        "pseudopotentials": {"Si": "Si.pbe-rrkj.UPF"},
        "ecutwfc": 25,
        "ecutrho": 110,
        "kspacing": 0.3,
        "kpts": [3, 3, 3],
        "smearing": "fermi-dirac",
        "degauss": 0.03,
        "nspin": 2,
        "starting_magnetization": {"Si": 0.5},
        "conv_thr": 1e-9,
        "mixing_beta": 0.3,
        "mixing_mode": "local-TF",
        "electron_maxstep": 50,
        "diagonalization": "cg",
        "max_seconds": 600,
        "tot_magnetization": 1.0,
        "hubbard_u": {"Si": 2.0},
        "vdw_corr": "grimme-d3",
        "nosym": True,
        "empty_bands": 0.5,
        "restart": False,
        "extra": {"system": {"noinv": True}},
    },
    lacks="Xe",
    force_tolerance=5e-3,
    stress_tolerance=0.5 * GPa,
    step=0.01,
    cured=frozenset({"scf-not-converged", "electrons", "needs-smearing"}),
)
ABINIT = Example(
    name="abinit",
    settings={
        "pseudopotentials": {"Si": "14_Si_4_1.9_1.9_pbe_n_v1.0.psp8"},
        "ecut": 9,
        "kpts": [2, 2, 1],
        "smearing": "gaussian",
        "toldfe": 1e-11,
    },
    atoms=_rattled(bulk("Si"), 0.05),
    changes={
        "pseudopotentials": {"Si": "13_Al_3_1.9_1.9_pbe_n_v1.0.psp8"},
        "ecut": 10,
        "ecutsm": 0.4,
        "kspacing": 0.3,
        "kpts": [3, 3, 3],
        "smearing": "fermi-dirac",
        "tsmear": 0.02,
        "nsppol": 2,
        "initial_moments": {"Si": 0.5},
        "toldfe": 1e-8,
        "nstep": 50,
        "bands": 1.5,
        "diemac": 12,
        "diemix": 0.3,
        "iscf": 3,
        "wfoptalg": 14,
        "nline": 6,
        "symmetry": False,
        "extra": {"dilatmx": 1.1},
    },
    lacks="Xe",
    force_tolerance=5e-3,
    stress_tolerance=0.5 * GPa,
    step=0.01,
    cured=frozenset({"scf-not-converged", "electrons"}),
)
CP2K = Example(
    name="cp2k",
    settings={
        "basis_sets": {"He": "DZVP-MOLOPT-SR-GTH"},
        "potentials": {"He": "GTH-PBE-q2"},
        "cutoff": 400,
        "kpts": [1, 1, 1],
        "eps_scf": 1e-8,
    },
    # So dense that forces and stress are large: few electrons make it cheap.
    atoms=_rattled(bulk("He", "bcc", a=2.4, cubic=True), 0.08),
    changes={
        "basis_sets": {"He": "SZV-MOLOPT-SR-GTH"},
        "potentials": {"He": "GTH-PADE-q2"},
        "basis_set_file": "BASIS_SET",
        "potential_file": "POTENTIAL",
        "cutoff": 500,
        "rel_cutoff": 70,
        "kspacing": 0.3,
        "kpts": [3, 3, 3],
        "xc": "PADE",
        "smearing": "none",
        "electronic_temperature": 500,
        "eps_scf": 1e-6,
        "eps_default": 1e-10,
        "max_scf": 50,
        "mixing": "PULAY_MIXING",
        "alpha": 0.2,
        "nbuffer": 4,
        "bands": 2,
    },
    lacks="Xe",
    force_tolerance=5e-3,
    stress_tolerance=0.5 * GPa,
    step=0.01,
    cured=frozenset({"scf-not-converged"}),
)
LENNARD_JONES = Example(
    name="ase",
    settings={
        "calculator": "lj",
        "parameters": {"sigma": 2.3, "epsilon": 0.4, "rc": 6.0, "smooth": True},
    },
    atoms=_rattled(bulk("Cu", cubic=True), 0.05),
    changes={
        "calculator": "morse",
        "parameters": {"sigma": 2.4},
        "layout_keys": ["threads"],
        "path_keys": ["mixing"],
    },
    lacks=None,
)
TBLITE = Example(
    name="ase",
    settings={
        "calculator": "tblite",
        "parameters": {"method": "GFN1-xTB", "verbosity": 0, "accuracy": 0.01},
        "layout_keys": ["verbosity"],
        "path_keys": ["mixer_damping", "max_iterations"],
    },
    atoms=_rattled(bulk("Si", cubic=True), 0.05),
    changes={
        "calculator": "lj",
        "parameters": {"method": "GFN2-xTB"},
        "layout_keys": ["verbosity", "cache_api"],
        "path_keys": ["mixer"],
    },
    lacks=None,
    force_tolerance=1e-3,
    stress_tolerance=1e-4,
    step=1e-3,
)
GPAW = Example(
    name="gpaw",
    settings={
        "cutoff": 250,
        "xc": "PBE",
        "kpts": [2, 2, 1],
        "energy_convergence": 1e-7,
        "density_convergence": 1e-6,
    },
    atoms=_rattled(bulk("Si"), 0.05),
    changes={
        "cutoff": 260,
        "kspacing": 0.3,
        "kpts": [3, 3, 3],
        "xc": "LDA",
        "setups": {"Si": ":p,1.5"},
        "smearing": "marzari-vanderbilt",
        "width": 0.2,
        "spinpol": True,
        "initial_moments": {"Si": 0.5},
        "energy_convergence": 1e-6,
        "density_convergence": 1e-5,
        "eigenstates_convergence": 1e-7,
        "maxiter": 50,
        "eigensolver": "rmm-diis",
        "bands": "150%",
        "mixing_beta": 0.1,
        "mixing_history": 4,
        "mixing_weight": 50,
        "symmetry": False,
    },
    lacks="Po",
    force_tolerance=5e-3,
    stress_tolerance=0.5 * GPa,
    step=0.01,
    cured=frozenset({"scf-not-converged"}),
)
HERE = Path(__file__).parents[1]
VASP = Example(
    name="vasp",
    settings={
        "user_incar_settings": {"ENCUT": 400, "ISMEAR": 0, "SIGMA": 0.05},
        "user_potcar_settings": {"Cu": "Cu", "Au": "Au"},
        "kpts": [2, 2, 2],
    },
    # In the order of neither the alphabet nor POSCAR, so that each force must find its atom.
    atoms=_rattled(
        Atoms("CuAuCuAu", bulk("Au", cubic=True).positions, cell=[4, 4, 4], pbc=True), 0.05
    ),
    changes={
        "input_set": "MPStaticSet",
        "user_incar_settings": {"ENCUT": 520},
        "user_potcar_settings": {"Cu": "Cu"},
        "user_kpoints_settings": {"reciprocal_density": 100},
        "potcar_functional": "PBE_52",
        "kspacing": 0.3,
        "kpts": [3, 3, 3],
        "algo": "All",
        "isearch": 1,
        "nelm": 50,
        "nelmin": 6,
        "nelmdl": -8,
        "imix": 1,
        "amix": 0.1,
        "bmix": 0.01,
        "amix_mag": 0.2,
        "bmix_mag": 0.02,
        "amin": 0.01,
        "maxmix": 20,
        "time": 0.2,
        "isym": 0,
        "symprec": 1e-4,
        "nbands": 40,
        "ncore": 2,
        "npar": 2,
        "kpar": 2,
        "lwave": False,
    },
    lacks="Xe",
    force_tolerance=1e-4,
    stress_tolerance=1e-5,
    step=1e-3,
    site=EngineSite(
        command=f"{sys.executable} {HERE / 'plugins/stand_in_vasp/stand_in_vasp.py'}",
        pseudopotentials=HERE / "plugins/stand_in_vasp/potentials",
    ),
    advice={"user_incar_settings": {"ENCUT": 400, "ISMEAR": 0, "SIGMA": 0.2}, "algo": "All"},
    cured=REASONS,
)
CHGNET = Example(
    name="chgnet",
    settings={},
    atoms=_rattled(bulk("NaCl", "rocksalt", a=5.6), 0.05),
    changes={"model": "r2scan", "device": "cuda"},
    lacks="Po",
    # Networks compute in single precision.
    force_tolerance=5e-3,
    stress_tolerance=5e-4,
    step=0.01,
)
SEVENNET = replace(CHGNET, name="sevennet", changes={"model": "7net-l3i5", "device": "cuda"})
NEEDS_CUSTODIAN = [
    pytest.mark.skipif(find_spec("custodian") is None, reason="needs custodian: the extra vasp")
]
NEEDS_ABINIT = [
    pytest.mark.skipif(
        shutil.which("abinit") is None
        or not (find_spec("sparc") or os.environ.get("ABINIT_PP_PATH")),
        reason="needs abinit, and the psp8 files of the extra abinit",
    )
]
NEEDS_CP2K = [
    pytest.mark.skipif(
        shutil.which("cp2k") is None or not Path("/usr/share/cp2k").is_dir(),
        reason="needs Debian's cp2k and cp2k-data",
    )
]
NEEDS_TBLITE = [pytest.mark.skipif(find_spec("tblite") is None, reason="needs tblite")]
NEEDS_GPAW = [pytest.mark.skipif(find_spec("gpaw") is None, reason="needs GPAW: the extra gpaw")]
NEEDS_CHGNET = [
    pytest.mark.skipif(find_spec("chgnet") is None, reason="needs CHGNet: the extra chgnet"),
    # torch and its companions warn of each other
    pytest.mark.filterwarnings("ignore"),
]
NEEDS_SEVENNET = [
    pytest.mark.skipif(find_spec("sevenn") is None, reason="needs SevenNet: the extra sevennet"),
    pytest.mark.filterwarnings("ignore"),
]
NEEDS_PW = [
    pytest.mark.espresso,
    pytest.mark.skipif(
        shutil.which("pw.x") is None or not Path("/usr/share/espresso/pseudo").is_dir(),
        reason="needs pw.x and Debian's quantum-espresso-data",
    ),
]
COMPUTING = [
    pytest.param(EMT, id="emt"),
    pytest.param(ESPRESSO, id="espresso", marks=NEEDS_PW),
    pytest.param(ABINIT, id="abinit", marks=NEEDS_ABINIT),
    pytest.param(CP2K, id="cp2k", marks=NEEDS_CP2K),
    pytest.param(LENNARD_JONES, id="ase"),
    pytest.param(TBLITE, id="ase-tblite", marks=NEEDS_TBLITE),
    pytest.param(GPAW, id="gpaw", marks=NEEDS_GPAW),
    pytest.param(VASP, id="vasp", marks=NEEDS_CUSTODIAN),
    pytest.param(CHGNET, id="chgnet", marks=NEEDS_CHGNET),
    pytest.param(SEVENNET, id="sevennet", marks=NEEDS_SEVENNET),
]


@pytest.fixture
def replay(tmp_path: Path) -> Example:
    """A data set of one structure, and another of the same with other labels."""
    atoms = bulk("Cu")
    for name, energy in (("one.extxyz", -1.0), ("two.extxyz", -2.0)):
        cell = " ".join(f"{value:.9f}" for value in atoms.cell.array.ravel())
        (tmp_path / name).write_text(
            f'1\nLattice="{cell}" Properties=species:S:1:pos:R:3 name=a other=b energy_ev={energy} '
            f'gap=1.5 pbc="T T T"\nCu 0.0 0.0 0.0\n'
        )
    return Example(
        name="replay",
        settings={"path": tmp_path / "one.extxyz", "id_key": "name", "energy_key": "energy_ev"},
        atoms=atoms,
        changes={
            "path": tmp_path / "two.extxyz",
            "id_key": "other",
            "energy_key": "gap",
            "energy_per_atom_key": "gap",
            "properties": {"gap": "gap"},
        },
        lacks=None,
    )


@pytest.fixture(params=[*COMPUTING, "replay"])
def example(request: pytest.FixtureRequest, replay: Example) -> Example:
    return replay if request.param == "replay" else request.param


def _request(example: Example, changes: Mapping[str, Any], recipe: Mapping[str, Any]) -> Request:
    atoms = example.atoms
    plain = {
        "lattice": atoms.cell.array.tolist(),
        "species": list(atoms.symbols),
        "coords": atoms.get_scaled_positions(wrap=False).tolist(),
    }
    return Request(
        calculation="c",
        attempt=1,
        structure_id=structure_id(from_plain(plain)),
        structure=plain,
        engine={"name": example.name, "settings": example.settings, "changes": changes},
        recipe=recipe,
        site=example.site.model_dump(),
        folder="",
        keep="all",
    )


STATIC = {"name": "static", "settings": {}}


def test_every_engine_has_an_example() -> None:
    assert set(ENGINES) == {"replay", *(cast(Example, case.values[0]).name for case in COMPUTING)}


def test_an_unknown_engine_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(SpecError, match=r"engine\.name: 'siesta' .*emt, espresso, .*vasp"):
        engine("siesta", {})


def test_an_unknown_setting_is_refused_with_the_allowed_keys(example: Example) -> None:
    with pytest.raises(SpecError) as refusal:
        example.engine({"no_such_key": 1})
    assert "engine.no_such_key: unknown key" in str(refusal.value)
    for key in example.changes:
        assert key in str(refusal.value)


def test_the_example_changes_every_setting(example: Example) -> None:
    assert set(example.changes) == set(type(example.engine().settings).model_fields)


def test_layout_and_path_keys_are_settings(example: Example) -> None:
    chosen = example.engine()
    hidden = chosen.layout_keys | chosen.path_keys
    assert hidden <= set(type(chosen.settings).model_fields)


def test_the_fingerprint_changes_with_the_physics_and_nothing_else(example: Example) -> None:
    first = example.engine()
    hidden = first.layout_keys | first.path_keys
    for key, value in example.changes.items():
        other = example.engine(_with_what_it_needs(example.name, key, value))
        changes_physics = key not in hidden or other.content() != first.content()
        assert (other.fingerprint() != first.fingerprint()) == changes_physics, key


def _with_what_it_needs(name: str, key: str, value: Any) -> dict[str, Any]:
    needs: dict[str, dict[str, Any]] = {
        "kspacing": {"kpts": None},
        "user_kpoints_settings": {"kpts": None},
        "basis_set_file": {"basis_sets": {"He": "DZVP-ALL-PADE"}},
        "starting_magnetization": {"nspin": 2},
        "tot_magnetization": {"nspin": 2},
        "initial_moments": {"spinpol": True} if name == "gpaw" else {"nsppol": 2},
        "energy_per_atom_key": {"energy_key": None},
    }
    return {key: value, **needs.get(key, {})}


def test_the_fingerprint_does_not_depend_on_the_site(example: Example) -> None:
    elsewhere = {"launcher": "mpirun -np {ranks}", "ranks": 4, "threads": 2}
    there = example.site.model_copy(update=elsewhere)
    moved = engine(example.name, example.settings, there)
    assert moved.fingerprint() == example.engine().fingerprint()


def test_an_element_that_the_engine_lacks_is_refused_before_anything_runs(
    example: Example,
) -> None:
    if example.lacks is None:
        assert example.engine().elements() is None
        return
    with pytest.raises(ConfigurationError, match=example.lacks):
        example.engine().check(frozenset({example.lacks}))


def test_it_counts_no_more_electrons_than_an_atom_has(example: Example) -> None:
    made = engine(example.name, example.settings, example.site)
    for symbol, number in zip(example.atoms.symbols, example.atoms.numbers, strict=True):
        counted = made.valence(symbol)
        assert counted is None or 1 <= counted <= number


def test_it_computes_what_it_says_it_can(example: Example) -> None:
    assert isinstance(example.engine().check(frozenset(example.atoms.symbols)), list)


def test_an_answer_is_complete_and_the_same_again(example: Example, tmp_path: Path) -> None:
    first = compute(_request(example, {}, STATIC), tmp_path / "first")
    again = compute(_request(example, {}, STATIC), tmp_path / "again")
    assert first.complete, first.failure
    assert first.energy == again.energy
    assert first.forces == again.forces
    assert dict(first.properties) == dict(again.properties)


def test_everything_it_writes_lies_in_its_directory(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    compute(_request(example, {}, STATIC), tmp_path / "here")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_change_that_touches_the_physics_is_no_further_attempt(
    example: Example, tmp_path: Path
) -> None:
    chosen = example.engine()
    key = next(key for key in example.changes if key not in chosen.path_keys)
    request = _request(example, {key: example.changes[key]}, STATIC)
    result = compute(request, tmp_path)
    assert not result.complete
    assert result.failure is not None
    assert result.failure.kind == "configuration"


def test_a_remedy_by_path_keys_leaves_the_fingerprint_as_it_is(example: Example) -> None:
    chosen = example.engine()
    for reason in sorted(REASONS):
        failure = Failure(FailureKind.PHYSICS, reason, "words")
        for attempt in range(1, 9):
            if (remedy := chosen.remedies(failure, attempt)) is not None:
                assert remedy.keys() <= chosen.path_keys
                assert example.engine(remedy).fingerprint() == chosen.fingerprint()
        assert chosen.remedies(failure, 9) is None


def test_a_remedy_of_the_physics_changes_the_fingerprint_and_says_why(example: Example) -> None:
    chosen, cured = example.engine(), set()
    for reason in sorted(REASONS):
        failure = Failure(FailureKind.PHYSICS, reason, "words", example.advice)
        if (remedy := chosen.physics_remedy(failure)) is not None:
            assert example.engine(remedy.changes).fingerprint() != chosen.fingerprint()
            assert len(remedy.why) >= len("words")
            cured.add(reason)
        if example.advice:
            assert chosen.remedies(failure, 1) is None
    assert cured == example.cured


@pytest.mark.parametrize("kind", [k for k in FailureKind if k is not FailureKind.PHYSICS])
def test_what_is_no_fault_of_the_structure_has_no_remedy(
    example: Example, kind: FailureKind
) -> None:
    chosen = example.engine()
    for reason in sorted(REASONS | {"bad-input", "pseudopotential"}):
        for advice in ({}, example.advice):
            failure = Failure(kind, reason, "words", advice)
            assert chosen.remedies(failure, 1) is None
            assert chosen.physics_remedy(failure) is None


@pytest.mark.parametrize("case", COMPUTING)
def test_forces_are_the_derivatives_of_the_energy(case: Example, tmp_path: Path) -> None:
    atoms = case.atoms.copy()
    atoms.calc = case.engine().calculator(atoms, tmp_path)
    force = float(atoms.get_forces()[1, 2])
    slope = []
    for sign in (1, -1):
        displaced = case.atoms.copy()
        displaced.positions[1, 2] += sign * case.step
        displaced.calc = case.engine().calculator(case.atoms, tmp_path)
        slope.append(displaced.get_potential_energy())
    assert force == pytest.approx(
        -(slope[0] - slope[1]) / (2 * case.step), abs=case.force_tolerance
    )


@pytest.mark.parametrize("case", COMPUTING)
@pytest.mark.parametrize(("voigt", "row", "column"), [(0, 0, 0), (3, 1, 2)])
def test_stress_is_the_derivative_of_the_energy(
    case: Example, tmp_path: Path, voigt: int, row: int, column: int
) -> None:
    atoms = case.atoms.copy()
    atoms.calc = case.engine().calculator(atoms, tmp_path)
    stress = float(atoms.get_stress()[voigt])
    energies = []
    for sign in (1, -1):
        strain = np.eye(3)
        strain[row, column] += sign * case.step
        strained = case.atoms.copy()
        strained.set_cell(strained.cell.array @ (strain + strain.T) / 2, scale_atoms=True)
        strained.calc = case.engine().calculator(case.atoms, tmp_path)
        energies.append(strained.get_potential_energy())
    numeric = (energies[0] - energies[1]) / (2 * case.step) / atoms.get_volume()
    assert stress == pytest.approx(numeric, abs=case.stress_tolerance)


@pytest.mark.parametrize(
    "module",
    ["leadline.tasks.engines.compute", *(entry.partition(":")[0] for entry in ENGINES.values())],
)
def test_an_engine_loads_neither_prefect_nor_a_database_nor_torch(module: str) -> None:
    code = (
        f"import sys; import {module}; "
        "from leadline.tasks.recipes.table import RECIPES, recipe_class; "
        "[recipe_class(name) for name in RECIPES]; "
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for heavy in ("prefect", "mongoengine", "torch", "distributed", "matplotlib"):
        assert f"'{heavy}'" not in loaded
