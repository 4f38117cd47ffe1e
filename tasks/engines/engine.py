"""The contract of an engine: what computes energies. One DFT code a file.

A worker imports this module: neither prefect nor mongoengine nor torch here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pydantic import BaseModel, ConfigDict

from leadline.tasks.calculation import Failure
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.recipes.recipe import RecipeOutcome
from leadline.tasks.settings import validated

SHARE = 0.95
"""Of the time that is left, what a code may take that can stop by itself."""


class EngineSettings(BaseModel):
    """Settings of an engine as a campaign file gives them; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class EngineSite(BaseModel):
    """What a machine profile says about one engine; no campaign file can set it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    command: str | None = None
    """Program to run, e.g. ``pw.x``; None takes the engine's default from PATH."""
    launcher: str = ""
    """Put before the command, e.g. ``mpirun -np {ranks}``; empty runs it serially."""
    ranks: int = 1
    """MPI processes of one calculation; what ``{ranks}`` in the launcher becomes."""
    threads: int = 1
    """OpenMP threads of each process."""
    pseudopotentials: Path | None = None
    """Folder of pseudopotentials."""
    version: str | None = None
    """Version of the code, for machines where it runs in jobs alone and can't be asked."""


@dataclass(frozen=True)
class Knob:
    """A setting that an answer converges with.

    Parameters
    ----------
    name, unit
        The setting, a dot between the keys of one in another, and its unit.
    kind
        ``cutoff``: larger is finer; ``mesh``: a spacing of k-points in 1/Å with
        the factor 2π, smaller is finer.
    factor
        From one cutoff to the next finer one.
    along
        Settings that grow with it where they are given.
    """

    name: str
    unit: str
    kind: Literal["cutoff", "mesh"]
    factor: float = 1.25
    along: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The last key of the name."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class PhysicsRemedy:
    """Settings with which a structure may converge, as another calculation.

    Parameters
    ----------
    changes
        Settings that differ, one of them at least no path key: the fingerprint changes.
    why
        What they do, and why that may help, for people.
    """

    changes: Mapping[str, Any]
    why: str


class Engine(Protocol):
    """One way to compute a structure. Subclass it: what has a body here is shared.

    The fingerprint is a hash of all settings but ``layout_keys`` and
    ``path_keys``, plus the files behind them by content, plus the code's name and
    major version: a forgotten key splits labels, and never mixes them.
    """

    name: ClassVar[str]
    layout_keys: ClassVar[frozenset[str]] = frozenset()
    """Settings that change where and how fast it runs alone."""
    path_keys: ClassVar[frozenset[str]] = frozenset()
    """Settings that change how the answer is reached and not what it is."""
    scratch: ClassVar[tuple[str, ...]] = ()
    """Folders and files under the working directory that are never kept."""
    bands: ClassVar[bool] = False
    """True if it gives eigenvalues: then it has a ``band_calculator``."""
    knobs: ClassVar[tuple[Knob, ...]] = ()
    """Settings that `leadline converge` finds values for, in this order."""
    Settings: ClassVar[type[EngineSettings]]
    settings: EngineSettings
    site: EngineSite
    deadline: float | None
    """When whatever it runs will be ended, by ``time.monotonic()``; None is never."""

    def __init__(self, settings: Mapping[str, Any], site: EngineSite) -> None:
        """Check ``settings``; SpecError where one is refused."""
        self.settings = validated(self.Settings, settings, "engine")
        self.site = site
        self.deadline = None

    @property
    def magnetic(self) -> bool:
        """True if initial moments matter to it."""
        return False

    @property
    def plus_u(self) -> bool:
        """True if a Hubbard U acts in some structures: a hull then needs given references."""
        return False

    def elements(self) -> frozenset[str] | None:
        """Return the elements it can compute, or None for all."""
        return None

    def valence(self, element: str) -> float | None:
        """Return the electrons that it treats of an atom, or None where it counts none."""
        return None

    def version(self) -> str:
        """Return the code's version; ConfigurationError if it cannot be run."""

    def content(self) -> Mapping[str, str]:
        """Return what its files are, by sha256: pseudopotentials, data sets."""
        return {}

    def physics(self) -> Mapping[str, Any]:
        """Return the settings that decide an answer, as JSON values."""
        hidden = set(self.layout_keys | self.path_keys)
        return self.settings.model_dump(mode="json", exclude=hidden)

    def fingerprint(self) -> str:
        """Return the hash that must agree for two labels to stand on one hull."""
        physics = {
            "code": self.name,
            "major": self.version().split(".")[0],
            "settings": dict(self.physics()),
            "content": dict(self.content()),
        }
        return hashlib.sha256(json.dumps(physics, sort_keys=True).encode()).hexdigest()

    def check(self, elements: frozenset[str]) -> list[str]:
        """Return what a person should know before the first calculation.

        Raises ConfigurationError where nothing can run: no binary, no
        pseudopotential, an element it lacks.
        """

    def answer(self, structure_id: str, atoms: Atoms) -> RecipeOutcome | None:
        """Return an answer that needs no calculation, or None where one is needed."""
        return None

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return an ASE calculator that works in ``directory``."""

    def band_calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator as above, with empty bands.

        Its results hold ``eigenvalues`` (eV, float[spins, k-points, bands]) and
        ``fermi_level`` (eV) beside energy and forces.
        """
        raise ConfigurationError(
            f"the engine {self.name} gives no eigenvalues, which the recipe asked for needs; "
            "choose another recipe or engine"
        )

    def seconds_for_a_run(self, own: float | None = None) -> float | None:
        """Return after how long a run that begins now is to stop by itself, or None.

        That is ``SHARE`` of the time until the deadline, so that a code can end
        cleanly before it is ended; ``own``, the limit of the settings, if less.
        """
        if self.deadline is None:
            return own
        left = max(SHARE * (self.deadline - time.monotonic()), 1.0)
        return left if own is None else min(own, left)

    def observed(self, directory: Path) -> Mapping[str, float]:
        """Return further finite numbers from the files of a finished calculation."""
        return {}

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Say why a calculation in ``directory`` failed, in the engine's own words."""

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        """Return path keys to change for the next attempt, or None to give up.

        ``attempt`` counts the attempts that failed by physics, this one included.
        """
        return None

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy | None:
        """Return what may help where ``remedies`` has given up, or None.

        It is asked about the last failure of a structure. What it names is never a
        further attempt: the campaign's spec says whether it is computed, and counts.
        """
        return None
