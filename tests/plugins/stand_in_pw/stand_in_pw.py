"""A stand-in for Quantum ESPRESSO's pw.x: real input, real-looking output, faults on demand.

It reads the input that leadline's ``espresso`` engine writes, answers by a pair
potential in milliseconds, and writes what pw.x 6.7 writes, which a test compares with
the real one. Give ``PYTHON stand_in_pw.py`` as ``engines.espresso.command`` of a
machine profile, ``pseudo/`` beside it as the folder of pseudopotentials.

``STAND_IN_PW`` names a JSON file, the plan of its faults::

    {"seconds": 0.1,                          how long each run takes
     "room": 1000000,                         bytes that fit on the disk; else what does
     "seed": 7, "shares": {"segfault": 0.1},  a share of all structures, by a hash
     "formulas": {"Cu3Au": "nan",             these cells always,
                  "CuAu": ["killed", 1]}}     or in their first attempts alone

A structure has its fault by what an attempt began with, so it stays the same along a
relaxation and from one campaign to the next. Standard library alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pair_potential import (  # type: ignore[import-not-found]  # it lies beside this script
    BOHR,
    RYDBERG,
    Answer,
    Vector,
    answer,
    dot,
    volume,
)

KBAR = 147105.0
KEYS = {
    "control": "calculation tstress tprnfor outdir prefix disk_io pseudo_dir max_seconds",
    "system": "ecutwfc ecutrho occupations degauss smearing nspin ntyp nat ibrav tot_charge "
    "tot_magnetization vdw_corr nosym nbnd",
    "electrons": "electron_maxstep conv_thr mixing_mode mixing_beta diagonalization "
    "startingpot startingwfc",
    "ions": "", "cell": "", "fcp": "", "rism": "",
}  # fmt: skip
BOX = f" {'%' * 78}"


@dataclass
class Task:
    """What an input asks for: lengths in Å."""

    keys: dict[str, str]
    files: dict[str, str]
    cell: list[Vector]
    species: list[str]
    positions: list[Vector]

    @property
    def formula(self) -> str:
        counted = sorted(Counter(self.species).items(), key=lambda each: (each[1], each[0]))
        return "".join(f"{symbol}{number if number > 1 else ''}" for symbol, number in counted)

    def hash(self, seed: int) -> float:
        """A number in [0, 1) that this structure has with a seed."""
        rounded = [[round(x, 3) for x in vector] for vector in [*self.cell, *self.positions]]
        text = json.dumps([seed, self.species, rounded])
        return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


def read(path: Path) -> Task:
    """Read an input; what pw.x refuses is refused in its words."""
    text = path.read_text() if path.is_file() else ""
    keys: dict[str, str] = {}
    for section, body in re.findall(r"^&(\w+)\n(.*?)^/", text, re.M | re.S):
        for line in body.splitlines():
            name, _, value = (part.strip() for part in line.partition("="))
            if name not in KEYS[section.lower()].split():
                words = f'bad line in namelist &{section.lower()}: "{line}"'
                stop("read_namelists", f"{words} (error could be in the previous line)")
            keys[name] = value.strip("'")
    if "nat" not in keys:
        stop("read_namelists", 'bad line in namelist &control: ""')
    rows = [line.split() for line in text.partition("CELL_PARAMETERS")[2].splitlines()]
    atoms = [line.split() for line in text.partition("ATOMIC_POSITIONS")[2].splitlines()]
    atoms = [row for row in atoms[1:] if len(row) >= 4]
    kinds = re.findall(r"^(\w+) [\d.]+ (\S+)$", text, re.M)
    return Task(
        keys,
        dict(kinds),
        [_vector(row) for row in rows[1:4]],
        [row[0] for row in atoms],
        [_vector(row[1:4]) for row in atoms],
    )


def banner(file: str) -> str:
    return f"""
     Program PWSCF v.6.7MaX starts on {time.strftime("%d%b%Y at %H:%M:%S")}

     Parallel version (MPI), running on     1 processors
     Reading input from {file}
"""


def setup(task: Task) -> str:
    """What pw.x says before it iterates: the part that ASE reads the structure from."""
    alat = math.sqrt(dot(task.cell[0], task.cell[0]))
    axes = "\n".join(
        f"               a({n}) = ({_numbers(_scaled(vector, alat), 11, 6)} )  "
        for n, vector in enumerate(task.cell, 1)
    )
    sites = "\n".join(
        f"     {n:5d}           {symbol:2s}  tau({n:4d}) = ({_numbers(_scaled(at, alat), 12, 7)}  )"
        for n, (symbol, at) in enumerate(zip(task.species, task.positions, strict=True), 1)
    )
    return f"""
     bravais-lattice index     =            0
     lattice parameter (alat)  = {alat / BOHR:12.4f}  a.u.
     unit-cell volume          = {volume(task.cell) / BOHR**3:12.4f} (a.u.)^3
     number of atoms/cell      = {len(task.species):12d}
     number of atomic types    = {len(task.files):12d}
     number of Kohn-Sham states=           10
     kinetic-energy cutoff     = {float(task.keys["ecutwfc"]):12.4f}  Ry
     Exchange-correlation= SLA  PZ   NOGX NOGC

     celldm(1)={alat / BOHR:11.6f}  celldm(2)=   0.000000  celldm(3)=   0.000000
     celldm(4)=   0.000000  celldm(5)=   0.000000  celldm(6)=   0.000000

     crystal axes: (cart. coord. in units of alat)
{axes}

   Cartesian axes

     site n.     atom                  positions (alat units)
{sites}

     number of k points=     1  Marzari-Vanderbilt smearing, width (Ry)=  0.0200
                       cart. coord. in units 2pi/alat
        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   2.0000000

     Self-consistent Calculation

     iteration #  1     ecut=    {float(task.keys["ecutwfc"]):5.2f} Ry     beta= 0.70
     total energy              =     -10.08361294 Ry
     estimated scf accuracy    <       0.02221731 Ry
