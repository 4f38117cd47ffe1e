"""What a campaign file may say of ABINIT."""

from __future__ import annotations

import math
import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from leadline.tasks.engines.k_mesh import MeshSettings
from leadline.tasks.engines.pseudopotentials import PotentialFiles

Value = int | float | list[int | float]
SMEARINGS = {
    "none": 1,
    "fermi-dirac": 3,
    "marzari-vanderbilt": 4,
    "methfessel-paxton": 6,
    "gaussian": 7,
}
"""Values of ``occopt``."""
RESERVED = frozenset(
    {"acell", "angdeg", "cellcharge", "charge", "chkexit", "chkprim", "chksymtnons", "getden"}
    | {"getwfk", "ionmov", "irdden", "irdwfk", "jdtset", "kptopt", "kptrlatt", "natom", "ndtset"}
    | {"ngkpt", "nshiftk", "nsym", "nband", "nsppol", "ntypat", "ntime", "occopt", "optcell"}
    | {"optdriver", "optforces", "optstress", "pp_dirpath", "pseudos", "rprim", "shiftk", "spinat"}
    | {"tolwfr", "tolvrs", "toldff", "tolrff", "toldfe", "typat", "xangst", "xcart", "xred"}
    | {"znucl"}
)
"""Variables of ABINIT that leadline sets itself."""


class AbinitSettings(MeshSettings):
    """Settings of ``abinit``: names and units (Hartree) of ABINIT unless said otherwise."""

    pseudopotentials: PotentialFiles
    """File name of each element's psp8 file, in the folder that the machine profile names."""
    ecut: float = Field(gt=0)
    """Cutoff of the plane waves, Ha."""
    ecutsm: float = Field(default=0.5, ge=0)
    """Width in Ha over which the cutoff is smoothed, so that the stress follows the energy."""
    smearing: Literal[
        "none", "fermi-dirac", "marzari-vanderbilt", "methfessel-paxton", "gaussian"
    ] = "marzari-vanderbilt"
    """Occupations; ``none`` is for insulators alone."""
    tsmear: float = Field(default=0.01, gt=0)
    """Width of the smearing, Ha."""
    nsppol: Literal[1, 2] = 1
    """2 is collinear magnetism; moments in μB then come with the structures."""
    initial_moments: dict[str, float] = Field(default_factory=dict)
    """Moment in μB to start from, for elements of structures without any of their own."""
    toldfe: float = Field(default=1e-9, gt=0)
    """Difference of the energy between SCF steps, Ha for each atom of the cell."""
    nstep: int = Field(default=60, ge=1)
    """SCF steps after which it is given up."""
    bands: float = Field(default=1.3, ge=1.05)
    """Bands, in those that the valence electrons fill; four more come on top."""
    diemac: float = Field(default=1e6, gt=0)
    """Dielectric constant that the mixing supposes: large for metals, about 10 else."""
    diemix: float = Field(default=0.7, gt=0, le=1)
    """Share of the new density in the next; smaller is slower and calmer."""
    iscf: Literal[2, 3, 4, 5, 7] = 7
    """How the potential is mixed: 7 by Pulay, 2 simply, 3 by Anderson, 5 by conjugate gradients."""
    wfoptalg: Literal[0, 4, 14, 114] = 0
    """Eigensolver: 0 conjugate gradients, 4, 14 and 114 LOBPCG."""
    nline: int = Field(default=4, ge=1)
    """Steps of the eigensolver in each SCF step."""
    symmetry: bool = True
    """Compute what symmetry leaves different alone."""
    extra: dict[str, Value] = Field(default_factory=dict)
    """All other variables of ABINIT that are numbers; counts as physics."""

    @field_validator("extra")
    @classmethod
    def _harmless(cls, extra: dict[str, Value]) -> dict[str, Value]:
        own = set(cls.model_fields) | RESERVED
        for key, value in extra.items():
            if key in own:
                raise ValueError(f"{key} is set by leadline or has a key of its own; leave it out")
            if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
                raise ValueError(f"{key!r} is no plain lower-case variable of ABINIT")
            if not all(math.isfinite(each) for each in _numbers(value)):
                raise ValueError(f"{key} is not finite")
        return extra

    @model_validator(mode="after")
    def _moments_with_spin(self) -> AbinitSettings:
        if self.initial_moments and self.nsppol == 1:
            raise ValueError("initial_moments needs nsppol: 2")
        return self


def _numbers(value: Value) -> list[int | float]:
    return value if isinstance(value, list) else [value]


def line(name: str, value: Value | str) -> str:
    """Return one line of an input of ABINIT; floats as they are."""
    words = [value] if isinstance(value, str) else [repr(each) for each in _numbers(value)]
    return " ".join([name, *words])
