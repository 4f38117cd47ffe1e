"""Input and output of ABINIT; the output is read by ASE, once it is seen to be whole."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.abinit import read_abinit_out, read_eig

from leadline.tasks.engines.abinit_settings import SMEARINGS, AbinitSettings, Value, line
from leadline.tasks.engines.program import BrokenOutputError
from leadline.tasks.engines.program_end import text_of
from leadline.tasks.engines.upf import Pseudopotential

INPUT = "abinit.in"
MAIN = "abinit.abo"
LOG = "abinit.log"
ERRORS = "abinit.err"
EIGENVALUES = "abinito_EIG"
DONE = "Calculation completed."
CONVERGED = ("is converged", "=>converged")
"""What ABINIT says where the energy is the criterion, and where the bands' residuals are."""
NOT_CONVERGED = "was not enough SCF cycles to converge"
RESIDUAL, LOOSE_BANDS = 1e-12, 2
"""Ha^2, of each band but the uppermost: an eigenvalue is then off by some 1e-6 Ha at most."""
DEGENERATE = 1e-4
"""eV, within which a level is the one of Fermi; ABINIT writes five digits of a Hartree."""
NUMBERS = {
    "total_magnetization": r"^\s*Magnetization \(Bohr magneton\)=\s*(\S+)",
    "scf_iterations": r"At SCF step\s+(\d+)(?:, etot is converged|.*=>converged)",
}
"""Last numbers of an output that go to the properties; moments in μB of the cell."""


def input_text(
    settings: AbinitSettings,
    atoms: Atoms,
    mesh: Sequence[int],
    moments: Sequence[float] | None,
    potentials: Mapping[str, Pseudopotential],
    *,
    bands: bool = False,
) -> str:
    """Return the input for one single point of ``atoms``.

    ``mesh`` are the divisions of the Γ-centred k-mesh, ``moments`` (μB) those to start
    from, or None; ``potentials`` stand under the symbols of their elements. With
    ``bands`` the empty bands converge, too, and all are written.
    """
    symbols = sorted(set(atoms.symbols))
    variables: dict[str, Value | str] = {
        "natom": len(atoms),
        "ntypat": len(symbols),
        "znucl": [int(atoms.numbers[atoms.symbols.search(symbol)[0]]) for symbol in symbols],
        "typat": [symbols.index(symbol) + 1 for symbol in atoms.symbols],
        "pp_dirpath": f'"{potentials[symbols[0]].path.parent}"',
        "pseudos": '"' + ", ".join(potentials[symbol].path.name for symbol in symbols) + '"',
        "acell": "1.0 1.0 1.0 Angstrom",
        "rprim": atoms.cell.array.ravel().tolist(),
        "xred": atoms.get_scaled_positions(wrap=False).ravel().tolist(),
        "kptopt": 1,
        "ngkpt": list(mesh),
        "nshiftk": 1,
        "shiftk": [0, 0, 0],
        **_electrons(settings, atoms, potentials),
        # ABINIT would refuse cells that are not primitive, and symmetries off its FFT grid.
        "chkprim": 0,
        "chksymtnons": 0,
        "optforces": 1,
        "optstress": 1,
        **dict.fromkeys(("prtwf", "prtden", "prteig", "prtebands", "prtgsr"), 0),
        **settings.extra,
    }
    if bands:
        del variables["toldfe"]
        variables |= {"tolwfr": RESIDUAL, "nbdbuf": LOOSE_BANDS, "prteig": 1}
    if moments is not None:
        variables |= {"spinat": [part for moment in moments for part in (0.0, 0.0, moment)]}
    if not settings.symmetry:
        variables["nsym"] = 1
    return "\n".join(line(name, value) for name, value in variables.items()) + "\n"


def _electrons(
    settings: AbinitSettings, atoms: Atoms, potentials: Mapping[str, Pseudopotential]
) -> dict[str, Value | str]:
    charge = float(atoms.info.get("charge", 0.0))
    electrons = sum(potentials[symbol].valence for symbol in atoms.symbols) - charge
    return {
        "ecut": settings.ecut,
        "ecutsm": settings.ecutsm,
        "occopt": SMEARINGS[settings.smearing],
        "tsmear": settings.tsmear,
        "nsppol": settings.nsppol,
        "nband": math.ceil(settings.bands * electrons / 2) + 4,
        "toldfe": settings.toldfe * len(atoms),
        **{
            name: getattr(settings, name)
            for name in ("nstep", "diemac", "diemix", "iscf", "wfoptalg", "nline")
        },
        **({"cellcharge": charge} if charge else {}),
    }


def bands_in(directory: Path) -> dict[str, Any]:
    """Read ``eigenvalues`` [spins, k-points, bands] and ``fermi_level``, eV.

    Where occupations are fixed ABINIT gives the highest occupied level for that of
    Fermi: then it is put in the middle between that one and the next.

    Raises
    ------
    BrokenOutputError
        If they cannot be read.
    """
    text = text_of(directory / EIGENVALUES)
    try:
        found = read_eig(io.StringIO(text))
        fermi, eigenvalues = float(found["fermilevel"]), np.asarray(found["eigenvalues"])
    except (AssertionError, StopIteration, ValueError, KeyError, AttributeError) as error:
        raise BrokenOutputError(f"{EIGENVALUES} cannot be read: {error!r}") from error
    above = eigenvalues[eigenvalues > fermi + DEGENERATE]
    if above.size and (np.abs(eigenvalues - fermi) < DEGENERATE).any():
        fermi = (fermi + float(above.min())) / 2
    return {"eigenvalues": eigenvalues, "fermi_level": fermi}


def results(directory: Path) -> dict[str, Any]:
    """Read energy (eV), forces (eV/Å) and stress (eV/Å^3).

    ABINIT ends with exit code 0 where the SCF did not converge, and ASE's reader
    takes what it finds then.

    Raises
    ------
    BrokenOutputError
        If the output is cut short, or the SCF did not converge.
    """
    text, log = text_of(directory / MAIN), text_of(directory / LOG)
    if DONE not in text:
        raise BrokenOutputError(f"{MAIN} is cut short: no line says {DONE!r}")
    if NOT_CONVERGED in text + log or not any(words in text for words in CONVERGED):
        raise BrokenOutputError(f"{MAIN} shows no converged SCF")
    found: dict[str, Any] = read_abinit_out(io.StringIO(text))
    missing = {"energy", "forces", "stress"} - found.keys()
    if missing:
        raise BrokenOutputError(f"{MAIN} lacks {', '.join(sorted(missing))}")
    return found
