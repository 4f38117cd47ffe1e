"""Quantum ESPRESSO's pw.x."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from leadline.tasks.calculation import Failure
from leadline.tasks.engines import espresso_failures
from leadline.tasks.engines.doubts import doubts_of_mesh, doubts_of_smearing, doubts_of_spin
from leadline.tasks.engines.engine import Engine, Knob, PhysicsRemedy
from leadline.tasks.engines.espresso_remedies import ladders, physics_remedy
from leadline.tasks.engines.espresso_run import PwProfile, numbers_in, pw_calculator
from leadline.tasks.engines.espresso_settings import EspressoSettings, Value
from leadline.tasks.engines.ladder import rung
from leadline.tasks.engines.program import asked, command_line
from leadline.tasks.engines.pseudopotentials import refuse_lacking, refuse_missing, refuse_mixtures
from leadline.tasks.engines.upf import Pseudopotential, read_upf
from leadline.tasks.errors import ConfigurationError

DEBIAN_PSEUDOPOTENTIALS = Path("/usr/share/espresso/pseudo")


class EspressoEngine(Engine):
    """Plane-wave DFT by pw.x, one run a single point.

    The energy is pw.x's total energy with the smearing term -TS: forces and
    stress are its derivatives. ``conv_thr`` is multiplied by the number of atoms.
    """

    name: ClassVar[str] = "espresso"
    layout_keys: ClassVar[frozenset[str]] = frozenset({"max_seconds"})
    path_keys: ClassVar[frozenset[str]] = frozenset(
        {"mixing_beta", "mixing_mode", "electron_maxstep", "diagonalization"}
        | {"nosym", "empty_bands", "restart"}
    )
    scratch: ClassVar[tuple[str, ...]] = ("out",)
    bands: ClassVar[bool] = True
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("ecutwfc", "Ry", "cutoff", along=("ecutrho",)),
        Knob("kspacing", "1/Å", "mesh"),
    )
    Settings: ClassVar[type[EspressoSettings]] = EspressoSettings
    settings: EspressoSettings

    @property
    def magnetic(self) -> bool:
        """True with ``nspin: 2``."""
        return self.settings.nspin == 2

    @property
    def plus_u(self) -> bool:
        """True with a ``hubbard_u``."""
        return any(self.settings.hubbard_u.values())

    def elements(self) -> frozenset[str]:
        """Return the elements that have a pseudopotential."""
        return frozenset(self.settings.pseudopotentials)

    def valence(self, element: str) -> float:
        """Return the electrons of an atom that its pseudopotential leaves."""
        return read_upf(self._files()[element]).valence

    def version(self) -> str:
        """Return what the profile says, or what pw.x prints, e.g. ``6.7MaX``."""
        return self.site.version or _version_of(self.site.command or "pw.x")

    def content(self) -> Mapping[str, str]:
        """Return the sha256 of each pseudopotential, by element."""
        return {element: read_upf(path).sha256 for element, path in self._files().items()}

    def check(self, elements: frozenset[str]) -> list[str]:
        """Look for the binary, read the pseudopotentials, compare cutoffs."""
        refuse_lacking(self.name, elements - self.elements(), self._folder())
        self._refuse_new_form(self.version())
        files = self.settings.pseudopotentials
        refuse_missing(self.name, self._folder(), files, "ESPRESSO_PSEUDO")
        found = {name: read_upf(path) for name, path in sorted(self._files().items())}
        refuse_mixtures(found, checked="input_dft" not in self.settings.extra.get("system", {}))
        doubts = [word for item in found.values() for word in self._doubts(item)]
        smeared = self.settings.smearing != "none"
        doubts += doubts_of_spin(elements, self.magnetic, "nspin: 2")
        doubts += doubts_of_smearing(elements, smeared, "smearing: marzari-vanderbilt")
        doubts += doubts_of_mesh(self.settings)
        if self.magnetic and not self.settings.starting_magnetization:
            doubts.append(
                "nspin is 2 and no starting_magnetization is given: structures without moments of "
                "their own will come out non-magnetic"
            )
        return doubts

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator; the k-mesh is that of ``atoms`` now, and stays."""
        return self._calculator(atoms, directory, self._namelists(atoms))

    def band_calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator that prints all eigenvalues, those of empty bands too."""
        namelists = self._namelists(atoms)
        namelists["control"]["verbosity"] = "high"
        # With smearing pw.x has empty bands by itself, with fixed occupations it has none.
        if self.settings.smearing == "none" and "nbnd" not in namelists["system"]:
            namelists["system"]["nbnd"] = self._bands(atoms)
        return self._calculator(atoms, directory, namelists)

    def _bands(self, atoms: Atoms, empty: float = 0.2) -> int:
        """Return the occupied bands, and a share of them or four as empty ones."""
        electrons = sum(self.valence(symbol) for symbol in atoms.symbols)
        unpaired = abs(self.settings.tot_magnetization or 0.0)
        occupied = math.ceil((electrons - float(atoms.info.get("charge", 0.0)) + unpaired) / 2)
        return occupied + max(4, math.ceil(occupied * empty))

    def _calculator(
        self, atoms: Atoms, directory: Path, namelists: Mapping[str, Mapping[str, Value]]
    ) -> BaseCalculator:
        command = command_line(self.site, "pw.x")
        profile = PwProfile(command, self._folder(), self.site.threads)
        parameters = {
            "input_data": namelists,
            "pseudopotentials": dict(self.settings.pseudopotentials),
            "kpts": self.settings.mesh(atoms),
            "fractions": self._fractions(atoms),
            "max_seconds": partial(self.seconds_for_a_run, self.settings.max_seconds),
            "hubbard_u": self.settings.hubbard_u,
        }
        return pw_calculator(profile, directory, parameters)

    def observed(self, directory: Path) -> Mapping[str, float]:
        """Return magnetisations (μB of the cell), iterations and residual (eV) of the last SCF."""
        return numbers_in((directory / espresso_failures.OUTPUT).read_text(errors="replace"))

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Read the output, CRASH and the exit code of pw.x."""
        return espresso_failures.classify(error, directory)

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        """Climb from gentler mixing to a sturdier eigensolver, more bands or no symmetry."""
        return rung(ladders(self.settings), failure, attempt)

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy | None:
        """Smear occupations that were fixed, or twice as widely."""
        return physics_remedy(self.settings, failure)

    def _folder(self) -> Path:
        named = self.site.pseudopotentials or os.environ.get("ESPRESSO_PSEUDO")
        return Path(named) if named else DEBIAN_PSEUDOPOTENTIALS

    def _files(self) -> dict[str, Path]:
        return {
            element: self._folder() / name
            for element, name in self.settings.pseudopotentials.items()
        }

    def _refuse_new_form(self, version: str) -> None:
        major, minor = (int(number) for number in re.findall(r"\d+", f"{version}.0")[:2])
        if self.plus_u and (major, minor) >= (7, 1):
            raise ConfigurationError(
                f"engine.hubbard_u: pw.x {version} takes a U from a card of its own, which "
                "leadline does not write; use a pw.x before 7.1, or leave the U out"
            )

    def _doubts(self, item: Pseudopotential) -> list[str]:
        ecutwfc = self.settings.ecutwfc
        ecutrho = self.settings.ecutrho or 4 * ecutwfc
        doubts = []
        if ecutwfc < item.ecutwfc:
            doubts.append(
                f"ecutwfc {ecutwfc:g} Ry is below the {item.ecutwfc:.0f} Ry that "
                f"{item.path.name} suggests"
            )
        if ecutrho < item.ecutrho:
            doubts.append(
                f"ecutrho {ecutrho:g} Ry is below the {item.ecutrho:.0f} Ry that "
                f"{item.path.name} suggests"
            )
        elif item.kind != "NC" and ecutrho < 6 * ecutwfc:
            doubts.append(
                f"{item.path.name} is {item.kind}: it mostly needs an ecutrho of 8 to 12 times "
                f"ecutwfc; {ecutrho:g} Ry is {ecutrho / ecutwfc:.1f} times"
            )
        return doubts

    def _namelists(self, atoms: Atoms) -> dict[str, dict[str, Value]]:
        s = self.settings
        control: dict[str, Value] = {
            "calculation": "scf", "prefix": "pw", "outdir": "./out", "tprnfor": True,
            "tstress": True, "disk_io": "low" if s.restart else "none",
        }  # fmt: skip
        system: dict[str, Value] = {"ecutwfc": s.ecutwfc, "nspin": s.nspin}
        electrons: dict[str, Value] = {
            "conv_thr": s.conv_thr * len(atoms), "mixing_beta": s.mixing_beta,
            "mixing_mode": s.mixing_mode, "electron_maxstep": s.electron_maxstep,
            "diagonalization": s.diagonalization,
        }  # fmt: skip
        if s.ecutrho:
            system["ecutrho"] = s.ecutrho
        if s.smearing == "none":
            system["occupations"] = "fixed"
        else:
            system |= {"occupations": "smearing", "smearing": s.smearing, "degauss": s.degauss}
        if s.tot_magnetization is not None:
            system["tot_magnetization"] = s.tot_magnetization
        if s.vdw_corr != "none":
            system["vdw_corr"] = s.vdw_corr
        if s.nosym:
            system["nosym"] = True
        if s.empty_bands is not None:
            system["nbnd"] = self._bands(atoms, s.empty_bands)
        if atoms.info.get("charge"):
            system["tot_charge"] = float(atoms.info["charge"])
        return {
            "control": control | s.extra.get("control", {}),
            "system": system | s.extra.get("system", {}),
            "electrons": electrons | s.extra.get("electrons", {}),
        }

    def _fractions(self, atoms: Atoms) -> list[float] | None:
        moments = atoms.get_initial_magnetic_moments()
        if self.settings.nspin == 1:
            if moments.any():
                raise ConfigurationError(
                    "a structure has initial moments, and engine.nspin is 1; set it to 2"
                )
            return None
        if atoms.has("initial_magmoms") and not moments.any():
            return [0.0] * len(atoms)
        files = self._files()
        valence = {name: read_upf(files[name]).valence for name in set(atoms.symbols)}
        start = self.settings.starting_magnetization
        return [
            float(np.clip(moment / valence[symbol], -1, 1)) if moment else start.get(symbol, 0.0)
            for symbol, moment in zip(atoms.symbols, moments, strict=True)
        ]


@lru_cache(maxsize=8)
def _version_of(command: str) -> str:
    words = shlex.split(command)
    if shutil.which(words[0]) is None:
        raise ConfigurationError(
            f"the program {words[0]} of Quantum ESPRESSO is not found; install it (Debian: "
            "quantum-espresso and quantum-espresso-data), or set engines.espresso.command in the "
            "machine profile"
        )
    with tempfile.TemporaryDirectory() as folder:
        answer = asked(words, "\n", folder)
    match = re.search(r"Program PWSCF\s+v\.(\S+)", answer.stdout)
    if match is None:
        raise ConfigurationError(
            f"{command} does not answer as pw.x does, but with "
            f"{(answer.stderr or answer.stdout)[-200:]!r}; set engines.espresso.command in the "
            "machine profile, or its version where pw.x runs in jobs alone"
        )
    return match.group(1)
