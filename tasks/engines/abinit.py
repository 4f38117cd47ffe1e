"""ABINIT with norm-conserving pseudopotentials."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines import abinit_failures
from leadline.tasks.engines.abinit_run import (
    EIGENVALUES,
    ERRORS,
    INPUT,
    LOG,
    MAIN,
    NUMBERS,
    bands_in,
    input_text,
    results,
)
from leadline.tasks.engines.abinit_settings import AbinitSettings
from leadline.tasks.engines.engine import Engine, Knob, PhysicsRemedy
from leadline.tasks.engines.ladder import rung
from leadline.tasks.engines.moments import starting_moments
from leadline.tasks.engines.program import asked, command_line, run_program
from leadline.tasks.engines.program_end import last_numbers, tail, text_of
from leadline.tasks.engines.pseudopotentials import refuse_lacking, refuse_missing, refuse_mixtures
from leadline.tasks.engines.psp8 import read_psp8
from leadline.tasks.engines.single_point import SinglePoints
from leadline.tasks.engines.wider_smearing import first_smearing, wider_smearing
from leadline.tasks.errors import ConfigurationError

SMEARED_AWAY = frozenset({"scf-not-converged", "electrons"})
"""Reasons of failures that a wider smearing may cure."""
WIDEST = 0.03
"""Ha, to which the smearing is widened."""


class AbinitEngine(Engine):
    """Plane-wave DFT by ABINIT, one run a single point.

    The energy holds the smearing term -TS: forces and stress are its derivatives.
    ``toldfe`` is multiplied by the number of atoms.
    """

    name: ClassVar[str] = "abinit"
    path_keys: ClassVar[frozenset[str]] = frozenset(
        {"nstep", "bands", "diemac", "diemix", "iscf", "wfoptalg", "nline", "symmetry"}
    )
    bands: ClassVar[bool] = True
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("ecut", "Ha", "cutoff"),
        Knob("kspacing", "1/Å", "mesh"),
    )
    Settings: ClassVar[type[AbinitSettings]] = AbinitSettings
    settings: AbinitSettings

    @property
    def magnetic(self) -> bool:
        """True with ``nsppol: 2``."""
        return self.settings.nsppol == 2

    def elements(self) -> frozenset[str]:
        """Return the elements that have a pseudopotential."""
        return frozenset(self.settings.pseudopotentials)

    def valence(self, element: str) -> float:
        """Return the electrons of an atom that its pseudopotential leaves."""
        return read_psp8(self._files()[element]).valence

    def version(self) -> str:
        """Return what the profile says, or what ABINIT prints, e.g. ``9.6.2``."""
        return self.site.version or _version_of(self.site.command or "abinit")

    def content(self) -> Mapping[str, str]:
        """Return the sha256 of each pseudopotential, by element."""
        return {element: read_psp8(path).sha256 for element, path in self._files().items()}

    def check(self, elements: frozenset[str]) -> list[str]:
        """Look for the binary and read the pseudopotentials."""
        refuse_lacking(self.name, elements - self.elements(), self._folder())
        self.version()
        files = self.settings.pseudopotentials
        refuse_missing(self.name, self._folder(), files, "ABINIT_PP_PATH")
        found = {name: read_psp8(path) for name, path in sorted(self._files().items())}
        refuse_mixtures(found, checked="ixc" not in self.settings.extra)
        if self.magnetic and not self.settings.initial_moments:
            return [
                "nsppol is 2 and no initial_moments are given: structures without moments of "
                "their own will come out non-magnetic"
            ]
        return []

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator; the k-mesh is that of ``atoms`` now, and stays."""
        return self._calculator(atoms, directory)

    def band_calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator whose SCF ends by the residuals of the bands, the empty ones too."""
        return self._calculator(atoms, directory, bands=True)

    def _calculator(self, atoms: Atoms, directory: Path, *, bands: bool = False) -> BaseCalculator:
        start = self.settings.initial_moments if self.magnetic else None
        moments = starting_moments(atoms, start, "nsppol", 2)
        mesh = self.settings.mesh(atoms)
        return SinglePoints(partial(self._run, directory, mesh, moments, bands))

    def observed(self, directory: Path) -> Mapping[str, float]:
        """Return the magnetisation (μB of the cell) and the SCF steps of the last run."""
        return last_numbers(NUMBERS, text_of(directory / MAIN))

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Read log, output and exit code of ABINIT."""
        return abinit_failures.classify(error, directory)

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        """Climb from gentler mixing to a sturdier eigensolver, with more bands."""
        settings = self.settings
        gentle = {"diemix": settings.diemix / 2, "nstep": 2 * settings.nstep}
        sturdy = {"wfoptalg": 14, "nline": 2 * settings.nline, "bands": settings.bands + 0.3}
        calm = {"diemix": settings.diemix / 4, "diemac": 10.0}
        ladders: dict[str, list[dict[str, Any]]] = {
            "scf-not-converged": [gentle, gentle | sturdy, gentle | sturdy | calm],
            "diagonalization": [sturdy, {"wfoptalg": 0, "nline": 3 * settings.nline}],
            "electrons": [{"bands": settings.bands + 0.5}, gentle | sturdy],
            "symmetry": [{"symmetry": False}],
            "engine-crashed": [sturdy],
            "not-finite": [gentle | sturdy],
            "output-unreadable": [gentle | sturdy],
            "absurd-energy": [gentle | sturdy],
        }
        return rung(ladders, failure, attempt)

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy | None:
        """Smear occupations that were fixed, or twice as widely."""
        if failure.kind is not FailureKind.PHYSICS or failure.reason not in SMEARED_AWAY:
            return None
        if self.settings.smearing == "none":
            return first_smearing("marzari-vanderbilt", f"{self.settings.tsmear:g} Ha")
        return wider_smearing("tsmear", self.settings.tsmear, WIDEST, "Ha")

    def _run(
        self,
        directory: Path,
        mesh: tuple[int, int, int],
        moments: list[float] | None,
        bands: bool,
        atoms: Atoms,
    ) -> Mapping[str, Any]:
        """Compute ``atoms`` by one run of ABINIT."""
        directory.mkdir(parents=True, exist_ok=True)
        # Where an output stands already, ABINIT writes into another file.
        for name in (MAIN, EIGENVALUES):
            (directory / name).unlink(missing_ok=True)
        potentials = {symbol: read_psp8(self._files()[symbol]) for symbol in set(atoms.symbols)}
        text = input_text(self.settings, atoms, mesh, moments, potentials, bands=bands)
        (directory / INPUT).write_text(text)
        command = [*shlex.split(command_line(self.site, "abinit")), INPUT]
        seconds = self.seconds_for_a_run()
        if seconds is not None:
            minutes, rest = divmod(int(seconds), 60)
            command += ["--timelimit", f"{minutes // 60}:{minutes % 60:02}:{rest:02}"]
        run_program(command, directory, LOG, ERRORS, self.site.threads)
        return results(directory) | (bands_in(directory) if bands else {})

    def _folder(self) -> Path:
        named = self.site.pseudopotentials or os.environ.get("ABINIT_PP_PATH")
        if named:
            return Path(named)
        wheel = find_spec("sparc")  # of sparc-x-api: looked for and not loaded
        if wheel is None or wheel.origin is None:
            raise ConfigurationError(
                "no folder of pseudopotentials is known: name one as engines.abinit."
                "pseudopotentials in the machine profile or in ABINIT_PP_PATH, or install PBE ones "
                "for 69 elements with pip install 'leadline[abinit]'"
            )
        return Path(wheel.origin).parent / "psp"

    def _files(self) -> dict[str, Path]:
        return {
            element: self._folder() / name
            for element, name in self.settings.pseudopotentials.items()
        }


@lru_cache(maxsize=8)
def _version_of(command: str) -> str:
    words = shlex.split(command)
    if shutil.which(words[0]) is None:
        raise ConfigurationError(
            f"the program {words[0]} of ABINIT is not found; install it (Debian: abinit), or set "
            "engines.abinit.command in the machine profile"
        )
    answer = asked([*words, "--version"])
    version = answer.stdout.strip()
    if answer.returncode or not version[:1].isdigit():
        raise ConfigurationError(
            f"{command} --version does not answer as ABINIT does, but with "
            f"{tail(answer.stderr or answer.stdout)!r}; set engines.abinit.command in the machine "
            "profile, or its version where ABINIT runs in jobs alone"
        )
    return version
