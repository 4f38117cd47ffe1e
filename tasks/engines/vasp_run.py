"""Runs of VASP for one energy each, whose output is taken only where it is whole."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa
from numpy.typing import NDArray

from leadline.tasks.engines.program import BrokenOutputError, run_program
from leadline.tasks.engines.program_end import last_numbers, text_of
from leadline.tasks.engines.vasp_failures import (
    ERRORS,
    FINISHED,
    OUTCAR,
    OUTPUT,
    VASPRUN,
    UnconvergedError,
    custodian_errors,
)
from leadline.tasks.engines.vasp_input import VaspInput
from leadline.tasks.engines.vasp_stop import refuse_stopped, stopped_in_time

if TYPE_CHECKING:  # pymatgen's parser takes a second to load
    from pymatgen.io.vasp.outputs import Vasprun

KBAR = 0.1 * GPa
NUMBERS = {
    "total_magnetization": (OUTCAR, r"number of electron\s+\S+\s+magnetization\s+(\S+)"),
    "energy_without_smearing": (VASPRUN, r'name="e_0_energy">\s*(\S+?)\s*<'),
}
"""File and pattern of the last numbers that go to the properties; μB and eV of the cell."""
LEFT = (OUTPUT, ERRORS, VASPRUN, OUTCAR, "OSZICAR", "CONTCAR")
"""What an earlier run in the same folder left, and must not be taken for this one's."""


@dataclass(frozen=True)
class VaspRuns:
    """Runs VASP for whatever the atoms of one structure have become.

    The energy is VASP's free energy (``e_fr_energy``, with the smearing term -TS):
    forces and stress are its derivatives.

    Parameters
    ----------
    command, threads
        What is run, with its launcher, and the OpenMP threads of each process.
    given
        The input; a WAVECAR of the step before is where VASP starts from.
    directory
        Where it runs.
    seconds
        Gives the seconds after which a run that begins now is to end, or None.
    bands
        Whether eigenvalues are read, too.
    """

    command: str
    threads: int
    given: VaspInput
    directory: Path
    seconds: Callable[[], float | None]
    bands: bool = False

    def __call__(self, atoms: Atoms) -> dict[str, Any]:
        """Write the input for ``atoms``, run VASP, and read its output."""
        for name in LEFT:
            (self.directory / name).unlink(missing_ok=True)
        self.given.write(self.directory, atoms)
        try:
            with stopped_in_time(self.directory, self.seconds()) as asked:
                run_program(shlex.split(self.command), self.directory, OUTPUT, ERRORS, self.threads)
        finally:
            (self.directory / "POTCAR").unlink(missing_ok=True)
        refuse_stopped(self.directory, OUTPUT, OUTCAR, asked=asked.is_set())
        return read_results(self.directory, self.given.order, bands=self.bands)


def read_results(directory: Path, order: Sequence[int], *, bands: bool = False) -> dict[str, Any]:
    """Read a finished run: eV, eV/Å, eV/Å^3 and μB, atoms back in their own order.

    Raises
    ------
    UnconvergedError
        If the SCF stopped at NELM.
    BrokenOutputError
        If the output is cut short, or custodian finds an error in it.
    """
    if FINISHED not in text_of(directory / OUTCAR):
        raise BrokenOutputError(f"{OUTCAR} is cut short: no line says {FINISHED!r}")
    run, step = _last_step(directory, bands=bands)
    if errors := custodian_errors(directory):
        raise BrokenOutputError(f"VASP went on after an error: {', '.join(errors)}")
    back = np.argsort(order)
    results = {
        "energy": float(step["e_fr_energy"]),
        "forces": np.array(step["forces"], dtype=float).reshape(-1, 3)[back],
        # VASP counts pressure positive, in kB.
        "stress": -KBAR * full_3x3_to_voigt_6_stress(np.array(step["stress"], dtype=float)),
    }
    return results | _moments(directory, back) | (_bands(run) if bands else {})


def numbers_in(directory: Path) -> dict[str, float]:
    """Return the ``NUMBERS`` that the files of a run show last; stars are none."""
    found: dict[str, float] = {}
    for name, (file, pattern) in NUMBERS.items():
        found |= last_numbers({name: pattern}, text_of(directory / file))
    return found


def _last_step(directory: Path, *, bands: bool) -> tuple[Vasprun, dict[str, Any]]:
    from pymatgen.io.vasp.outputs import Vasprun

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = Vasprun(
                directory / VASPRUN, parse_dos=False, parse_eigen=bands, parse_potcar_file=False
            )
        converged, step = run.converged_electronic, run.ionic_steps[-1]
    except Exception as error:  # lxml's, and whatever half a file makes of pymatgen's parser
        raise BrokenOutputError(f"{VASPRUN} cannot be read: {error!r}") from error
    if not converged:
        raise UnconvergedError(
            f"the SCF stopped at NELM = {run.parameters['NELM']} without reaching EDIFF"
        )
    if missing := sorted({"e_fr_energy", "forces", "stress"} - step.keys()):
        raise BrokenOutputError(f"{VASPRUN} lacks {', '.join(missing)}")
    return run, dict(step)


def _bands(run: Vasprun) -> dict[str, Any]:
    """Return ``eigenvalues`` [spins, k-points, bands] and ``fermi_level``, eV.

    The level is put between the highest band that is mostly occupied and the next:
    VASP's own lies at the edge of a band where it chooses so. Where there is no next
    one it lies beyond all, and whoever looks for a gap finds none.
    """
    by_spin = run.eigenvalues or {}
    spins = sorted(by_spin, key=int, reverse=True)
    found: NDArray[np.float64] = np.array([by_spin[spin] for spin in spins])
    energies, filled = found[..., 0], found[..., 1] > 0.5
    top = energies[filled].max(initial=energies.min() - 1)
    bottom = energies[~filled].min(initial=energies.max() + 1)
    return {"eigenvalues": energies, "fermi_level": float(top + bottom) / 2}


def _moments(directory: Path, back: np.ndarray) -> dict[str, Any]:
    """Return the moments in the spheres of the atoms, where VASP wrote them."""
    from pymatgen.io.vasp.outputs import Outcar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = Outcar(directory / OUTCAR)
        except Exception:  # its parser wants more than moments; an energy is not lost for them
            return {}
    moments = [float(site["tot"]) for site in found.magnetization or ()]
    if len(moments) != len(back):
        return {}
    return {"magmoms": np.array(moments)[back]}
