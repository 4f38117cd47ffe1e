"""Calculators of ASE by name: what they give, what is refused, and how they fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

from leadline.tasks.calculation import Result
from leadline.tasks.engines.ase import AseEngine
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.table import engine_settings
from leadline.tasks.errors import ConfigurationError, SpecError

Computed = Callable[..., Result]

NEEDS_TBLITE = pytest.mark.skipif(find_spec("tblite") is None, reason="needs tblite")
ARGON: dict[str, Any] = {"calculator": "lj", "parameters": {"sigma": 3.4, "epsilon": 0.0104}}


def test_the_energy_is_that_of_the_calculator_alone(computed: Computed) -> None:
    argon = bulk("Ar", a=5.2)
    result = computed("ase", ARGON, argon)
    argon.calc = LennardJones(sigma=3.4, epsilon=0.0104)
    assert result.energy == argon.get_potential_energy()
    assert result.versions["ase"]


def test_a_crystal_relaxes_to_the_minimum_of_its_potential(computed: Computed) -> None:
    settings = {"calculator": "lj", "parameters": {"sigma": 1.0, "epsilon": 1.0, "rc": 8.0}}
    recipe = {"name": "relax", "settings": {"fmax": 0.001}}
    result = computed("ase", settings, bulk("Ar", a=1.5), recipe=recipe)
    assert result.complete, result.failure
    # All neighbours of an fcc lattice: a = 1.5422 σ and -8.610 ε (Kittel, chapter 3).
    assert (4 * result.properties["volume_per_atom"]) ** (1 / 3) == pytest.approx(1.5422, abs=0.01)
    assert result.energy == pytest.approx(-8.61, abs=0.1)


@NEEDS_TBLITE
def test_an_scf_that_does_not_converge_is_physics_and_has_no_energy(computed: Computed) -> None:
    settings = {"calculator": "tblite", "parameters": {"max_iterations": 2, "verbosity": 0}}
    result = computed("ase", settings, bulk("Si", cubic=True))
    assert not result.complete
    assert result.energy is None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == ("physics", "scf-not-converged")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calculator": "os.system"}, "no calculator is called 'os.system'"),
        ({"calculator": "../lj"}, "no calculator is called"),
        ({"calculator": "espresso"}, "write engine.name: espresso"),
        ({"calculator": "lammpslib"}, "its settings are commands"),
        ({"parameters": {"command": "rm"}}, "names a command, a file or a folder"),
        ({"parameters": {"slako_dir": "x"}}, "engines.ase of the machine profile"),
        ({"parameters": {"xc": "/etc/passwd"}}, "characters of a path or a command"),
        ({"parameters": {"deep": {"er": ["a;b", "$(id)"]}}}, "deep.er holds characters"),
        ({"parameters": {"sigma": float("nan")}}, "not finite"),
        ({"parameters": {"a b": 1}}, "no name of a setting"),
    ],
)
def test_what_names_something_of_the_machine_is_refused(
    changes: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        engine_settings("ase", {**ARGON, **changes})
    assert words in str(refusal.value)


def test_a_setting_that_the_calculator_lacks_is_configuration(computed: Computed) -> None:
    settings = {"calculator": "lj", "parameters": {"sgima": 3.4}}
    with pytest.raises(ConfigurationError, match=r"lj has no sgima; allowed are .*sigma"):
        AseEngine(settings, EngineSite()).check(frozenset({"Ar"}))
    result = computed("ase", settings, bulk("Ar"))
    assert result.failure is not None
    assert result.failure.kind == "configuration"


def test_keys_that_the_user_calls_no_physics_leave_the_fingerprint_alone() -> None:
    def fingerprint(parameters: Mapping[str, Any], **keys: Any) -> str:
        settings = {"calculator": "morse", "parameters": parameters, **keys}
        return AseEngine(settings, EngineSite()).fingerprint()

    plain = fingerprint({"r0": 2.0})
    assert fingerprint({"r0": 2.0, "rcut1": 1.8}) != plain
    assert fingerprint({"r0": 2.0, "rcut1": 1.8}, layout_keys=["rcut1"]) == plain
    assert fingerprint({"r0": 2.0, "rcut1": 1.8}, path_keys=["rcut1"]) == plain


def test_the_version_of_a_program_comes_from_the_profile() -> None:
    settings = {"calculator": "nwchem", "parameters": {"theory": "dft"}}
    with pytest.raises(ConfigurationError, match=r"engines\.ase\.version"):
        AseEngine(settings, EngineSite()).version()
    site = EngineSite(version="7.0.2", command="nwchem PREFIX.nwi > PREFIX.nwo")
    assert AseEngine(settings, site).version() == "7.0.2"
    (doubt,) = AseEngine(settings, site).check(frozenset({"Si"}))
    assert "did not converge" in doubt


def test_a_program_is_run_as_the_profile_says_and_its_end_is_told(
    computed: Computed, tmp_path: Path
) -> None:
    settings = {"calculator": "nwchem", "parameters": {"theory": "dft"}}
    program = tmp_path / "nwchem"
    program.write_text("#!/bin/sh\ntouch ran\nexit 3\n")
    program.chmod(0o755)
    site = {"version": "7.0.2", "command": f"{program} PREFIX.nwi", "launcher": "env"}
    result = computed("ase", settings, bulk("Si", cubic=True), site=site)
    assert (tmp_path / "raw" / "ran").exists()
    assert not result.complete
    assert result.failure is not None
    assert (result.failure.kind, result.failure.reason) == ("physics", "calculation-failed")


def test_a_calculator_that_says_it_did_not_converge_gives_no_energy(
    computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LennardJones, "converged", False, raising=False)
    result = computed("ase", ARGON, bulk("Ar"))
    assert result.energy is None
    assert result.failure is not None
    assert result.failure.reason == "scf-not-converged"
