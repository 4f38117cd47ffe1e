"""A stand-in for VASP: it reads the four input files and writes the output files that matter.

Energies come of the pair potential of ``stand_in_pw``; every number is derived from the
input, and none is copied from a run of VASP. Give ``PYTHON stand_in_vasp.py [FAULT]`` as
``engines.vasp.command`` of a machine profile, ``potentials/`` beside it as the folder of
pseudopotentials: headers alone, written for tests. Standard library alone.
"""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1] / "stand_in_pw"))
from pair_potential import (  # type: ignore[import-not-found]  # beside the stand-in for pw.x
    BOHR,
    RYDBERG,
    Answer,
    Vector,
    answer,
    volume,
)

KBAR = 147105.0
EV_PER_BOHR = RYDBERG / BOHR
BANNER = " running    1 mpi-ranks\n vasp.6.4.2 20Jul23 (build stand-in) complex\n"
FINISHED = " General timing and accounting informations for this job:\n"
ENTROPY = 0.004
"""eV of -TS for each atom, so that the three energies of VASP differ."""
GAP, APART, EMPTY = 1.25, 0.1, 4
"""eV between occupied and empty bands at the second k-point, 1 eV more at the first; others."""
REACHED = (
    "------------------------ aborting loop because EDIFF is reached ------------------------\n"
)


@dataclass
class Task:
    """What the input files ask for: lengths in Å."""

    incar: dict[str, str]
    kpoints: list[str]
    cell: list[Vector]
    counted: list[tuple[str, int]]
    positions: list[Vector]

    @property
    def species(self) -> list[str]:
        return [symbol for symbol, number in self.counted for _ in range(number)]


