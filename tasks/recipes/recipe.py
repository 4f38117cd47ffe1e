"""The contract of a recipe: what is computed with an engine, and to what tolerance.

A worker imports this module: neither prefect nor mongoengine nor torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.units import GPa

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.errors import SpecError
from leadline.tasks.recipes.recipe_settings import Prerelax, RecipeSettings, recipe_id
from leadline.tasks.recipes.trail import Trail
from leadline.tasks.settings import validated

HIGHEST_ENERGY = 50.0
"""eV/atom; above it no solid was computed: atoms overlap, or the SCF went astray."""
LOWEST_ENERGY = -1e6
"""eV/atom; below every all-electron total energy of an atom."""

UNITS = {
    "energy_per_atom": "eV",
    "volume_per_atom": "Å^3",
    "largest_force": "eV/Å",
    "residual_pressure": "GPa",
    "largest_stress": "GPa",
    "fresh_basis_change": "eV/atom",
    "scf_residual": "eV",
    "total_magnetization": "μB",
    "absolute_magnetization": "μB",
    "equilibrium_volume": "Å^3/atom",
    "eos_residual": "eV/atom",
    "bulk_modulus": "GPa",
    "bulk_modulus_voigt": "GPa",
    "bulk_modulus_reuss": "GPa",
    "shear_modulus": "GPa",
    "shear_modulus_voigt": "GPa",
    "shear_modulus_reuss": "GPa",
    "young_modulus": "GPa",
    "softest_stiffness": "GPa",
    **{f"c{i}{j}": "GPa" for i in range(1, 7) for j in range(i, 7)},
    "band_gap": "eV",
    "direct_band_gap": "eV",
}
"""Units of the properties that recipes and engines give; what is not here has none."""


@dataclass(frozen=True)
class Instrument:
    """An engine as a recipe uses it.

    Parameters
    ----------
    calculator
        Gives an ASE calculator whose k-mesh and basis are those of the atoms given,
        and stay so when the cell changes.
    directory
        Where engine and recipe put their files.
    trail
        Geometries that this and earlier attempts reached.
    bands
        As ``calculator``, with the eigenvalues of empty bands among the results;
        ConfigurationError where the engine gives none.
    observed
        Gives what the engine's files say of the last single point beside its results.
    """

    calculator: Callable[[Atoms], BaseCalculator]
    directory: Path
    trail: Trail = field(default_factory=Trail)
    bands: Callable[[Atoms], BaseCalculator] | None = None
    observed: Callable[[], Mapping[str, float]] = dict


@dataclass(frozen=True)
class RecipeOutcome:
    """What a recipe found: plain numbers with fixed units.

    Parameters
    ----------
    energy
        Total energy of the cell in eV: the one whose derivatives the forces are.
        None only where an engine answers with other properties alone.
    atoms
        The structure at the end.
    forces
        eV/Å, [n][3], or None where the engine gives none.
    stress
        eV/Å^3 in Voigt order xx, yy, zz, yz, xz, xy, tension positive; or None.
    properties
        ``energy_per_atom`` (eV), ``volume_per_atom`` (Å^3) and, where computed,
        ``largest_force`` (eV/Å, length of the longest), ``residual_pressure``
        (GPa, minus the mean normal stress) and ``largest_stress`` (GPa, largest
        component beside the pressure asked for). An engine may add more.
    moments
        μB of each site at the end, or None where the engine gives none.
    steps
        Ionic steps taken; 0 for a single point.
    failure
        Why these numbers are no answer, or None.
    """

    energy: float | None
    atoms: Atoms
    forces: list[list[float]] | None = None
    stress: list[float] | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    moments: list[float] | None = None
    steps: int = 0
    failure: Failure | None = None


class Recipe(Protocol):
    """What is computed with an engine, and to what tolerance."""

    name: ClassVar[str]
    Settings: ClassVar[type[RecipeSettings]]
    settings: RecipeSettings
    needs_bands: ClassVar[bool] = False
    """True if it reads eigenvalues, which not every engine gives."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Check ``settings``; SpecError where one is refused."""
        self.settings = validated(self.Settings, settings, "recipe")

    @property
    def id(self) -> str:
        """Name and a hash of the settings: part of the calculation's id."""
        return recipe_id(self.name, self.settings)

    @property
    def relaxes_cell(self) -> bool:
        """True if lattice and volume at the end may differ from the start."""

    @property
    def pressure(self) -> float:
        """GPa that the cell is relaxed to."""
        return 0.0

    @property
    def prerelax(self) -> Prerelax | None:
        """How a cheap engine relaxes the structure before this recipe runs, or None."""
        found: Prerelax | None = getattr(self.settings, "prerelax", None)
        return found

    def prerelaxed_by(self, fingerprint: str) -> Recipe:
        """Return this recipe, and what its cheap engine is.

        Raises
        ------
        SpecError
            If the settings name another fingerprint.
        """
        assert self.prerelax is not None
        if self.prerelax.fingerprint not in (None, fingerprint):
            raise SpecError(
                f"recipe.prerelax.fingerprint: found {self.prerelax.fingerprint!r}, and the engine "
                f"{self.prerelax.engine.name!r} of recipe.prerelax has {fingerprint}; leave the "
                "key out, it is found by itself"
            )
        plain = self.settings.model_dump(mode="json")
        return type(self)({**plain, "prerelax": {**plain["prerelax"], "fingerprint": fingerprint}})

    def run(self, atoms: Atoms, instrument: Instrument) -> RecipeOutcome:
        """Compute ``atoms`` (changed in place).

        What the calculator raises passes through: its engine knows what it means.
        """


