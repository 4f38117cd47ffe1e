"""Elastic constants from the stress of small strains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa
from numpy.typing import NDArray
from pydantic import Field
from pymatgen.core import Structure
from pymatgen.core.elasticity.elastic import ElasticTensor
from pymatgen.core.elasticity.strain import Strain
from pymatgen.core.elasticity.stress import Stress
from pymatgen.core.tensors import symmetry_reduce

from leadline.tasks.errors import ConfigurationError
from leadline.tasks.recipes.equation_of_state import in_equilibrium
from leadline.tasks.recipes.recipe import (
    Instrument,
    Recipe,
    RecipeOutcome,
    outcome,
)
from leadline.tasks.recipes.recipe_settings import RelaxingSettings
from leadline.tasks.recipes.relax import RelaxSettings, minimise

SHARES = (-1.0, -0.5, 0.5, 1.0)
"""Of the largest strain: four points a direction, so that the fit cancels the cubic term."""
SYMMETRY_PRECISION = 0.01
"""Å, for the strains that symmetry makes the same."""


class ElasticSettings(RelaxingSettings):
    """Settings of ``elastic``."""

    relax: bool = True
    """Relax cell and positions first; else the strains start from the cell as it is."""
    fmax: float = Field(default=0.005, gt=0, le=1)
    """Largest force at the end of each relaxation, eV/Å."""
    max_steps: int = Field(default=200, ge=1)
    """Ionic steps after which a relaxation is given up."""
    strain: float = Field(default=0.01, gt=0, le=0.05)
    """Largest strain; shears count as in Voigt's notation, twice the tensor's component."""


class Elastic(Recipe):
    """Fit the elastic tensor to stresses, as de Jong et al., Sci. Data 2, 150009 (2015).

    Second Piola-Kirchhoff stresses over Green-Lagrange strains, six directions of
    four strains each, less those that symmetry gives. Atoms relax in each strained
    cell. A tensor that is not positive definite is an answer, too: such a crystal
    is not stable (Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014)).
    """

    name: ClassVar[str] = "elastic"
    Settings: ClassVar[type[ElasticSettings]] = ElasticSettings
    settings: ElasticSettings

    @property
    def relaxes_cell(self) -> bool:
        """True unless ``relax: false``."""
        return self.settings.relax

    def run(self, atoms: Atoms, instrument: Instrument) -> RecipeOutcome:
        """Strain ``atoms`` in all directions."""
        middle = in_equilibrium(atoms, self._how(cell=True), instrument, self.settings.relax)
        if middle.failure is not None:
            return middle
        if middle.stress is None:
            raise ConfigurationError(
                "the recipe elastic needs stresses, and this engine gives none; use "
                "equation_of_state for the bulk modulus, or another engine"
            )
        strains: list[Strain] = []
        stresses: list[Stress] = []
        steps = middle.steps
        for strain, operations in self._strains(middle.atoms).items():
            point = self._at(middle.atoms, strain, instrument)
            if point.failure is not None:
                return replace(middle, failure=point.failure)
            stress, steps = _piola_kirchhoff(point, strain), steps + point.steps
            strains += [strain, *(strain.transform(each) for each in operations)]
            stresses += [stress, *(stress.transform(each) for each in operations)]
        tensor = ElasticTensor.from_independent_strains(
            strains, stresses, eq_stress=_cauchy(middle.stress)
        )
        found = {**middle.properties, **moduli(np.asarray(tensor.voigt))}
        return replace(middle, properties=found, steps=steps)

    def _how(self, *, cell: bool) -> RelaxSettings:
        chosen = self.settings
        return RelaxSettings(fmax=chosen.fmax, max_steps=chosen.max_steps, cell=cell)

    def _strains(self, atoms: Atoms) -> Any:
        """Return the strains to compute, and for each the operations that give others."""
        amounts = [share * self.settings.strain for share in SHARES]
        every = [Strain.from_index_amount(k, amount) for k in range(6) for amount in amounts]
        return symmetry_reduce(every, _structure(atoms), symprec=SYMMETRY_PRECISION)

    def _at(self, middle: Atoms, strain: Strain, instrument: Instrument) -> RecipeOutcome:
        """Compute the strained cell; k-mesh and cutoffs are those of ``middle``."""
        atoms = middle.copy()
        atoms.set_cell(middle.cell.array @ _gradient(strain).T, scale_atoms=True)
        atoms.calc = middle.calc
        steps, failure = minimise(atoms, self._how(cell=False), instrument.directory)
        return outcome(atoms, steps, failure=failure)


def moduli(stiffness: NDArray[np.float64]) -> dict[str, float]:
    """Return the constants and moduli of a stiffness matrix, float[6, 6] in GPa.

    Bulk and shear modulus by Voigt (uniform strain), Reuss (uniform stress) and
    Hill (their mean); Young's modulus ``9 K G / (3 K + G)`` and Poisson's ratio
    ``(3 K - 2 G) / (6 K + 2 G)`` from Hill's.
    """
    c = (stiffness + stiffness.T) / 2
    softest = float(np.linalg.eigvalsh(c)[0])
    found = {f"c{i + 1}{j + 1}": float(c[i, j]) for i in range(6) for j in range(i, 6)}
    found |= {"softest_stiffness": softest, "mechanically_stable": float(softest > 0)}
    if abs(softest) < 1e-6:
        return found  # a liquid: its compliance is infinite
    tensor = ElasticTensor.from_voigt(c)
    return found | {
        "bulk_modulus": float(tensor.k_vrh),
        "bulk_modulus_voigt": float(tensor.k_voigt),
        "bulk_modulus_reuss": float(tensor.k_reuss),
        "shear_modulus": float(tensor.g_vrh),
        "shear_modulus_voigt": float(tensor.g_voigt),
        "shear_modulus_reuss": float(tensor.g_reuss),
        "young_modulus": float(tensor.y_mod) / 1e9,
        "poisson_ratio": float(tensor.homogeneous_poisson),
    }


def _structure(atoms: Atoms) -> Structure:
    moments = atoms.get_initial_magnetic_moments()
    return Structure(
        atoms.cell.array,
        atoms.get_chemical_symbols(),
        atoms.get_scaled_positions(),
        site_properties={"magmom": moments.tolist()} if moments.any() else {},
    )


def _gradient(strain: Strain) -> np.ndarray:
    """Return the symmetric deformation gradient of a Green-Lagrange strain, float[3, 3]."""
    return np.asarray(strain.get_deformation_matrix(shape="symmetric"), dtype=float)


def _cauchy(stress: Sequence[float]) -> Stress:
    return Stress(voigt_6_to_full_3x3_stress(np.asarray(stress)) / GPa)


def _piola_kirchhoff(point: RecipeOutcome, strain: Strain) -> Stress:
    assert point.stress is not None
    second = _cauchy(point.stress).piola_kirchoff_2(  # type: ignore[no-untyped-call]  # pymatgen's
        _gradient(strain)
    )
    return Stress(second)