"""


def converged(energy: str) -> str:
    return f"""
     End of self-consistent calculation

          k = 0.0000 0.0000 0.0000 (   147 PWs)   bands (ev):

    -3.6685   9.9371   9.9371   9.9505  11.9323  11.9323  14.9583  15.2000
    16.0000  16.1000

     the Fermi energy is     7.0635 ev

!    total energy              = {energy:>17} Ry
     estimated scf accuracy    <       0.00000002 Ry
     smearing contrib. (-TS)   =       0.00000000 Ry

     The total energy is F=E-TS. E is the sum of the following terms:

     convergence has been achieved in   5 iterations
"""


def derivatives(found: Answer, types: list[int]) -> str:
    forces = "\n".join(
        f"     atom {n:4d} type {kind:2d}   force = {_numbers(force, 14, 8)}"
        for n, (kind, force) in enumerate(zip(types, found.forces, strict=True), 1)
    )
    rows = "\n".join(
        f"{_numbers(row, 13, 8)} {_numbers([s * KBAR for s in row], 13, 2)}" for row in found.stress
    )
    pressure = sum(found.stress[n][n] for n in range(3)) * KBAR / 3
    return f"""
     Forces acting on atoms (cartesian axes, Ry/au):

{forces}

     Total force =     0.057103     Total SCF correction =     0.000002


     Computing stress (Cartesian axis) and pressure

          total   stress  (Ry/bohr**3)                   (kbar)     P= {pressure:11.2f}
{rows}

"""


def farewell() -> str:
    return f"""
     PWSCF        :      0.06s CPU      0.10s WALL

   This run was terminated on:  {time.strftime("%H:%M:%S  %d%b%Y")}

=------------------------------------------------------------------------------=
   JOB DONE.
