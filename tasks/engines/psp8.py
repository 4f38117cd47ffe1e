"""Pseudopotential files of the psp8 kind: what their headers say."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from ase.data import chemical_symbols

from leadline.tasks.engines.upf import Pseudopotential, content_of
from leadline.tasks.errors import ConfigurationError

FUNCTIONALS = {
    "2": "LDA", "7": "LDA", "-1012": "LDA", "-1009": "LDA",
    "11": "PBE", "-101130": "PBE", "-116133": "PBESOL",
}  # fmt: skip
"""ABINIT's numbers of functionals (ixc), those of libxc negative; others stand for themselves."""


def read_psp8(path: Path) -> Pseudopotential:
    """Read the header of a psp8 file, as ONCVPSP writes it.

    Raises
    ------
    ConfigurationError
        If the file is not there, or is no psp8 file.
    """
    content = content_of(path)
    try:
        _, second, third = content.decode(errors="replace").splitlines()[:3]
        nuclear, valence = (float(word) for word in second.split()[:2])
        code, functional = third.split()[:2]
        if code != "8" or not (math.isfinite(nuclear) and math.isfinite(valence)):
            raise ValueError(f"pspcod {code}")
        return Pseudopotential(
            path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            element=chemical_symbols[round(nuclear)],
            functional=FUNCTIONALS.get(functional, f"ixc {functional}"),
            kind="NC",
            valence=valence,
            ecutwfc=0.0,
            ecutrho=0.0,
        )
    except (ValueError, IndexError) as error:
        raise ConfigurationError(
            f"{path} is no psp8 pseudopotential: its first three lines do not say which element "
            f"it stands for ({error}); name another file in engine.pseudopotentials"
        ) from error
