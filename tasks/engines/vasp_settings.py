"""Settings of VASP as a campaign file gives them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from leadline.tasks.engines.engine import EngineSettings

InputSet = Literal[
    "MITRelaxSet", "MPRelaxSet", "MPStaticSet", "MPMetalRelaxSet", "MPScanRelaxSet",
    "MPScanStaticSet", "MP24RelaxSet", "MP24StaticSet", "MatPESStaticSet", "MPHSERelaxSet",
]  # fmt: skip
"""Input sets of pymatgen that stand for themselves: no earlier run, no further arguments."""
Release = Literal["PBE", "PBE_52", "PBE_54", "PBE_64", "LDA", "LDA_52", "LDA_54", "LDA_64"]
Algorithm = Literal["Normal", "Fast", "VeryFast", "All", "Damped", "Exact"]
Value = bool | int | float | str | list[int | float] | dict[str, float]
Symbol = Annotated[str, Field(pattern=r"^[A-Z][a-z]?[\w.]*$")]

RESERVED = frozenset(
    {"NSW", "IBRION", "ISIF", "POTIM", "EDIFFG", "NFREE", "IOPT", "SMASS", "ISTART", "ICHARG"}
    | {"INIWAV", "NELECT", "KSPACING", "KGAMMA", "SYSTEM", "IALGO", "LCHARG", "LSTOP", "LABORT"}
    | {"LEPSILON", "LCALCPOL", "LCALCEPS", "LCHIMAG", "LNONCOLLINEAR", "LSORBIT", "LH5", "IMAGES"}
)
"""INCAR keys that leadline sets itself, or that ask for another kind of calculation."""


class VaspSettings(EngineSettings):
    """Settings of ``vasp``: keys of INCAR in lower case, units of VASP unless said otherwise."""

    input_set: InputSet | None = None
    """Input set of pymatgen that gives INCAR and k-points; None leaves INCAR to the next key."""
    user_incar_settings: dict[str, Value] = Field(default_factory=dict)
    """INCAR keys in capitals, over those of the set; MAGMOM and LDAU* by element, too."""
    user_potcar_settings: dict[str, Symbol]
    """POTCAR for each element of the campaign, e.g. ``Fe_pv``."""
    potcar_functional: Release | None = None
    """Release of the POTCARs; None takes that of the set, or PBE_54 without one."""
    user_kpoints_settings: dict[
        Literal["reciprocal_density", "grid_density", "length"], Annotated[float, Field(gt=0)]
    ] = Field(default_factory=dict)
    """Density of k-points as pymatgen counts it, in place of the set's."""
    kspacing: float | None = Field(default=None, gt=0)
    """Largest distance of k-points instead, 1/Å with the factor 2π."""
    kpts: tuple[int, int, int] | None = None
    """Divisions of a Γ-centred mesh instead: one mesh for every cell."""
    algo: Algorithm | None = None
    """Electronic minimiser; None is the set's, as with each of the keys below."""
    isearch: int | None = None
    """Line search of ``algo: All``; 1 is sturdier."""
    nelm: int | None = Field(default=None, ge=1)
    """SCF iterations after which it is given up."""
    nelmin: int | None = Field(default=None, ge=1)
    """SCF iterations at least."""
    nelmdl: int | None = None
    """SCF iterations before the density moves; negative for the first ionic step alone."""
    imix: Literal[0, 1, 2, 4] | None = None
    """Kind of mixing; 1 is Kerker's, 4 Pulay's."""
    amix: float | None = Field(default=None, gt=0, le=1)
    """Share of the new density in the next."""
    bmix: float | None = Field(default=None, gt=0)
    """Kerker screening of the mixing, 1/Å."""
    amix_mag: float | None = Field(default=None, gt=0)
    """As ``amix``, of the magnetisation."""
    bmix_mag: float | None = Field(default=None, gt=0)
    """As ``bmix``, of the magnetisation."""
    amin: float | None = Field(default=None, gt=0)
    """Least share in the mixing; small for long cells."""
    maxmix: int | None = None
    """Steps that the mixer remembers."""
    time: float | None = Field(default=None, gt=0)
    """Step of ``algo: All`` and ``Damped``."""
    isym: Literal[-1, 0, 1, 2, 3] | None = None
    """Use of symmetry; 0 leaves time reversal alone."""
    symprec: float | None = Field(default=None, gt=0)
    """Accuracy with which VASP looks for symmetry, Å."""
    nbands: int | None = Field(default=None, ge=1)
    """Bands; None lets VASP count."""
    ncore: int | None = Field(default=None, ge=1)
    """Cores that share an orbital."""
    npar: int | None = Field(default=None, ge=1)
    """Groups of cores that share the bands, the other way to say ``ncore``."""
    kpar: int | None = Field(default=None, ge=1)
    """Groups of cores that share the k-points."""
    lwave: bool = True
    """Write WAVECAR, from which the next ionic step starts; it is never kept."""

    @field_validator("user_incar_settings")
    @classmethod
    def _harmless(cls, keys: dict[str, Value]) -> dict[str, Value]:
        own = {name.upper() for name in PATH_KEYS | {"lwave"}}
        for key, value in keys.items():
            _refuse(key, value, own)
        return keys

    @model_validator(mode="after")
    def _consistent(self) -> VaspSettings:
        ways = [self.kspacing, self.kpts, self.user_kpoints_settings or None]
        given = sum(way is not None for way in ways)
        names = "kspacing (1/Å), kpts (three divisions) and user_kpoints_settings"
        if given > 1:
            raise ValueError(f"give one of {names}, not {given}")
        if self.input_set is None and not given:
            raise ValueError(f"without an input_set give one of {names}")
        if self.input_set is None and "ENCUT" not in self.user_incar_settings:
            raise ValueError("without an input_set user_incar_settings needs ENCUT (eV)")
        if self.ncore is not None and self.npar is not None:
            raise ValueError("give ncore or npar, not both: each follows from the other")
        return self


PATH_KEYS = frozenset(
    {"algo", "isearch", "nelm", "nelmin", "nelmdl", "imix", "amix", "bmix", "amix_mag"}
    | {"bmix_mag", "amin", "maxmix", "time", "isym", "symprec", "nbands", "ncore", "npar", "kpar"}
)
"""Keys that change how VASP gets to its answer; the last three are layout that remedies set."""


def _refuse(key: str, value: Value, own: set[str]) -> None:
    where = f"user_incar_settings.{key}"
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", key):
        raise ValueError(f"{key!r} is no INCAR key; write it in capitals")
    if key in own:
        raise ValueError(f"{where} has a key of its own: engine.{key.lower()}; give it there")
    if key in RESERVED or key.startswith("ML_"):
        raise ValueError(
            f"{where} is set by leadline, or asks for more than one energy of one structure; "
            "leave it out: recipes move the ions"
        )
    if isinstance(value, str) and not re.fullmatch(r"[\w .+*-]*", value):
        raise ValueError(f"{where} holds characters that no INCAR key takes: {value!r}")
    numbers = value.values() if isinstance(value, dict) else value
    for number in numbers if not isinstance(numbers, bool | int | float | str) else [numbers]:
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"{where} is not finite")
