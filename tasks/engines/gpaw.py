"""GPAW in plane-wave mode, run by a Python that has it: this one or another."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.engine import Engine, Knob, PhysicsRemedy
from leadline.tasks.engines.gpaw_settings import GpawSettings
from leadline.tasks.engines.ladder import rung
from leadline.tasks.engines.moments import starting_moments
from leadline.tasks.engines.program import (
    BrokenOutputError,
    asked,
    command_line,
    run_program,
)
from leadline.tasks.engines.program_end import (
    PHRASES,
    by_error,
    by_exit,
    line_with,
    plain,
    tail,
    text_of,
)
from leadline.tasks.engines.single_point import BANDS, SinglePoints
from leadline.tasks.engines.wider_smearing import wider_smearing
from leadline.tasks.errors import ConfigurationError

SCRIPT = "gpaw_run.py"
OUTPUT = "gpaw.out"
ERRORS = "gpaw.err"
ANSWER = "answer.json"
WIDEST = 0.4
"""eV, to which the smearing is widened."""
ASK = "import gpaw, json; print(json.dumps([gpaw.__version__, *map(str, gpaw.setup_paths)]))"
RESULTS = frozenset({"energy", "forces", "stress", *BANDS})
"""What of an answer goes to the calculator's results."""
EMPTY_BANDS, LOOSE_BANDS = 8, 4
"""For a gap; and how many of the uppermost, which converge slowly, need not be converged."""

ERROR_KINDS = (
    ("ConvergenceError", FailureKind.PHYSICS, "scf-not-converged"),
    ("AtomsTooClose", FailureKind.PHYSICS, "atoms-overlap"),
    ("LinAlgError", FailureKind.PHYSICS, "diagonalization"),
    ("SymmetryBrokenError", FailureKind.PHYSICS, "symmetry"),
    ("MemoryError", FailureKind.REMOTE, "out-of-memory"),
    ("FileNotFoundError", FailureKind.CONFIGURATION, "no-setup"),
    ("ImportError", FailureKind.CONFIGURATION, "not-installed"),
    ("NameError", FailureKind.CONFIGURATION, "bad-input"),
    ("NotImplementedError", FailureKind.CONFIGURATION, "bad-input"),
    ("BadParallelization", FailureKind.CONFIGURATION, "launcher"),
)
"""Classes of GPAW's exceptions and of those above them; another one is physics."""


