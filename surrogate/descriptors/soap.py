"""Smooth overlap of atomic positions, averaged over the sites after squaring.

The average over sites must be taken of the power spectrum ("outer"). On a
common lattice the average of the density ("inner"), and the compression that
multiplies a species' density with that of all, are linear in the occupation of
the neighbours, so that every ordering of one composition gets equal features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP
from numpy.typing import NDArray
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.descriptors.composition import CompositionDescriptor
from leadline.surrogate.descriptors.descriptor import (
    FEW_ELEMENTS,
    ideal_structure,
    indices,
)
from leadline.surrogate.descriptors.elements import PROPERTIES
from leadline.surrogate.errors import DescriptorError

WEIGHTS = ("electronegativity", "radius", "group", "row")


class SoapDescriptor:
    """Composition and the SOAP power spectrum (Bartók et al., PRB 87, 184115, 2013).

    Up to six elements every pair of species has its own power spectrum. With
    more, that would be too many numbers: species are told apart by a density
    weighted with properties of the elements, one spectrum a property and one
    unweighted (Darby et al., npj Comput. Mater. 8, 166, 2022).

    Parameters
    ----------
    elements
        Symbols of the elements of the pool.
    r_cut
        Radius around a site that is described, Å.
    n_max, l_max
        Radial functions, and highest degree of the spherical harmonics.
    sigma
        Width of an atom's Gaussian, Å.
    """

    def __init__(
        self,
        elements: Sequence[str],
        r_cut: float = 6.0,
        n_max: int = 6,
        l_max: int = 4,
        sigma: float = 0.4,
    ) -> None:
        self.elements = tuple(elements)
        self.composition = CompositionDescriptor(self.elements)
        settings = f"r_cut={r_cut:g},n_max={n_max},l_max={l_max},sigma={sigma:g}"
        self.id = f"soap-1({','.join(self.elements)};{settings})"
        self._spectra = {
            name: self._spectrum(weights, r_cut, n_max, l_max, sigma)
            for name, weights in self._weightings().items()
        }
        self.feature_names = self.composition.feature_names + tuple(
            f"{name} {index}"
            for name, spectrum in self._spectra.items()
            for index in range(spectrum.get_number_of_features())
        )

    @property
    def blocks(self) -> Mapping[str, slice]:
        """Those of the composition, and the SOAP."""
        start = len(self.composition.feature_names)
        return {**self.composition.blocks, "soap": slice(start, len(self.feature_names))}

    def describe(self, candidates: Sequence[Candidate]) -> NDArray[np.float32]:
        """Return features, float32[n, d]."""
        atoms = [_atoms(one, self.elements) for one in candidates]
        rows = [[spectrum.create(one) for spectrum in self._spectra.values()] for one in atoms]
        width = len(self.feature_names) - len(self.composition.feature_names)
        spectra = np.array([np.concatenate(row) for row in rows]).reshape(len(rows), width)
        return np.hstack([self.composition.describe(candidates), spectra.astype(np.float32)])

    def _weightings(self) -> dict[str, dict[str, float] | None]:
        if len(self.elements) <= FEW_ELEMENTS:
            return {"soap": None}
        columns = [list(PROPERTIES).index(name) for name in WEIGHTS]
        weights = self.composition.properties[:, columns].T
        unit: dict[str, dict[str, float] | None] = {"soap": dict.fromkeys(self.elements, 1.0)}
        return unit | {
            f"soap by {name}": dict(zip(self.elements, map(float, row), strict=True))
            for name, row in zip(WEIGHTS, weights, strict=True)
        }

    def _spectrum(
        self, weights: dict[str, float] | None, r_cut: float, n_max: int, l_max: int, sigma: float
    ) -> SOAP:
        mode = "off" if weights is None else "mu2"
        try:
            return SOAP(
                species=self.elements,
                periodic=True,
                r_cut=r_cut,
                n_max=n_max,
                l_max=l_max,
                sigma=sigma,
                average="outer",
                compression={"mode": mode, "species_weighting": weights},
            )
        except ValueError as error:
            raise DescriptorError(f"soap cannot be set up: {error}") from error


def _atoms(candidate: Candidate, elements: Sequence[str]) -> Atoms:
    structure: Structure = ideal_structure(candidate, "soap")
    indices(candidate, elements)
    return Atoms(
        numbers=[site.specie.Z for site in structure],
        positions=structure.cart_coords,
        cell=structure.lattice.matrix,
        pbc=True,
    )
