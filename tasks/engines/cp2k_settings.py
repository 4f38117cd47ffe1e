"""What a campaign file may say of CP2K."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from leadline.tasks.engines.k_mesh import MeshSettings

NAME = r"^[A-Za-z0-9][\w.+-]*$"


class Cp2kSettings(MeshSettings):
    """Settings of ``cp2k`` (Quickstep, GPW): names of CP2K, units as said."""

    basis_sets: dict[str, str]
    """Name of each element's basis set in ``basis_set_file``."""
    potentials: dict[str, str]
    """Name of each element's pseudopotential in ``potential_file``."""
    basis_set_file: str = Field(default="BASIS_MOLOPT", pattern=NAME)
    """File of basis sets, in the folder of CP2K's data."""
    potential_file: str = Field(default="GTH_POTENTIALS", pattern=NAME)
    """File of pseudopotentials, in the folder of CP2K's data."""
    cutoff: float = Field(gt=0)
    """Cutoff of the finest grid, Ry."""
    rel_cutoff: float = Field(default=60, gt=0)
    """Cutoff of the grid that a Gaussian is mapped to, Ry."""
    xc: Literal["PBE", "PADE", "BLYP", "BP"] = "PBE"
    """Functional; ``PADE`` is LDA."""
    smearing: Literal["none", "fermi-dirac"] = "fermi-dirac"
    """Occupations; ``none`` is for insulators alone."""
    electronic_temperature: float = Field(default=1000.0, gt=0)
    """Width of the smearing, K."""
    eps_scf: float = Field(default=1e-7, gt=0)
    """Convergence of the density matrix."""
    eps_default: float = Field(default=1e-12, gt=0)
    """Precision of all else, Ha."""
    max_scf: int = Field(default=100, ge=1)
    """SCF steps after which it is given up."""
    mixing: Literal["BROYDEN_MIXING", "PULAY_MIXING", "KERKER_MIXING"] = "BROYDEN_MIXING"
    """How densities are mixed."""
    alpha: float = Field(default=0.4, gt=0, le=1)
    """Share of the new density in the next; smaller is slower and calmer."""
    nbuffer: int = Field(default=8, ge=1)
    """Densities that are mixed."""
    bands: float = Field(default=1.3, ge=1.05)
    """Bands with smearing, in those that the valence electrons fill; four more come on top."""

    @model_validator(mode="after")
    def _complete(self) -> Cp2kSettings:
        for key, names in (("basis_sets", self.basis_sets), ("potentials", self.potentials)):
            for element, name in names.items():
                # A line of CP2K's input takes whatever stands in it.
                if not name or not all(c.isalnum() or c in "-_+.()" for c in name):
                    raise ValueError(f"{key}.{element} must be one plain word; got {name!r}")
        apart = sorted(self.basis_sets.keys() ^ self.potentials.keys())
        if apart:
            raise ValueError(
                f"basis_sets and potentials must name the same elements; {', '.join(apart)} "
                "stands in one alone"
            )
        return self