def outcome(
    atoms: Atoms, steps: int = 0, pressure: float = 0.0, failure: Failure | None = None
) -> RecipeOutcome:
    """Return what the calculator of ``atoms`` says now, refused where it is absurd.

    ``pressure`` in GPa is what the cell was relaxed to.
    """
    energy = float(atoms.get_potential_energy())
    forces = _optional(atoms.get_forces, (len(atoms), 3))
    stress = _optional(atoms.get_stress, (6,))
    moments = getattr(atoms.calc, "results", {}).get("magmoms")
    numbers = {"energy_per_atom": energy / len(atoms), "volume_per_atom": _volume(atoms)}
    if forces is not None:
        numbers["largest_force"] = float(np.linalg.norm(forces, axis=1).max())
    if stress is not None:
        beside = stress / GPa + pressure * np.array([1, 1, 1, 0, 0, 0])
        numbers["residual_pressure"] = float(-stress[:3].mean() / GPa)
        numbers["largest_stress"] = float(np.abs(beside).max())
    return RecipeOutcome(
        energy=energy,
        atoms=atoms,
        forces=None if forces is None else forces.tolist(),
        stress=None if stress is None else stress.tolist(),
        properties=numbers,
        moments=None if moments is None else np.asarray(moments, dtype=float).tolist(),
        steps=steps,
        failure=_absurd(numbers) or failure,
    )


def _optional(get: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        found = np.asarray(get(), dtype=float)
    except PropertyNotImplementedError:
        return None
    if found.shape != shape:
        raise ValueError(
            f"{get.__name__} gave an array of shape {found.shape}, and {shape} is that of this "
            "structure: the output is of another one"
        )
    return found


def _volume(atoms: Atoms) -> float:
    return float(atoms.get_volume()) / len(atoms)


def _absurd(numbers: Mapping[str, float]) -> Failure | None:
    broken = [name for name, value in numbers.items() if not math.isfinite(value)]
    if broken:
        return Failure(
            FailureKind.PHYSICS, "not-finite", f"the engine gave no finite {', '.join(broken)}"
        )
    energy = numbers["energy_per_atom"]
    if not LOWEST_ENERGY < energy < HIGHEST_ENERGY:
        return Failure(
            FailureKind.PHYSICS,
            "absurd-energy",
            f"{energy:.6g} eV/atom lies outside ({LOWEST_ENERGY:g}, {HIGHEST_ENERGY:g}): "
            "do atoms overlap?",
        )
    return None