class GpawEngine(Engine):
    """Plane-wave PAW calculations by GPAW, one process a single point.

    A process of its own lets it run under MPI and in another environment than
    leadline's, and a new calculator at each step knows no symmetry of the step
    before. The energy is the free energy, whose derivatives forces and stress are.
    """

    name: ClassVar[str] = "gpaw"
    path_keys: ClassVar[frozenset[str]] = frozenset(
        {"maxiter", "eigensolver", "bands", "symmetry"}
        | {"mixing_beta", "mixing_history", "mixing_weight"}
    )
    bands: ClassVar[bool] = True
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("cutoff", "eV", "cutoff"),
        Knob("kspacing", "1/Å", "mesh"),
    )
    Settings: ClassVar[type[GpawSettings]] = GpawSettings
    settings: GpawSettings

    @property
    def magnetic(self) -> bool:
        """True with ``spinpol: true``."""
        return self.settings.spinpol

    @property
    def plus_u(self) -> bool:
        """True if a data set is named with a U."""
        return any(":" in name for name in self.settings.setups.values())

    def elements(self) -> frozenset[str]:
        """Return the elements that have a PAW data set for the functional."""
        return frozenset(path.name.split(".")[0] for path in self._datasets())

    def version(self) -> str:
        """Return the version of the GPAW that runs, or what the profile says."""
        return self.site.version or _installation(self.site.command)[0]

    def content(self) -> Mapping[str, str]:
        """Return one hash of all PAW data sets of the functional."""
        return {"setups": _hash(self._datasets())}

    def check(self, elements: frozenset[str]) -> list[str]:
        """Look for GPAW and its data sets."""
        self.version()
        lacking = sorted(elements - self.elements())
        if lacking:
            raise ConfigurationError(
                f"the engine gpaw has no PAW data set for {', '.join(lacking)} in "
                f"{', '.join(map(str, self._folders()))}; put one there, name another folder in "
                "engines.gpaw.pseudopotentials of the machine profile, or leave the element out"
            )
        if self.magnetic and not self.settings.initial_moments:
            return [
                "spinpol is true and no initial_moments are given: structures without moments of "
                "their own will come out non-magnetic"
            ]
        return []

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator; the k-mesh is that of ``atoms`` now, and stays."""
        return self._calculator(atoms, directory, self.settings.parameters())

    def band_calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator that converges the lowest empty bands, too.

        By itself GPAW converges what is occupied alone.
        """
        parameters = self.settings.parameters()
        converged = {**parameters["convergence"], "bands": -LOOSE_BANDS}
        asked = {"nbands": -EMPTY_BANDS, "convergence": converged}
        return self._calculator(atoms, directory, parameters | asked, bands=True)

    def _calculator(
        self, atoms: Atoms, directory: Path, settings: Mapping[str, Any], *, bands: bool = False
    ) -> BaseCalculator:
        parameters: dict[str, Any] = dict(settings) | {
            "kpts": {"size": self.settings.mesh(atoms), "gamma": True}
        }
        if atoms.info.get("charge"):
            parameters["charge"] = float(atoms.info["charge"])
        start = self.settings.initial_moments if self.magnetic else None
        moments = starting_moments(atoms, start, "spinpol", "true")
        asked = {"parameters": parameters, "bands": bands}
        return SinglePoints(partial(self._run, directory, asked, moments))

    def observed(self, directory: Path) -> Mapping[str, float]:
        """Return the magnetisation (μB of the cell) and the SCF iterations of the last run."""
        numbers: dict[str, float] = _answer(directory)["numbers"]
        return numbers if self.magnetic else {"scf_iterations": numbers["scf_iterations"]}

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Read the exception that GPAW left, its words, and the exit code."""
        if missing := by_error(error, self.name):
            return missing
        output, errors = text_of(directory / OUTPUT), text_of(directory / ERRORS)
        printed = output + errors
        for phrase, kind, reason in PHRASES:
            if phrase in printed:
                return Failure(kind, reason, line_with(phrase, printed))
        if isinstance(error, CalledProcessError):
            left = _answer(directory)
            if left.get("error"):
                return _by_kind(left)
            return by_exit("GPAW", error.returncode, output, errors)
        return Failure(FailureKind.REMOTE, "output-cut-short", f"{error}; {tail(printed)}")

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        """Climb from gentler mixing to a sturdier eigensolver, with more bands."""
        gentle = {"mixing_beta": 0.02, "mixing_weight": 100.0, "maxiter": 2 * self.settings.maxiter}
        sturdy = {"eigensolver": "davidson", "bands": "150%"}
        ladders: dict[str, list[dict[str, Any]]] = {
            "scf-not-converged": [gentle, gentle | sturdy, gentle | {"eigensolver": "ppcg"}],
            "diagonalization": [sturdy, {"eigensolver": "rmm-diis"}],
            "symmetry": [{"symmetry": False}],
            "engine-crashed": [sturdy],
            "not-finite": [gentle | sturdy],
            "absurd-energy": [gentle | sturdy],
        }
        return rung(ladders, failure, attempt)

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy | None:
        """Smear occupations twice as widely."""
        if (failure.kind, failure.reason) != (FailureKind.PHYSICS, "scf-not-converged"):
            return None
        return wider_smearing("width", self.settings.width, WIDEST, "eV")

    def _run(
        self,
        directory: Path,
        wanted: Mapping[str, Any],
        moments: list[float] | None,
        atoms: Atoms,
    ) -> Mapping[str, Any]:
        """Compute ``atoms`` in a process of its own; the answer's numbers.

        ``wanted`` are GPAW's ``parameters``, and ``bands``: whether to give eigenvalues.
        """
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ANSWER).unlink(missing_ok=True)
        (directory / SCRIPT).write_text(files(__package__).joinpath(SCRIPT).read_text())
        asked = {
            "atoms": {
                "numbers": atoms.numbers.tolist(),
                "cell": atoms.cell.array.tolist(),
                "positions": atoms.positions.tolist(),
                "magmoms": moments,
            },
            **wanted,
            "setup_paths": [str(folder) for folder in self._folders()],
        }
        (directory / "gpaw.json").write_text(json.dumps(asked))
        parallel = {"GPAW_MPI_BACKEND": "cgpaw" if self.site.launcher else "serial"}
        command = [*shlex.split(command_line(self.site, sys.executable)), SCRIPT]
        run_program(command, directory, OUTPUT, ERRORS, self.site.threads, parallel)
        answer = _answer(directory)
        if not {"energy", "forces", "stress", "numbers"} <= answer.keys():
            raise BrokenOutputError(f"{ANSWER} is not there, or lacks numbers")
        return {key: value for key, value in answer.items() if key in RESULTS}

    def _folders(self) -> list[Path]:
        if self.site.pseudopotentials:
            return [self.site.pseudopotentials]
        if self.site.version:
            raise ConfigurationError(
                "engines.gpaw of the machine profile names a version, so GPAW is not asked where "
                "its data sets are: name their folder there, as pseudopotentials"
            )
        return [Path(folder) for folder in _installation(self.site.command)[1:]]

    def _datasets(self) -> list[Path]:
        """Return the files of the functional; of all where none bears its name."""
        found = [path for folder in self._folders() for path in sorted(folder.glob("[A-Z]*.*"))]
        sets = [path for path in found if ".basis" not in path.name]
        named = [
            path for path in sets if path.name.removesuffix(".gz").endswith(f".{self.settings.xc}")
        ]
        return sets if self.settings.setups else named or sets


def _by_kind(left: Mapping[str, Any]) -> Failure:
    said = (left["error"][0], *filter(None, [plain(left["message"])]))
    for name, kind, reason in ERROR_KINDS:
        if name in left["error"]:
            return Failure(kind, reason, ": ".join(said))
    return Failure(FailureKind.PHYSICS, "engine-error", ": ".join(said))


def _answer(directory: Path) -> dict[str, Any]:
    """Return what the script left, or nothing where that is not whole."""
    try:
        left = json.loads((directory / ANSWER).read_text())
    except (OSError, ValueError):
        return {}
    return left if isinstance(left, dict) else {}


def _hash(paths: list[Path]) -> str:
    """Return one hash of names and contents."""
    contents = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
    return hashlib.sha256(json.dumps(sorted(contents)).encode()).hexdigest()


@lru_cache(maxsize=8)
def _installation(python: str | None) -> tuple[str, ...]:
    """Return the version of a Python's GPAW, and the folders of its data sets."""
    try:
        answer = asked(
            [*shlex.split(python or sys.executable), "-c", ASK],
            environment={"GPAW_MPI_BACKEND": "serial"},
        )
        answer.check_returncode()
        return tuple(json.loads(answer.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        said = tail(getattr(error, "stderr", None) or str(error), 1)
        raise ConfigurationError(
            f"{python or 'this Python'} has no GPAW that answers ({said}); install it with "
            "pip install 'leadline[gpaw]' (Debian: after libxc-dev, libopenblas-dev and, for MPI, "
            "libopenmpi-dev), or name a Python that has it as engines.gpaw.command in the machine "
            "profile"
        ) from error