def read() -> Task:
    lines = Path("POSCAR").read_text().splitlines()
    scale = float(lines[1])
    cell = [_vector(line.split(), scale) for line in lines[2:5]]
    counted = list(zip(lines[5].split(), map(int, lines[6].split()), strict=True))
    rows = lines[8 : 8 + sum(number for _, number in counted)]
    parts = [[float(word) for word in row.split()[:3]] for row in rows]
    positions = [
        tuple(sum(part[n] * cell[n][axis] for n in range(3)) for axis in range(3)) for part in parts
    ]
    incar = dict(re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", Path("INCAR").read_text(), re.M))
    kpoints = Path("KPOINTS").read_text().splitlines()
    return Task(incar, kpoints, cell, counted, positions)


def vasprun(task: Task, found: Answer, steps: int) -> str:
    n = len(task.species)
    free = found.energy * RYDBERG
    energy = f"""  <energy>
   <i name="e_fr_energy">{free:16.8f}</i>
   <i name="e_wo_entrp">{free + ENTROPY * n:16.8f}</i>
   <i name="e_0_energy">{free + ENTROPY * n / 2:16.8f}</i>
  </energy>
"""
    ends = _rows("forces", [[f * EV_PER_BOHR for f in force] for force in found.forces])
    ends += _rows("stress", [[s * KBAR for s in row] for row in found.stress])
    atoms = "".join(f"<rc><c>{each}</c><c>1</c></rc>" for each in task.species)
    kinds = "".join(
        f"<rc><c>{number}</c><c>{each}</c><c>1.0</c><c>11.0</c><c>PAW {each}</c></rc>"
        for each, number in task.counted
    )
    electronic = "".join(f"  <scstep>\n{energy}  </scstep>\n" for _ in range(steps))
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp</i>
  <i name="version" type="string">6.4.2</i>
 </generator>
 <incar>
{_keys(task.incar)} </incar>
 <kpoints>
  <generation param="{task.kpoints[2]}">
   <v type="int" name="divisions">{task.kpoints[3]}</v>
   <v name="shift">0.0 0.0 0.0</v>
  </generation>
{_rows("kpointlist", [[0.0, 0.0, 0.0]])}{_rows("weights", [[1.0]])} </kpoints>
 <parameters>
  <i type="int" name="NELM">{task.incar.get("NELM", "60")}</i>
  <i type="int" name="NSW">0</i>
  <i type="int" name="IBRION">-1</i>
  <i type="int" name="ISPIN">{task.incar.get("ISPIN", "1")}</i>
 </parameters>
 <atominfo>
  <array name="atoms"><set>
{atoms}
  </set></array>
  <array name="atomtypes"><set>
{kinds}
  </set></array>
 </atominfo>
{_structure(task, "initialpos")} <calculation>
{electronic}{_structure(task)}{ends}{energy}{_eigenvalues(task)} </calculation>
{_structure(task, "finalpos")}</modeling>
"""


def outcar(task: Task, *, whole: bool, reached: bool = True) -> str:
    electrons = 11.0 * len(task.species)
    text = f" vasp.6.4.2 20Jul23 (build stand-in) complex\n   NELECT = {electrons:12.4f}\n"
    text += f"   k-points           NKPTS =      1   number of bands    NBANDS= {int(electrons)}\n"
    text += "   total plane-waves  NPLWV =   1000\n   IBRION =     -1\n"
    if task.incar.get("ISPIN") == "2":
        moments = [float(word) for word in _spread(task.incar.get("MAGMOM", ""))]
        text += f" number of electron {electrons:15.7f} magnetization {sum(moments):15.7f}\n"
        text += "\n magnetization (x)\n\n# of ion       s       p       d       tot\n" + "-" * 42
        rows = enumerate(moments, 1)
        text += "".join(f"\n{n:5d} {0.0:11.3f} {0.0:7.3f} {m:7.3f} {m:7.3f}" for n, m in rows)
        text += (
            "\n"
            + "-" * 50
            + f"\ntot {0.0:11.3f} {0.0:7.3f} {sum(moments):7.3f} {sum(moments):7.3f}\n\n"
        )
    return text + (REACHED if whole and reached else "") + (FINISHED if whole else "")


class Run:
    """One run of a task: whole, or broken off by one of the faults below."""

    def __init__(self, task: Task) -> None:
        self.task, self.found = task, answer(task.cell, task.species, task.positions)

    def well(self, steps: int = 8, *, reached: bool = True) -> None:
        Path("vasprun.xml").write_text(vasprun(self.task, self.found, steps))
        Path("OUTCAR").write_text(outcar(self.task, whole=True, reached=reached))
        Path("WAVECAR").write_bytes(bytes(100))
        free = self.found.energy * RYDBERG
        dav = "".join(f"DAV: {n:3d}   {free:.10E}   -0.1E-04\n" for n in range(1, steps + 1))
        Path("OSZICAR").write_text(f"{dav}   1 F= {free:.8E} E0= {free:.8E}  d E =0.0\n")

    def stops(self, words: str, code: int = 1) -> NoReturn:
        Path("OUTCAR").write_text(outcar(self.task, whole=False))
        say(words)
        sys.exit(code)

    def unless(self, key: str, value: str, otherwise: Callable[[], None]) -> None:
        self.well() if self.task.incar.get(key) == value else otherwise()

    def not_converged(self) -> None:
        self.well(int(self.task.incar.get("NELM", "60")))

    def goes_on(self, words: str) -> None:
        say(words)
        self.well()

    def short_of_waves(self) -> None:
        """Give an energy that is too high by what a basis lacks: 1 eV an atom at ENCUT 0."""
        lacking = math.exp(-float(self.task.incar["ENCUT"]) / 60) * len(self.task.species)
        self.found.energy += lacking / RYDBERG
        self.well()

    def full(self) -> None:
        self.task.incar["EMPTY"] = "0"
        self.well()

    def asked_to_stop(self, *, reached: bool) -> None:
        """Compute until STOPCAR says to stop, as VASP does at the end of an SCF step."""
        while "LABORT = .TRUE." not in _text("STOPCAR"):
            time.sleep(0.02)
        if not reached:
            say(" hard stop encountered!  aborting job ...")
        self.well(3, reached=reached)

    def cut(self, name: str) -> None:
        self.well()
        text = Path(name).read_text()
        Path(name).write_text(text[: len(text) // 2])

    def dies(self, number: int) -> None:
        Path("OUTCAR").write_text(outcar(self.task, whole=False))
        os.kill(os.getpid(), number)
        signal.pause()

    def complains(self, words: str) -> None:
        sys.stderr.write(words + "\n")
        sys.exit(1)


EDDDAV = " Error EDDDAV: Call to ZHEGV failed. Returncode =   7   1   8"
FAULTS: dict[str, Callable[[Run], None]] = {
    "edddav": lambda run: run.unless("ALGO", "All", lambda: run.stops(EDDDAV)),
    "edddav-always": lambda run: run.stops(EDDDAV),
    "eddrmm-goes-on": lambda run: run.unless("ALGO", "Normal", lambda: run.goes_on(
        " WARNING in EDDRMM: call to ZHEGV failed, returncode =   8  3      9")),
    "zbrent": lambda run: run.stops(" ZBRENT: fatal error in bracketing"),
    "tetrahedra": lambda run: run.stops(" Tetrahedron method fails (number of k-points < 4)"),
    "scf": Run.not_converged,
    "scf-needs-all": lambda run: run.unless("ALGO", "All", run.not_converged),
    "killed": lambda run: run.dies(signal.SIGKILL),
    "terminated": lambda run: run.dies(signal.SIGTERM),
    "segfault": lambda run: run.dies(signal.SIGSEGV),
    "walltime": lambda run: run.stops(" soft stop encountered!  aborting job ...", 0),
    "endless": lambda run: run.asked_to_stop(reached=False),
    "just-done": lambda run: run.asked_to_stop(reached=True),
    "no-empty-bands": Run.full,
    "basis": Run.short_of_waves,
    "cut-vasprun": lambda run: run.cut("vasprun.xml"),
    "cut-outcar": lambda run: run.cut("OUTCAR"),
    "nothing": lambda run: None,
    "license": lambda run: run.complains("FATAL: cannot check out a license for vasp"),
    "potentials": lambda run: run.stops(
        " ERROR: number of potentials on File POTCAR incompatible with number of species"),
    "keyword": lambda run: run.stops(
        " Error reading item 'ENCUT' from file INCAR.\n Error code was IERR= 5"),
    "disk": lambda run: run.complains("forrtl: No space left on device"),
    "unknown": lambda run: run.stops("nobody knows", 7),
}  # fmt: skip


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    say(BANNER)
    Path("STOPCAR").unlink(missing_ok=True)  # so does VASP
    if not Path("POSCAR").is_file():
        sys.exit("no POSCAR")
    task = read()
    titles = re.findall(r"TITEL\s*=\s*\S+ ([A-Z][a-z]?)", Path("POTCAR").read_text())
    if titles != [symbol for symbol, _ in task.counted]:
        FAULTS["potentials"](Run(task))
    FAULTS.get(arguments[0] if arguments else "", Run.well)(Run(task))


def _text(name: str) -> str:
    return Path(name).read_text() if Path(name).is_file() else ""


def _eigenvalues(task: Task) -> str:
    """Return two k-points of bands, filled as far as 11 electrons of an atom reach."""
    filled = 11 * len(task.species) / 2
    spins = int(task.incar.get("ISPIN", "1"))
    sets = ""
    for spin in range(1, spins + 1):
        sets += f'<set comment="spin {spin}">\n'
        for point, gap in enumerate((GAP + 1, GAP), 1):
            bands = [-APART * n for n in range(math.ceil(filled))][::-1]
            bands += [gap + APART * n for n in range(int(task.incar.get("EMPTY", EMPTY)))]
            rows = [f"<r>{e:9.4f} {min(1.0, max(0.0, filled - n)):6.4f}</r>\n"
                    for n, e in enumerate(bands)]  # fmt: skip
            sets += f'<set comment="kpoint {point}">\n{"".join(rows)}</set>\n'
        sets += "</set>\n"
    return f"<eigenvalues><array>\n<set>\n{sets}</set>\n</array></eigenvalues>\n"


def _vector(words: list[str], scale: float) -> Vector:
    x, y, z = (float(word) * scale for word in words[:3])
    return x, y, z


def _spread(text: str) -> list[str]:
    """Spell out 2*0.6."""
    words = []
    for word in text.split():
        number, _, value = word.rpartition("*")
        words += [value] * int(number or 1)
    return words


def _keys(incar: dict[str, str]) -> str:
    kinds = {"ALGO": "string", "PREC": "string", "METAGGA": "string", "LREAL": "string"}
    kinds |= dict.fromkeys(("ISMEAR", "NELM", "ISYM", "ISPIN", "NSW", "IBRION"), "int")
    return "".join(
        f'  <i type="{kinds[key]}" name="{key}">{value}</i>\n'
        for key, value in incar.items()
        if key in kinds
    )


def _rows(name: str, rows: list[list[float]]) -> str:
    lines = "".join(f"   <v>{' '.join(f'{x:17.9f}' for x in row)}</v>\n" for row in rows)
    return f'  <varray name="{name}" >\n{lines}  </varray>\n'


def _structure(task: Task, name: str = "") -> str:
    cell, room = task.cell, volume(task.cell)
    parts = [[_part(at, cell, n) / room for n in range(3)] for at in task.positions]
    named = f' name="{name}"' if name else ""
    basis = _rows("basis", [list(vector) for vector in cell])
    return (
        f" <structure{named}>\n  <crystal>\n{basis}  </crystal>\n"
        f"{_rows('positions', parts)} </structure>\n"
    )


def _part(at: Vector, cell: list[Vector], n: int) -> float:
    """Return the volume that a position spans with the two other axes, with its sign."""
    rows = [at if row == n else cell[row] for row in range(3)]
    (a, b, c), (d, e, f), (g, h, i) = rows
    return float(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


if __name__ == "__main__":
    main(sys.argv[1:])
