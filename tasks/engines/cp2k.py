"""CP2K's Quickstep: Gaussians and plane waves, one run a single point."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines import program_end
from leadline.tasks.engines.cp2k_run import (
    DONE,
    ERRORS,
    INPUT,
    NOT_CONVERGED,
    NUMBERS,
    OUTPUT,
    definition,
    input_text,
    results,
    valence,
)
from leadline.tasks.engines.cp2k_settings import Cp2kSettings
from leadline.tasks.engines.engine import Engine, PhysicsRemedy
from leadline.tasks.engines.ladder import rung
from leadline.tasks.engines.moments import starting_moments
from leadline.tasks.engines.program import (
    BrokenOutputError,
    asked,
    command_line,
    run_program,
)
from leadline.tasks.engines.program_end import (
    by_error,
    by_exit,
    last_numbers,
    line_with,
    plain,
    tail,
    text_of,
)
from leadline.tasks.engines.single_point import SinglePoints
from leadline.tasks.engines.wider_smearing import first_smearing, wider_smearing
from leadline.tasks.errors import ConfigurationError

DEBIAN_DATA = Path("/usr/share/cp2k")
HOTTEST = 4000.0
"""K, to which the electrons are warmed."""
PHRASES = (
    *program_end.PHRASES,
    ("exceeded requested execution time", FailureKind.REMOTE, "walltime"),
    (NOT_CONVERGED, FailureKind.PHYSICS, "scf-not-converged"),
    ("SCF run NOT", FailureKind.PHYSICS, "scf-not-converged"),
)
"""What stands anywhere in the output, the most telling first."""
ABORTS = (
    (r"ADDED_MOS|unknown (keyword|subsection|section)|input_pars|input_key",
     FailureKind.CONFIGURATION, "bad-input"),
    (r"basis set|potential", FailureKind.CONFIGURATION, "pseudopotential"),
    (r"GEOMETRY wrong|too close|overlap", FailureKind.PHYSICS, "atoms-overlap"),
    (r"SCF run NOT converged|did not converge", FailureKind.PHYSICS, "scf-not-converged"),
    (r"cholesky|syevd|heevd|diag", FailureKind.PHYSICS, "diagonalization"),
    (r"[Mm]emory|allocat", FailureKind.REMOTE, "out-of-memory"),
)  # fmt: skip
"""What stands in the box that CP2K draws around its last words."""


class Cp2kEngine(Engine):
    """Density-functional theory by CP2K without spin.

    The energy holds the entropy of the smeared electrons: forces and stress are its
    derivatives.
    """

    name: ClassVar[str] = "cp2k"
    path_keys: ClassVar[frozenset[str]] = frozenset(
        {"max_scf", "mixing", "alpha", "nbuffer", "bands"}
    )
    Settings: ClassVar[type[Cp2kSettings]] = Cp2kSettings
    settings: Cp2kSettings

    def elements(self) -> frozenset[str]:
        """Return the elements that have a basis set and a pseudopotential."""
        return frozenset(self.settings.potentials)

    def valence(self, element: str) -> float:
        """Return the electrons of an atom that its pseudopotential leaves."""
        return valence(self._potential(element))

    def version(self) -> str:
        """Return what the profile says, or what CP2K prints, e.g. ``2023.1``."""
        return self.site.version or _version_of(self.site.command or "cp2k")

    def content(self) -> Mapping[str, str]:
        """Return the sha256 of each definition, by element."""
        return {
            element: hashlib.sha256(f"{self._basis(element)}\n{self._potential(element)}".encode())
            .hexdigest()
            for element in sorted(self.elements())
        }  # fmt: skip

    def check(self, elements: frozenset[str]) -> list[str]:
        """Look for the binary, the basis sets and the pseudopotentials."""
        lacking = sorted(elements - self.elements())
        if lacking:
            raise ConfigurationError(
                f"the engine cp2k has no basis set and no pseudopotential for "
                f"{', '.join(lacking)}; name them in engine.basis_sets and engine.potentials"
            )
        self.version()
        self.content()
        return []

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator; the k-mesh is that of ``atoms`` now, and stays."""
        starting_moments(atoms, None, "name", "an engine with spin")
        self.content()  # refuses names that CP2K's files do not have: its own words are dark
        return SinglePoints(partial(self._run, directory, self.settings.mesh(atoms)))

    def observed(self, directory: Path) -> Mapping[str, float]:
        """Return the SCF steps of the last run."""
        return last_numbers(NUMBERS, text_of(directory / OUTPUT))

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Read the output and the exit code of CP2K."""
        if unstarted := by_error(error, self.name):
            return unstarted
        output = text_of(directory / OUTPUT)
        errors = text_of(directory / ERRORS)
        everything = output + errors
        for phrase, kind, reason in PHRASES:
            if phrase in everything:
                return Failure(kind, reason, line_with(phrase, everything))
        if words := _last_words(output):
            found = (each for each in ABORTS if re.search(each[0], words))
            _, kind, reason = next(found, ("", FailureKind.PHYSICS, "engine-error"))
            return Failure(kind, reason, words)
        if isinstance(error, CalledProcessError):
            return by_exit("CP2K", error.returncode, output, errors)
        words = f"{type(error).__name__}: {error}; it ends: {tail(output)}"
        if isinstance(error, BrokenOutputError) or DONE not in output:
            return Failure(FailureKind.REMOTE, "output-cut-short", words)
        return Failure(FailureKind.PHYSICS, "output-unreadable", words)

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        """Climb from gentler mixing to another way to mix, with more bands."""
        settings = self.settings
        gentle = {"alpha": settings.alpha / 2, "max_scf": 2 * settings.max_scf}
        wide = {"bands": settings.bands + 0.3}
        pulay = {"mixing": "PULAY_MIXING", "alpha": settings.alpha / 4}
        ladders: dict[str, list[dict[str, Any]]] = {
            "scf-not-converged": [gentle, gentle | wide, gentle | wide | pulay],
            "diagonalization": [gentle | wide],
            "engine-crashed": [gentle],
            "not-finite": [gentle | wide],
            "output-unreadable": [gentle | wide],
            "absurd-energy": [gentle | wide],
        }
        return rung(ladders, failure, attempt)

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy | None:
        """Smear occupations that were fixed, or by twice the temperature."""
        if (failure.kind, failure.reason) != (FailureKind.PHYSICS, "scf-not-converged"):
            return None
        kelvin = self.settings.electronic_temperature
        if self.settings.smearing == "none":
            return first_smearing("fermi-dirac", f"{kelvin:g} K")
        return wider_smearing("electronic_temperature", kelvin, HOTTEST, "K")

    def _run(self, directory: Path, mesh: tuple[int, int, int], atoms: Atoms) -> Mapping[str, Any]:
        """Compute ``atoms`` by one run of CP2K."""
        directory.mkdir(parents=True, exist_ok=True)
        electrons = sum(valence(self._potential(symbol)) for symbol in atoms.symbols)
        seconds = self.seconds_for_a_run()
        text = input_text(self.settings, atoms, mesh, self._folder(), electrons, seconds)
        (directory / INPUT).write_text(text)
        command = [*shlex.split(command_line(self.site, "cp2k")), "-i", INPUT]
        run_program(command, directory, OUTPUT, ERRORS, self.site.threads)
        return results(directory, len(atoms))

    def _basis(self, element: str) -> str:
        file = self._folder() / self.settings.basis_set_file
        return definition(file, element, self.settings.basis_sets[element])

    def _potential(self, element: str) -> str:
        file = self._folder() / self.settings.potential_file
        return definition(file, element, self.settings.potentials[element])

    def _folder(self) -> Path:
        named = self.site.pseudopotentials or os.environ.get("CP2K_DATA_DIR")
        return Path(named) if named else DEBIAN_DATA


def _last_words(output: str) -> str:
    """Return what stands in the box of an abort: its right column, without the drawing."""
    box = re.search(r"\[ABORT\].*?\n(.*?)\n \*{20,}", output, re.DOTALL)
    if box is None:
        return ""
    lines = [re.sub(r"^ \*[ \\/|O_]*|\*\s*$", "", line) for line in box.group(1).splitlines()]
    return " ".join(filter(None, map(plain, lines)))


@lru_cache(maxsize=8)
def _version_of(command: str) -> str:
    words = shlex.split(command)
    if shutil.which(words[0]) is None:
        raise ConfigurationError(
            f"the program {words[0]} of CP2K is not found; install it (Debian: cp2k), or set "
            "engines.cp2k.command in the machine profile"
        )
    answer = asked([*words, "--version"])
    match = re.search(r"CP2K version (\S+)", answer.stdout)
    if match is None:
        raise ConfigurationError(
            f"{command} --version does not answer as CP2K does, but with "
            f"{tail(answer.stderr or answer.stdout)!r}; set engines.cp2k.command in the machine "
            "profile, or its version where CP2K runs in jobs alone"
        )
    return match.group(1)
