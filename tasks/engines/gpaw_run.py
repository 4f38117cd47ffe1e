"""Computes one geometry with GPAW; copied beside its input and run there, by GPAW's own Python.

Reads ``gpaw.json``; writes ``answer.json`` with energy (the free energy, eV), forces (eV/Å),
stress (eV/Å^3, Voigt), magnetisation (μB) and iterations, with eigenvalues and Fermi level (eV)
where they are asked for, or with the error that ended it.
Needs numpy, ASE and GPAW, and nothing of leadline: ``python gpaw_run.py`` computes it again.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

ANSWER = Path("answer.json")


def main() -> int:
    """Compute, and leave an answer in any case; 1 where it is an error."""
    world: Any = None
    try:
        import gpaw.mpi

        world = gpaw.mpi.world
        answer = compute(json.loads(Path("gpaw.json").read_text()))
    except Exception as error:
        traceback.print_exc()
        kinds = [kind.__name__ for kind in type(error).__mro__]
        write({"error": kinds, "message": str(error)})
        if world is not None and world.size > 1:
            world.abort(1)  # the others may wait for this one for ever
        return 1
    if world.rank == 0:
        write(answer)
    return 0


def compute(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer for the structure and the parameters of ``gpaw.json``."""
    import gpaw
    from ase import Atoms

    # The machine's folder of setups goes before those that GPAW knows.
    gpaw.setup_paths[:0] = asked["setup_paths"]
    atoms = Atoms(**asked["atoms"], pbc=True)
    atoms.calc = gpaw.GPAW(txt="gpaw.txt", **asked["parameters"])
    return {
        # Forces and stress are the derivatives of this one, not of the extrapolated energy.
        "energy": float(atoms.get_potential_energy(force_consistent=True)),
        "forces": atoms.get_forces().tolist(),
        "stress": atoms.get_stress().tolist(),
        "numbers": {
            "total_magnetization": float(atoms.get_magnetic_moment()),
            "scf_iterations": int(atoms.calc.get_number_of_iterations()),
        },
        "version": gpaw.__version__,
        **(bands_of(atoms.calc) if asked.get("bands") else {}),
    }


def bands_of(calc: Any) -> dict[str, Any]:
    """Return the eigenvalues [spins][k-points][bands] and the Fermi level; all ranks take part."""
    spins, points = calc.get_number_of_spins(), len(calc.get_ibz_k_points())
    return {
        "eigenvalues": [
            [calc.get_eigenvalues(kpt=k, spin=s).tolist() for k in range(points)]
            for s in range(spins)
        ],
        "fermi_level": float(calc.get_fermi_level()),
    }


def write(answer: dict[str, Any]) -> None:
    """Write the answer whole or not at all."""
    unfinished = ANSWER.with_suffix(".part")
    unfinished.write_text(json.dumps(answer))
    unfinished.replace(ANSWER)


if __name__ == "__main__":
    sys.exit(main())