=------------------------------------------------------------------------------=
"""


NOT_CONVERGED = "\n     convergence NOT achieved after 100 iterations: stopping\n"


def stop(routine: str, message: str, *, silently: bool = False) -> NoReturn:
    """End as pw.x ends on an error; silently where MPI swallows what was not flushed."""
    if not silently:
        say(f"\n{BOX}\n     Error in routine {routine} (1):\n     {message}\n{BOX}\n")
    said = f"     task #         0\n     from {routine} : error #         1\n     {message}"
    Path("CRASH").write_text(f"\n{BOX}\n{said}\n{BOX}\n\n")
    sys.stderr.write("MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD\n")
    sys.exit(1)


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class Run:
    """One run of a task: whole, or broken off by one of the faults below."""

    def __init__(self, task: Task, seconds: float = 0.0, room: int | None = None) -> None:
        self.task, self.seconds, self.room = task, seconds, room
        self.found = answer(task.cell, task.species, task.positions)
        self.types = [list(task.files).index(symbol) + 1 for symbol in task.species]

    def well(self, energy: str | None = None, found: Answer | None = None) -> None:
        say(setup(self.task))
        time.sleep(self.seconds)
        say(converged(energy or f"{self.found.energy:.8f}"))
        say(derivatives(found or self.found, self.types) + farewell())

    def ends_by(self, number: int) -> None:
        say(setup(self.task))
        time.sleep(self.seconds)
        os.kill(os.getpid(), number)
        time.sleep(60)

    def crash_file(self) -> None:
        stop("c_bands", "too many bands are not converged", silently=True)

    def no_pseudopotential(self) -> None:
        name = self.task.files[self.task.species[0]]
        stop("readpp", f"file {Path(self.task.keys['pseudo_dir']) / name} not found", silently=True)

    def not_converged(self, *, below: float) -> None:
        if float(self.task.keys["mixing_beta"]) < below:
            return self.well()
        say(
            setup(self.task)
            + "     End of self-consistent calculation\n"
            + NOT_CONVERGED
            + farewell()
        )
        sys.stderr.write("STOP 2\n")
        sys.exit(2)

    def unconverged_as_good(self) -> None:
        text = converged(f"{self.found.energy:.8f}")
        kept = "\n".join(line for line in text.splitlines() if "achieved" not in line)
        say(setup(self.task) + NOT_CONVERGED + kept + derivatives(self.found, self.types))
        say(farewell())

    def hangs(self, *, deaf: bool) -> None:
        if deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say(setup(self.task))
        while True:
            signal.pause()

    def garbage(self) -> None:
        sys.stdout.buffer.write(random.Random(1).randbytes(20_000))

    def cut_short(self, *, after: str) -> None:
        text = setup(self.task) + converged(f"{self.found.energy:.8f}")
        text += derivatives(self.found, self.types) + farewell()
        say(text[: text.index(after) + len(after)])

    def fills_disk(self) -> None:
        say(setup(self.task))
        Path("out").mkdir(exist_ok=True)
        try:
            with Path("out/wfc1.dat").open("wb") as file:
                while self.room is None or file.tell() < self.room:
                    file.write(bytes(1 << 16))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            sys.stderr.write(f"Fortran runtime error: {error.strerror}\n")
            sys.exit(2)

    def forks(self) -> None:
        nothing = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        subprocess.Popen(["sleep", "600"], **nothing)  # type: ignore[call-overload]
        subprocess.Popen(["sleep", "600"], **nothing, start_new_session=True)  # type: ignore[call-overload]
        self.well()

    def out_of_time(self) -> None:
        say(setup(self.task) + "\n     Maximum CPU time exceeded\n" + farewell())
        sys.exit(255)

    def slow(self) -> None:
        time.sleep(2.0)
        self.well()

    def of_other_atoms(self) -> None:
        task, found = self.task, self.found
        task.species, task.positions = task.species * 2, task.positions * 2
        self.types = self.types * 2
        self.well(found=Answer(found.energy, found.forces * 2, found.stress))


FAULTS: dict[str, Callable[[Run], None]] = {
    "segfault": lambda run: run.ends_by(signal.SIGSEGV),
    "aborts": lambda run: run.ends_by(signal.SIGABRT),
    "killed": lambda run: run.ends_by(signal.SIGKILL),
    "crash-file": Run.crash_file,
    "no-pseudopotential": Run.no_pseudopotential,
    "needs-calm": lambda run: run.not_converged(below=0.5),
    "never-converges": lambda run: run.not_converged(below=0.0),
    "unconverged-as-good": Run.unconverged_as_good,
    "hangs": lambda run: run.hangs(deaf=False),
    "hangs-deaf": lambda run: run.hangs(deaf=True),
    "garbage": Run.garbage,
    "cut-short": lambda run: run.cut_short(after="iterations"),
    "cut-at-forces": lambda run: run.cut_short(after="force = "),
    "fills-disk": Run.fills_disk,
    "forks": Run.forks,
    "out-of-time": Run.out_of_time,
    "other-atoms": Run.of_other_atoms,
    "high": lambda run: run.well(f"{1e6 / RYDBERG * len(run.types):.8f}"),
    "low": lambda run: run.well(f"{run.found.energy - 60 / RYDBERG * len(run.types):.8f}"),
    "nan": lambda run: run.well("NaN"),
    "stars": lambda run: run.well("*" * 17),
    "slow": Run.slow,
}


def fault_of(task: Task, plan: dict[str, Any]) -> str:
    """Return the name of the fault of this run, or ''; fixed by what the attempt began with."""
    kept = Path("fault")
    if not kept.exists():
        kept.write_text(_drawn(task, plan))
    return kept.read_text()


def _drawn(task: Task, plan: dict[str, Any]) -> str:
    named = plan.get("formulas", {}).get(task.formula)
    if named is None:
        chance, named = task.hash(plan.get("seed", 0)), ""
        for name, share in plan.get("shares", {}).items():
            chance, named = chance - share, name if 0 <= chance < share else named
    fault, attempts = (named, math.inf) if isinstance(named, str) else named
    attempt = int(os.environ.get("LEADLINE_ATTEMPT", "/1").rpartition("/")[2])
    return str(fault) if attempt <= attempts else ""


def main(arguments: list[str]) -> None:
    file = arguments[arguments.index("-in") + 1] if "-in" in arguments else ""
    say(banner(file or "standard input"))
    task = read(Path(file) if file else Path("nothing"))
    for name in task.files.values():
        path = Path(task.keys["pseudo_dir"]) / name
        if not path.is_file():
            stop("readpp", f"file {path} not found")
    named = os.environ.get("STAND_IN_PW")
    plan: dict[str, Any] = json.loads(Path(named).read_text()) if named else {}
    fault = fault_of(task, plan)
    FAULTS.get(fault, Run.well)(Run(task, plan.get("seconds", 0.0), plan.get("room")))


def _vector(words: list[str]) -> Vector:
    x, y, z = (float(word) for word in words)
    return x, y, z


def _scaled(vector: Vector, unit: float) -> list[float]:
    return [x / unit for x in vector]


def _numbers(values: list[float], width: int, digits: int) -> str:
    return "".join(f"{value:{width}.{digits}f}" for value in values)


if __name__ == "__main__":
    main(sys.argv[1:])
