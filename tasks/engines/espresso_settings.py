"""Settings of Quantum ESPRESSO as a campaign file gives them."""

from __future__ import annotations

import math
import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from leadline.tasks.engines.k_mesh import MeshSettings
from leadline.tasks.engines.pseudopotentials import PotentialFiles

Section = Literal["control", "system", "electrons"]
Smearing = Literal["none", "gaussian", "methfessel-paxton", "marzari-vanderbilt", "fermi-dirac"]
Value = bool | int | float | str
RESERVED = frozenset(
    {"calculation", "restart_mode", "prefix", "outdir", "wfcdir", "pseudo_dir", "tprnfor"}
    | {"tstress", "disk_io", "nstep", "ibrav", "celldm", "a", "b", "c", "cosab", "cosac", "cosbc"}
    | {"nat", "ntyp", "occupations", "tot_charge", "nbnd", "startingpot", "startingwfc"}
    | {"lda_plus_u"}
)
"""Keys of pw.x that leadline sets itself."""


class EspressoSettings(MeshSettings):
    """Settings of ``espresso``: names of pw.x, units of pw.x unless said otherwise."""

    pseudopotentials: PotentialFiles
    """File name for each element, in the folder that the machine profile names."""
    ecutwfc: float = Field(gt=0)
    """Cutoff of the wavefunctions, Ry."""
    ecutrho: float | None = Field(default=None, gt=0)
    """Cutoff of the density, Ry; None is 4 ecutwfc, too little for US and PAW."""
    smearing: Smearing = "marzari-vanderbilt"
    """Occupations; ``none`` is for insulators alone."""
    degauss: float = Field(default=0.02, gt=0)
    """Width of the smearing, Ry."""
    nspin: Literal[1, 2] = 1
    """2 is collinear magnetism; moments in μB then come with the structures."""
    starting_magnetization: dict[str, float] = Field(default_factory=dict)
    """Fraction of the valence electrons, -1 to 1, for elements without a moment of their own."""
    tot_magnetization: float | None = None
    """Moment that the cell is held at, μB; None lets it be found."""
    hubbard_u: dict[str, float] = Field(default_factory=dict)
    """Hubbard U of an element, eV, in the form of pw.x before 7.1."""
    vdw_corr: Literal["none", "grimme-d2", "grimme-d3", "ts-vdw", "xdm"] = "none"
    """Dispersion added to the functional."""
    conv_thr: float = Field(default=1e-8, gt=0)
    """Error of the SCF energy, Ry for each atom of the cell."""
    mixing_beta: float = Field(default=0.7, gt=0, le=1)
    """Share of the new density in the next; smaller is slower and calmer."""
    mixing_mode: Literal["plain", "TF", "local-TF"] = "plain"
    """Screening in the mixing; ``local-TF`` helps surfaces and mixed metals."""
    electron_maxstep: int = Field(default=100, ge=1)
    """SCF iterations after which it is given up."""
    diagonalization: Literal["david", "cg", "ppcg", "paro"] = "david"
    """Eigensolver; ``cg`` is slow and sturdy."""
    nosym: bool = False
    """Use no symmetry of the crystal: slower, and never confused by it."""
    empty_bands: float | None = Field(default=None, gt=0)
    """Empty bands as a share of the occupied ones, four at least; None lets pw.x choose nbnd."""
    restart: bool = True
    """Start each ionic step from the density of the one before."""
    max_seconds: float | None = Field(default=None, gt=0)
    """pw.x stops cleanly after so long; the attempt counts as cut."""
    extra: dict[Section, dict[str, Value]] = Field(default_factory=dict)
    """All else that pw.x knows, by section; counts as physics."""

    @field_validator("extra")
    @classmethod
    def _harmless(cls, extra: dict[Section, dict[str, Value]]) -> dict[Section, dict[str, Value]]:
        own = set(cls.model_fields) | RESERVED
        for section, keys in extra.items():
            for key, value in keys.items():
                _refuse_extra(section, key, value, own)
        return extra

    @model_validator(mode="after")
    def _consistent(self) -> EspressoSettings:
        if self.nspin == 1 and self.starting_magnetization:
            raise ValueError("starting_magnetization needs nspin: 2")
        if self.nspin == 1 and self.tot_magnetization is not None:
            raise ValueError("tot_magnetization needs nspin: 2")
        if unknown := sorted(set(self.hubbard_u) - set(self.pseudopotentials)):
            raise ValueError(
                f"hubbard_u names {', '.join(unknown)}, which has no entry in pseudopotentials"
            )
        return self


def _refuse_extra(section: str, key: str, value: Value, own: set[str]) -> None:
    where = f"{section}.{key}"
    if key == "scf_must_converge":
        raise ValueError(f"{where} is refused: an unfinished SCF would pass for an answer")
    if key in own:
        raise ValueError(f"{where} is set by leadline or has a key of its own above; leave it out")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
        raise ValueError(
            f"{where} is no plain lower-case key; keys with an index are refused, since the "
            "order of species differs between structures"
        )
    if isinstance(value, str) and not re.fullmatch(r"[\w .+-]*", value):
        raise ValueError(f"{where} holds characters that no keyword of pw.x has: {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is not finite")
