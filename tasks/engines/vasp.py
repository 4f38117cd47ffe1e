"""VASP, for those who have a licence: pymatgen's input sets, custodian's knowledge of errors."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pymatgen.core import Element

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines import vasp_failures
from leadline.tasks.engines.engine import Engine, Knob, PhysicsRemedy
from leadline.tasks.engines.potcar import Potcar, potcar_path, read_potcar
from leadline.tasks.engines.program import asked, command_line
from leadline.tasks.engines.program_end import text_of
from leadline.tasks.engines.single_point import SinglePoints
from leadline.tasks.engines.vasp_input import (
    plus_u_elements,
    release,
    set_content,
    set_incar,
    set_potcars,
    vasp_input,
)
from leadline.tasks.engines.vasp_run import VaspRuns, numbers_in
from leadline.tasks.engines.vasp_settings import PATH_KEYS, VaspSettings
from leadline.tasks.errors import ConfigurationError

MOST_ATTEMPTS = 5
"""Attempts that end in physics trouble, after which custodian is asked no more."""


class VaspEngine(Engine):
    """VASP by pymatgen's input sets or the user's INCAR, one run a single point.

    The energy is ``e_fr_energy``, VASP's free energy with the smearing term -TS:
    forces and stress are its derivatives. (``e_0_energy``, which the Materials
    Project stores, is extrapolated to no smearing and has none.)
    """

    name: ClassVar[str] = "vasp"
    layout_keys: ClassVar[frozenset[str]] = frozenset({"lwave"})
    path_keys: ClassVar[frozenset[str]] = PATH_KEYS
    scratch: ClassVar[tuple[str, ...]] = (
        "POTCAR", "WAVECAR", "CHGCAR", "CHG", "WAVEDER", "PROCAR", "TMPCAR", "LOCPOT", "AECCAR0",
        "AECCAR1", "AECCAR2", "ELFCAR", "vaspout.h5", "vaspwave.h5",
    )  # fmt: skip
    """Large files, and those with potentials in them: vaspout.h5 holds its whole input."""
    bands: ClassVar[bool] = True
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("user_incar_settings.ENCUT", "eV", "cutoff"),
        Knob("kspacing", "1/Å", "mesh"),
    )
    Settings: ClassVar[type[VaspSettings]] = VaspSettings
    settings: VaspSettings

    @property
    def magnetic(self) -> bool:
        """True with ISPIN 2, as all of pymatgen's sets have it."""
        return bool(set_incar(self.settings).get("ISPIN", 1) == 2)

    @property
    def plus_u(self) -> bool:
        """True if energies hold a +U on an element of the campaign."""
        return bool(plus_u_elements(self.settings))

    def elements(self) -> frozenset[str]:
        """Return the elements that have a POTCAR."""
        return frozenset(self.settings.user_potcar_settings)

    def valence(self, element: str) -> float:
        """Return the electrons of an atom that its POTCAR leaves."""
        return self._potcars()[element].valence

    def version(self) -> str:
        """Return what the profile says, or what VASP prints, e.g. ``6.4.2``."""
        return self.site.version or _version_of(self.site.command or "vasp_std")

    def content(self) -> Mapping[str, str]:
        """Return the sha256 of each POTCAR by element, and of what the input set says."""
        potcars = {element: each.sha256 for element, each in self._potcars().items()}
        if self.settings.input_set is None:
            return potcars
        return {**potcars, "input_set": set_content(self.settings)}

    def check(self, elements: frozenset[str]) -> list[str]:
        """Look for VASP and custodian, read the POTCARs, compare cutoff and smearing."""
        vasp_failures.require_custodian()
        self._refuse_lacking(elements)
        self.version()
        found = self._potcars()
        self._refuse_mixtures(found)
        return [*self._doubts_of_potcars(found), *self._doubts_of_incar(found)]

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator; the k-mesh is that of ``atoms`` now, and stays."""
        return self._calculator(atoms, directory)

    def band_calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator that reads eigenvalues: VASP has empty bands by itself."""
        return self._calculator(atoms, directory, bands=True)

    def _calculator(self, atoms: Atoms, directory: Path, *, bands: bool = False) -> BaseCalculator:
        vasp_failures.require_custodian()
        self._refuse_lacking(frozenset(atoms.symbols))
        given = vasp_input(self.settings, atoms, self._potcars())
        command = command_line(self.site, "vasp_std")
        threads, seconds = self.site.threads, self.seconds_for_a_run
        return SinglePoints(VaspRuns(command, threads, given, directory, seconds, bands))

    def observed(self, directory: Path) -> Mapping[str, float]:
        """Return the magnetisation (μB of the cell) and ``e_0_energy`` (eV) of the last run."""
        return numbers_in(directory)

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Read the output, custodian's handlers and the exit code of VASP."""
        return vasp_failures.classify(error, directory, self.settings.model_dump())

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        """Follow custodian's advice as long as it changes path keys alone."""
        if failure.kind is not FailureKind.PHYSICS or attempt >= MOST_ATTEMPTS:
            return None
        return dict(failure.advice) or None if failure.advice.keys() <= self.path_keys else None

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy | None:
        """Follow custodian's advice where it changes more than path keys."""
        if failure.kind is not FailureKind.PHYSICS or failure.advice.keys() <= self.path_keys:
            return None
        return PhysicsRemedy(dict(failure.advice), failure.message)

    def _folder(self) -> Path:
        named = self.site.pseudopotentials or os.environ.get("PMG_VASP_PSP_DIR")
        if named:
            return Path(named)
        raise ConfigurationError(
            "nothing says where the POTCARs are; name their folder, laid out as pymatgen's "
            "PMG_VASP_PSP_DIR, in engines.vasp.pseudopotentials of the machine profile"
        )

    def _potcars(self) -> dict[str, Potcar]:
        chosen, folder = release(self.settings), self._folder()
        return {
            element: read_potcar(potcar_path(folder, chosen, symbol))
            for element, symbol in sorted(self.settings.user_potcar_settings.items())
        }

    def _refuse_lacking(self, elements: frozenset[str]) -> None:
        lacking = sorted(elements - self.elements())
        if not lacking:
            return
        usual = set_potcars(self.settings)
        advised = ", ".join(f"{each}: {usual.get(each, each)}" for each in lacking)
        raise ConfigurationError(
            f"the engine vasp has no POTCAR for {', '.join(lacking)}; name one for each in "
            f"engine.user_potcar_settings, e.g. {advised}"
        )

    def _refuse_mixtures(self, found: Mapping[str, Potcar]) -> None:
        for element, item in found.items():
            if item.element != element:
                raise ConfigurationError(
                    f"engine.user_potcar_settings.{element}: {item.path} is made for "
                    f"{item.element}; name one for {element}"
                )
        if len({item.functional for item in found.values()}) > 1:
            listed = ", ".join(f"{name} ({item.functional})" for name, item in found.items())
            raise ConfigurationError(
                f"engine.user_potcar_settings mixes functionals: {listed}; choose POTCARs of one"
            )

    def _doubts_of_potcars(self, found: Mapping[str, Potcar]) -> Iterator[str]:
        usual = set_potcars(self.settings)
        for element, symbol in sorted(self.settings.user_potcar_settings.items()):
            if element in usual and usual[element] != symbol:
                yield (
                    f"{self.settings.input_set} takes {usual[element]} for {element}, and "
                    f"engine.user_potcar_settings {symbol}: energies are not those of that set"
                )
        cutoff = set_incar(self.settings).get("ENCUT")
        for element, item in found.items():
            if isinstance(cutoff, int | float) and cutoff < item.enmax:
                yield f"ENCUT {cutoff:g} eV is below the {item.enmax:g} eV of {element}'s POTCAR"
        largest = max((item.enmax for item in found.values()), default=0.0)
        if isinstance(cutoff, int | float) and largest <= cutoff < 1.3 * largest:
            yield (
                f"ENCUT {cutoff:g} eV is less than 1.3 times the largest ENMAX ({largest:g} eV): "
                "the stress of cells that relax will have Pulay errors"
            )

    def _doubts_of_incar(self, found: Mapping[str, Potcar]) -> Iterator[str]:
        incar = set_incar(self.settings)
        metals = sorted(each for each in found if Element(each).is_metal)
        if incar.get("ISMEAR", 1) < -1 and metals:
            yield (
                f"ISMEAR {incar['ISMEAR']} (tetrahedra): in metals, which phases of "
                f"{', '.join(metals)} may be, forces and stress are then not the derivatives of "
                "the energy; for relaxations set ISMEAR: 1 and SIGMA: 0.1"
            )
        if self.plus_u:
            yield (
                f"+U acts on {', '.join(sorted(plus_u_elements(self.settings)))} in some of the "
                "compounds or all: energies with and without it stand on no common hull"
            )


@lru_cache(maxsize=8)
def _version_of(command: str) -> str:
    words = shlex.split(command)
    if not words or shutil.which(words[0]) is None:
        raise ConfigurationError(
            f"the program {words[0] if words else command!r} is not found; set "
            "engines.vasp.command and launcher in the machine profile to what runs VASP"
        )
    with tempfile.TemporaryDirectory() as folder:
        # VASP prints its version once it has found an INCAR, and ends for want of the rest.
        (Path(folder) / "INCAR").write_text("SYSTEM = version\n")
        said = asked(words, directory=folder)
        text = said.stdout + text_of(Path(folder) / "OUTCAR")
    match = re.search(r"\bvasp\.(\d+\.\d+(?:\.\d+)*)", text)
    if match is None:
        raise ConfigurationError(
            f"{command} does not answer as VASP does, but with {(said.stderr or text)[-200:]!r}; "
            "set engines.vasp.command in the machine profile, or its version where VASP runs in "
            "jobs alone"
        )
    return match.group(1)
