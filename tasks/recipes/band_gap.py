"""The gap between occupied and empty bands, from the eigenvalues of a single point."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.dft.bandgap import bandgap

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.recipes.recipe import Instrument, RecipeOutcome, outcome
from leadline.tasks.recipes.static import Static


class BandGap(Static):
    """A single point, and the gap of its Kohn-Sham bands on the k-mesh of the SCF.

    The mesh may miss the band edges, so the gap of all k is this or less; one that is
    centred at Γ has Γ, and zone boundaries where its divisions are even. It is the
    functional's own: that of LDA or PBE is half to two thirds of the measured
    one. 0 where a band crosses the Fermi level.
    """

    name: ClassVar[str] = "band_gap"
    needs_bands: ClassVar[bool] = True

    def run(self, atoms: Atoms, instrument: Instrument) -> RecipeOutcome:
        """Compute ``atoms`` once, with empty bands."""
        if instrument.bands is None:
            raise ConfigurationError("the recipe band_gap needs an engine that gives eigenvalues")
        atoms.calc = instrument.bands(atoms)
        found = outcome(atoms)
        if found.failure is not None:
            return found
        results = atoms.calc.results
        try:
            gaps = band_gaps(results["eigenvalues"], results["fermi_level"])
        except (KeyError, ValueError) as error:
            words = f"the engine's output has no bands on both sides of the Fermi level: {error}"
            return replace(found, failure=Failure(FailureKind.PHYSICS, "no-bands", words))
        return replace(found, properties={**found.properties, **gaps})


def band_gaps(eigenvalues: np.ndarray, fermi_level: float) -> dict[str, float]:
    """Return ``band_gap`` and ``direct_band_gap`` in eV.

    Parameters
    ----------
    eigenvalues
        eV, float[spins, k-points, bands].
    fermi_level
        eV; bands below it are occupied.

    Raises
    ------
    ValueError
        If a k-point has no occupied or no empty band.
    """
    energies = np.asarray(eigenvalues, dtype=float)
    return {
        "band_gap": float(bandgap(eigenvalues=energies, efermi=fermi_level)[0]),
        "direct_band_gap": float(bandgap(eigenvalues=energies, efermi=fermi_level, direct=True)[0]),
    }
