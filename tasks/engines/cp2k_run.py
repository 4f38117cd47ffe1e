"""Input and output of CP2K, and its files of basis sets and pseudopotentials."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, GPa, Hartree

from leadline.tasks.engines.cp2k_settings import Cp2kSettings
from leadline.tasks.engines.program import BrokenOutputError
from leadline.tasks.engines.program_end import text_of
from leadline.tasks.errors import ConfigurationError

INPUT = "cp2k.inp"
OUTPUT = "cp2k.out"
ERRORS = "cp2k.err"
DONE = "PROGRAM ENDED AT"
CONVERGED = "SCF run converged"
NOT_CONVERGED = "SCF run NOT converged"
NUMBERS = {"scf_iterations": r"SCF run converged in\s+(\d+) steps"}
"""Last numbers of an output that go to the properties."""

ENERGY = r"^ ENERGY\| Total FORCE_EVAL .*?(-?\d+\.\d+)\s*$"
NUMBER = r"-?\d+\.\d+(?:E[+-]\d+)?"
FORCES = (
    rf"^ (?:FORCES\|)? +\d+ +(?:\d+ +[A-Z][a-z]? +)?({NUMBER}) +({NUMBER}) +({NUMBER})"
    rf"(?: +{NUMBER})? *$"
)
"""Rows of forces; CP2K from 2024 on prints neither kind nor element, and the length."""
STRESS_ROW = r"^ STRESS\|\s+{row}\s+(\S+)\s+(\S+)\s+(\S+)\s*$"
STRESS_UNITS = {"GPa": GPa, "bar": 1e-4 * GPa}


def definition(file: Path, element: str, name: str) -> str:
    """Return the lines that define ``name`` for ``element`` in a file of CP2K's data.

    Raises
    ------
    ConfigurationError
        If the file is not there, or does not define it; it lists what it has.
    """
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError as error:
        raise ConfigurationError(
            f"CP2K's data file {file} cannot be read: {error.strerror}; name the folder as "
            "engines.cp2k.pseudopotentials in the machine profile or in CP2K_DATA_DIR"
        ) from error
    known = []
    for start, line in enumerate(lines):
        words = line.split()
        if words[:1] != [element]:
            continue
        known += words[1:]
        if name in words[1:]:
            return "\n".join([line, *_body(lines[start + 1 :])])
    raise ConfigurationError(
        f"{file.name} has no {name} for {element}; it has {', '.join(known) or 'nothing for it'}"
    )


def _body(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not re.match(r"\s*[-+.\d]", line):
            return
        yield line


def valence(potential: str) -> int:
    """Return the valence electrons of a definition: the sum of its second line."""
    return sum(int(word) for word in potential.splitlines()[1].split())


def input_text(
    settings: Cp2kSettings,
    atoms: Atoms,
    mesh: Sequence[int],
    folder: Path,
    electrons: int,
    seconds: float | None,
) -> str:
    """Return the input for one single point.

    ``mesh`` are the divisions of the Γ-centred k-mesh, ``folder`` has CP2K's data,
    ``electrons`` is the number of those in the valence, and ``seconds`` is how long it may run.
    """
    charge = round(float(atoms.info.get("charge", 0.0)))
    walltime = [] if seconds is None else [f"WALLTIME {max(int(seconds), 1)}"]
    tree = [
        _section("GLOBAL", "PROJECT cp2k", "RUN_TYPE ENERGY_FORCE", "PRINT_LEVEL LOW", *walltime),
        _section(
            "FORCE_EVAL",
            "METHOD Quickstep",
            "STRESS_TENSOR ANALYTICAL",
            _dft(settings, mesh, folder, electrons - charge, charge),
            _subsys(settings, atoms),
            _section("PRINT", _section("FORCES ON"), _section("STRESS_TENSOR ON")),
        ),
    ]
    return "\n".join(tree) + "\n"


def _section(name: str, *content: str) -> str:
    return "\n".join([f"&{name}", *content, f"&END {name.split()[0]}"])


def _dft(s: Cp2kSettings, mesh: Sequence[int], folder: Path, electrons: int, charge: int) -> str:
    divisions = " ".join(map(str, mesh))
    kpoints = [
        # The symmetry of a mesh without reduction is nobody's to break.
        _section("KPOINTS", f"SCHEME MACDONALD {divisions} 0 0 0", "FULL_GRID ON")
        if max(mesh) > 1
        else ""
    ]
    return _section(
        "DFT",
        f"BASIS_SET_FILE_NAME {folder / s.basis_set_file}",
        f"POTENTIAL_FILE_NAME {folder / s.potential_file}",
        f"CHARGE {charge}",
        _section("MGRID", f"CUTOFF [Ry] {s.cutoff}", f"REL_CUTOFF [Ry] {s.rel_cutoff}"),
        _section("QS", f"EPS_DEFAULT {s.eps_default}"),
        *filter(None, kpoints),
        _scf(s, electrons),
        _section("XC", _section(f"XC_FUNCTIONAL {s.xc}")),
    )


def _scf(s: Cp2kSettings, electrons: int) -> str:
    smear = []
    if s.smearing != "none":
        more = math.ceil((s.bands - 1) * electrons / 2) + 4
        temperature = f"ELECTRONIC_TEMPERATURE [K] {s.electronic_temperature}"
        smear = [f"ADDED_MOS {more}", _section("SMEAR ON", "METHOD FERMI_DIRAC", temperature)]
    return _section(
        "SCF",
        "SCF_GUESS ATOMIC",
        f"EPS_SCF {s.eps_scf}",
        f"MAX_SCF {s.max_scf}",
        *smear,
        _section("DIAGONALIZATION", "ALGORITHM STANDARD"),
        _section("MIXING", f"METHOD {s.mixing}", f"ALPHA {s.alpha}", f"NBUFFER {s.nbuffer}"),
        _section("PRINT", _section("RESTART OFF")),
    )


def _subsys(s: Cp2kSettings, atoms: Atoms) -> str:
    vectors = [
        f"{name} " + " ".join(repr(float(part)) for part in vector)
        for name, vector in zip("ABC", atoms.cell.array, strict=True)
    ]
    places = [
        f"{symbol} " + " ".join(repr(float(part)) for part in position)
        for symbol, position in zip(atoms.symbols, atoms.positions, strict=True)
    ]
    kinds = [
        _section(f"KIND {symbol}", f"BASIS_SET {s.basis_sets[symbol]}",
                 f"POTENTIAL {s.potentials[symbol]}")
        for symbol in sorted(set(atoms.symbols))
    ]  # fmt: skip
    cell = _section("CELL", *vectors, "PERIODIC XYZ")
    return _section("SUBSYS", cell, _section("COORD", *places), *kinds)


def results(directory: Path, atoms: int) -> Mapping[str, Any]:
    """Read energy (eV), forces (eV/Å) and stress (eV/Å^3) of so many ``atoms``.

    CP2K before 2024 ends with exit code 0 where the SCF did not converge.

    Raises
    ------
    BrokenOutputError
        If the output is cut short, or the SCF did not converge.
    ValueError
        If numbers are missing, or are none.
    """
    text = text_of(directory / OUTPUT)
    if DONE not in text:
        raise BrokenOutputError(f"{OUTPUT} is cut short: no line says {DONE!r}")
    if NOT_CONVERGED in text or CONVERGED not in text:
        raise BrokenOutputError(f"{OUTPUT} shows no converged SCF")
    energies = re.findall(ENERGY, text, re.M)
    forces = re.findall(FORCES, text, re.M)
    unit = re.search(r"STRESS\| Analytical stress tensor \[(\w+)\]", text)
    rows = [re.search(STRESS_ROW.format(row=row), text, re.M) for row in "xyz"]
    if not energies or len(forces) != atoms or unit is None or None in rows:
        raise ValueError(f"{OUTPUT} lacks an energy, forces of {atoms} atoms, or a stress")
    tensor = np.array([row.groups() for row in rows if row], dtype=float)
    # CP2K counts pressure as positive.
    stress = -tensor * STRESS_UNITS[unit.group(1)]
    return {
        "energy": float(energies[-1]) * Hartree,
        "forces": np.array(forces, dtype=float) * Hartree / Bohr,
        "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
    }
