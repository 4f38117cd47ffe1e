"""ASE's calculator for pw.x, with a stricter eye on what it reads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.espresso import EspressoProfile, EspressoTemplate
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.units import Rydberg

from leadline.tasks.engines.espresso_failures import (
    CONVERGED,
    DONE,
    NOT_CONVERGED,
    OUTPUT,
)
from leadline.tasks.engines.program import BrokenOutputError, run_program
from leadline.tasks.engines.program_end import last_numbers

NUMBERS = {
    "total_magnetization": r"^\s*total magnetization\s*=\s*(\S+) Bohr",
    "absolute_magnetization": r"^\s*absolute magnetization\s*=\s*(\S+) Bohr",
    "scf_iterations": r"convergence has been achieved in\s+(\d+) iterations",
    "scf_residual": r"^\s*estimated scf accuracy\s*<\s*(\S+) Ry",
}
"""Last numbers of an output that go to the properties; moments in μB of the cell."""
FROM_FILE = {"startingpot": "file"}
"""A later run starts from the density alone: symmetry, and with it the k-points, may change."""
EDGES = r"highest occupied, lowest unoccupied level \(ev\):\s+(-?[\d.]+)\s+(-?[\d.]+)"
MOMENT = r"^\s*atom:?\s+\d+ .*\bmagn\s*[:=]\s*(\S+)"
"""A line of the moments per site, as pw.x 6 and 7 print it."""
FACTORS = {"scf_residual": Rydberg}
"""From the unit of pw.x to ours, where they differ."""


class PwProfile(EspressoProfile):
    """How pw.x is started: with its launcher, and with the threads it may use."""

    def __init__(self, command: str, pseudo_dir: Path, threads: int) -> None:
        super().__init__(command, pseudo_dir)  # type: ignore[no-untyped-call]  # ASE's
        self.threads = threads

    def run(
        self,
        directory: Path,
        inputfile: str | None,
        outputfile: str,
        errorfile: str | None = None,
        append: bool = False,
    ) -> None:
        """Run pw.x in ``directory``."""
        (directory / "CRASH").unlink(missing_ok=True)
        run_program(
            self.get_command(inputfile), directory, outputfile, str(errorfile), self.threads
        )


class PwTemplate(EspressoTemplate):
    """Reads an output only if it is whole, converged and done.

    pw.x takes a species' starting magnetisation as a fraction of its valence
    electrons, from -1 to 1; ASE would write moments in μB in their place.
    """

    def write_input(
        self,
        profile: PwProfile,
        directory: Path,
        atoms: Atoms,
        parameters: Mapping[str, Any],
        properties: Any,
    ) -> None:
        """Write ``espresso.pwi``: fractions in place of the moments, and the time it has now.

        Where an earlier run left its density in ``directory``, this one starts from it.
        """
        chosen = dict(parameters)
        fractions, hubbard_u = chosen.pop("fractions"), chosen.pop("hubbard_u")
        seconds = chosen.pop("max_seconds")()
        written = atoms.copy()
        written.set_initial_magnetic_moments(None if fractions is None else fractions)
        sections = chosen["input_data"]
        chosen["input_data"] = {
            **sections,
            "control": sections["control"] | ({} if seconds is None else {"max_seconds": seconds}),
            "system": sections["system"] | _by_species(written, hubbard_u),
            "electrons": sections["electrons"] | (FROM_FILE if _density_in(directory) else {}),
        }
        super().write_input(  # type: ignore[no-untyped-call]  # ASE's
            profile, directory, written, chosen, properties
        )

    def read_results(self, directory: os.PathLike[str]) -> dict[str, Any]:
        """Read energy (eV), forces (eV/Å), stress (eV/Å^3) and moments of the atoms (μB).

        Raises
        ------
        BrokenOutputError
            If the output is cut short, or the SCF did not converge.
        """
        text = (Path(directory) / OUTPUT).read_text(errors="replace")
        if DONE not in text:
            raise BrokenOutputError(f"{OUTPUT} is cut short: no line says {DONE!r}")
        if NOT_CONVERGED in text or CONVERGED not in text:
            raise BrokenOutputError(f"{OUTPUT} shows no converged SCF")
        results: dict[str, Any] = super().read_results(  # type: ignore[no-untyped-call]  # ASE's
            directory
        )
        missing = {"energy", "forces", "stress"} - results.keys()
        if missing:
            raise BrokenOutputError(f"{OUTPUT} lacks {', '.join(sorted(missing))}")
        # With fixed occupations ASE takes a band edge for the Fermi level, which lies between.
        if edges := re.search(EDGES, text):
            results["fermi_level"] = (float(edges[1]) + float(edges[2])) / 2
        # ASE gives zeros for the moments that pw.x 6 prints.
        results.pop("magmoms", None)
        if moments := moments_in(text, len(results["forces"])):
            results["magmoms"] = moments
        return results


def _by_species(atoms: Atoms, hubbard_u: Mapping[str, float]) -> dict[str, float | bool]:
    """Return the +U of each species: ASE makes one of each symbol with each moment, in turn."""
    moments = atoms.get_initial_magnetic_moments()
    species = list(dict.fromkeys(zip(atoms.symbols, moments, strict=True)))
    found = {
        f"hubbard_u({number})": hubbard_u[symbol]
        for number, (symbol, _) in enumerate(species, 1)
        if hubbard_u.get(symbol)
    }
    return {"lda_plus_u": True, **found} if found else {}


def _density_in(directory: Path) -> bool:
    saved = directory / "out" / "pw.save"
    return any((saved / f"charge-density.{kind}").is_file() for kind in ("dat", "hdf5"))


def pw_calculator(
    profile: PwProfile, directory: Path, parameters: Mapping[str, Any]
) -> GenericFileIOCalculator:
    """Return a calculator that runs pw.x in ``directory``.

    ``parameters`` are those of ``ase.calculators.espresso.Espresso``, ``fractions``
    (the starting magnetisation of each atom, or None), ``hubbard_u`` (eV by element), and
    ``max_seconds``, a function that says how long a run that begins now may take, or None.
    """
    template = PwTemplate()  # type: ignore[no-untyped-call]  # ASE's
    return GenericFileIOCalculator(
        profile=profile, template=template, directory=directory, parameters=dict(parameters)
    )


def numbers_in(text: str) -> dict[str, float]:
    """Return the ``NUMBERS`` that an output of pw.x shows last; stars are none."""
    found = last_numbers(NUMBERS, text)
    return {name: number * FACTORS.get(name, 1) for name, number in found.items()}


def moments_in(text: str, atoms: int) -> list[float]:
    """Return the moment of each site (μB, in a sphere) that an output shows last, or []."""
    last = re.findall(MOMENT, text, re.M)[-atoms:]
    try:
        moments = [float(each) for each in last]
    except ValueError:  # Fortran prints stars for what its field cannot hold
        return []
    return moments if len(moments) == atoms and np.isfinite(moments).all() else []
