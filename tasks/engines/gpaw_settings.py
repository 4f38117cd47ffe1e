"""What a campaign file may say of GPAW."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from leadline.tasks.engines.k_mesh import MeshSettings

NAME = r"[A-Za-z][\w.+-]*"
SETUP = r"[\w-]*(:[spdf],\d+(\.\d+)?(,[01])?)*"
"""Name of a data set, and Hubbard corrections behind it: ``:d,3.5``."""


class GpawSettings(MeshSettings):
    """Settings of ``gpaw``, in plane-wave mode: names and units of GPAW."""

    cutoff: float = Field(gt=0)
    """Cutoff of the plane waves, eV."""
    xc: str = Field(default="PBE", pattern=rf"^{NAME}$")
    """Functional, as GPAW calls it."""
    setups: dict[str, str] = Field(default_factory=dict)
    """PAW data set of an element where not the standard one; ``:d,3.5`` adds a Hubbard U (eV)."""
    smearing: Literal["fermi-dirac", "marzari-vanderbilt"] = "fermi-dirac"
    """Occupations."""
    width: float = Field(default=0.1, gt=0)
    """Width of the smearing, eV."""
    spinpol: bool = False
    """Collinear magnetism; moments in μB come with the structures."""
    initial_moments: dict[str, float] = Field(default_factory=dict)
    """Moment in μB to start from, for elements of structures without any of their own."""
    energy_convergence: float = Field(default=1e-5, gt=0)
    """Largest change of the energy in the last SCF steps, eV for each valence electron."""
    density_convergence: float = Field(default=1e-5, gt=0)
    """Largest change of the density, electrons for each valence electron."""
    eigenstates_convergence: float = Field(default=1e-8, gt=0)
    """Largest residual of the wavefunctions, eV^2 for each valence electron."""
    maxiter: int = Field(default=333, ge=1)
    """SCF iterations after which it is given up."""
    eigensolver: Literal["davidson", "rmm-diis", "ppcg"] = "davidson"
    """Iterative solver; ``rmm-diis`` is fast for large cells and less sturdy."""
    bands: int | str | None = None
    """Number of bands, or e.g. ``120%`` of the occupied ones; None leaves it to GPAW."""
    mixing_beta: float | None = Field(default=None, gt=0, le=1)
    """Share of the new density in the next; None leaves it to GPAW."""
    mixing_history: int | None = Field(default=None, ge=1)
    """Densities that are mixed; None leaves it to GPAW."""
    mixing_weight: float | None = Field(default=None, gt=0)
    """Weight of long waves in the mixing, over 1 against sloshing; None leaves it to GPAW."""
    symmetry: bool = True
    """Compute what symmetry leaves different alone."""

    @field_validator("setups")
    @classmethod
    def _plain_setups(cls, setups: dict[str, str]) -> dict[str, str]:
        for element, name in setups.items():
            if not re.fullmatch(SETUP, name):
                raise ValueError(
                    f"{element} must name a data set such as 'paw' or '10', with or without "
                    f"Hubbard corrections such as ':d,3.5'; got {name!r}"
                )
        return setups

    @field_validator("bands")
    @classmethod
    def _number_or_share(cls, bands: int | str | None) -> int | str | None:
        positive = isinstance(bands, int) and bands > 0
        if bands is None or positive or (isinstance(bands, str) and re.fullmatch(r"\d+%", bands)):
            return bands
        raise ValueError(f"give a number of bands or a share such as '120%'; got {bands!r}")

    @model_validator(mode="after")
    def _moments_with_spin(self) -> GpawSettings:
        if self.initial_moments and not self.spinpol:
            raise ValueError("initial_moments needs spinpol: true")
        return self

    def parameters(self) -> dict[str, Any]:
        """Return what GPAW takes of these, as JSON values; mesh, charge and moments come apart."""
        mixer = {
            "beta": self.mixing_beta,
            "nmaxold": self.mixing_history,
            "weight": self.mixing_weight,
        }
        optional = {
            "setups": self.setups,
            "mixer": {key: value for key, value in mixer.items() if value is not None},
            "nbands": self.bands,
            "symmetry": None if self.symmetry else "off",
        }
        return {
            "mode": {"name": "pw", "ecut": self.cutoff},
            "xc": self.xc,
            "occupations": {"name": self.smearing, "width": self.width},
            "spinpol": self.spinpol,
            "convergence": {
                "energy": self.energy_convergence,
                "density": self.density_convergence,
                "eigenstates": self.eigenstates_convergence,
            },
            "maxiter": self.maxiter,
            "eigensolver": self.eigensolver,
            **{key: value for key, value in optional.items() if value},
        }
