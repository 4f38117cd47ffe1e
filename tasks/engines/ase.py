"""Any calculator of ASE by the name it is registered with, and some that come by pip."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import ase
from ase import Atoms
from ase.calculators.calculator import (
    BadConfiguration,
    BaseCalculator,
    Calculator,
    CalculatorSetupError,
    FileIOCalculator,
    SCFError,
    all_changes,
    get_calculator_class,
)
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.calculators.names import builtin, names
from ase.config import cfg
from pydantic import Field, JsonValue, field_validator

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.engine import Engine, EngineSettings
from leadline.tasks.engines.program import command_line
from leadline.tasks.engines.program_end import by_error, plain
from leadline.tasks.errors import ConfigurationError

PACKAGES = {"tblite": ("tblite.ase", "TBLite")}
"""Calculators that ASE does not know: name, which is the package's, to module and class."""
OWN_ENGINES = frozenset({"abinit", "cp2k", "emt", "espresso", "gpaw", "vasp"})
"""They have engines that know when they fail."""
REFUSED = {
    "lammpslib": "its settings are commands",
    "lammpsrun": "its settings are commands",
    "plumed": "its settings are commands",
    "eam": "its settings are files",
    "tersoff": "its settings are files",
}
MACHINE_KEY = re.compile(
    r"(^|_)(command|cmds?|paths?|dir|directory|folder|files?|filename|exe|executable|binary|script"
    r"|label|prefix|profile|restart|atoms|txt|log|logfile|out|url|host|port|python)(_|$)"
)
"""Settings that name something of the machine, or of the run."""
PROPERTIES = ("energy", "free_energy", "forces", "stress")


class UnconvergedError(Exception):
    """A calculator says of itself that it did not converge."""


class AseSettings(EngineSettings):
    """Settings of ``ase``."""

    calculator: str
    """Name of the calculator, e.g. ``lj``, ``morse``, ``tblite``."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """Its settings, as ASE's documentation names them; units of ASE."""
    layout_keys: tuple[str, ...] = ()
    """Those of its settings that change where and how fast it runs alone."""
    path_keys: tuple[str, ...] = ()
    """Those that change how the answer is reached and not what it is."""

    @field_validator("calculator")
    @classmethod
    def _known(cls, name: str) -> str:
        known = sorted({*names, *PACKAGES} - OWN_ENGINES - REFUSED.keys())
        if name in OWN_ENGINES:
            raise ValueError(f"{name!r} has an engine of its own; write engine.name: {name}")
        if name in REFUSED:
            raise ValueError(f"{name!r} is refused: {REFUSED[name]}; allowed: {', '.join(known)}")
        if name not in known:
            raise ValueError(f"no calculator is called {name!r}; allowed: {', '.join(known)}")
        return name

    @field_validator("parameters")
    @classmethod
    def _harmless(cls, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key, value in parameters.items():
            if not re.fullmatch(r"[A-Za-z]\w*", key):
                raise ValueError(f"{key!r} is no name of a setting")
            if MACHINE_KEY.search(key.lower()):
                raise ValueError(
                    f"{key} names a command, a file or a folder; those belong to engines.ase of "
                    "the machine profile, and files of a run have their places"
                )
            _refuse_value(key, value)
        return parameters


class AseEngine(Engine):
    """A calculator of ASE.

    The energy is the free energy where the calculator tells it: forces and stress
    are its derivatives.
    """

    name: ClassVar[str] = "ase"
    layout_keys: ClassVar[frozenset[str]] = frozenset({"layout_keys", "path_keys"})
    Settings: ClassVar[type[AseSettings]] = AseSettings
    settings: AseSettings

    def physics(self) -> Mapping[str, Any]:
        """Return the calculator and those of its settings that are neither layout nor path."""
        hidden = {*self.settings.layout_keys, *self.settings.path_keys}
        shown = {key: value for key, value in self.settings.parameters.items() if key not in hidden}
        return {"calculator": self.settings.calculator, "parameters": shown}

    def version(self) -> str:
        """Return the version of the package that computes; of a program, what the profile says."""
        if self.settings.calculator in PACKAGES:
            return _package_version(self.settings.calculator)
        if self.settings.calculator in builtin:
            return str(ase.__version__)
        if self.site.version is None:
            raise ConfigurationError(
                f"ASE does not tell the version of the program behind {self.settings.calculator}; "
                "name it as engines.ase.version in the machine profile"
            )
        return self.site.version

    def check(self, elements: frozenset[str]) -> list[str]:
        """Make the calculator once, and say what leadline does not know of it."""
        self.version()
        self._refuse_unknown()
        if self.settings.calculator in builtin:
            return []
        return [
            f"leadline does not know how {self.settings.calculator} says that it did not converge: "
            "look at the first results yourself"
        ]

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return the calculator, working in ``directory``."""
        self._refuse_unknown()
        kind = self._class
        keywords: dict[str, Any] = dict(self.settings.parameters)
        if issubclass(kind, FileIOCalculator | GenericFileIOCalculator) or (
            "directory" in inspect.signature(kind.__init__).parameters
        ):
            directory.mkdir(parents=True, exist_ok=True)
            keywords["directory"] = str(directory)
        if self.site.command and issubclass(kind, FileIOCalculator):
            keywords["command"] = command_line(self.site, self.site.command)
        if self.site.command and issubclass(kind, GenericFileIOCalculator):
            # Where ASE looks for what it runs; this process computes one structure and ends.
            cfg.parser[self.settings.calculator] = {
                "command": command_line(self.site, self.site.command)
            }
        try:
            return ForceConsistent(kind(**keywords))
        except Exception as error:
            raise ConfigurationError(
                f"the calculator {self.settings.calculator} of ASE does not take engine.parameters "
                f"or what the machine profile says in engines.ase: {type(error).__name__}: {error}"
            ) from error

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Tell by the class of ASE's exceptions, and by their words."""
        if unstarted := by_error(error, self.name):
            return unstarted
        words = plain(f"{type(error).__name__}: {error}")
        if isinstance(error, CalculatorSetupError | BadConfiguration | ImportError):
            return Failure(FailureKind.CONFIGURATION, "bad-input", words)
        scf = isinstance(error, SCFError | UnconvergedError) or "converge" in words.lower()
        return Failure(
            FailureKind.PHYSICS, "scf-not-converged" if scf else "calculation-failed", words
        )

    @cached_property
    def _class(self) -> type[Any]:
        name = self.settings.calculator
        try:
            if name in PACKAGES:
                module, attribute = PACKAGES[name]
                found: type[Any] = getattr(import_module(module), attribute)
                return found
            kind: type[Any] = get_calculator_class(name)
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(
                f"the calculator {name} cannot be loaded: {error}; install its package"
            ) from error
        return kind

    def _refuse_unknown(self) -> None:
        """Refuse settings that the calculator does not have, where it says which it has."""
        allowed = set(getattr(self._class, "default_parameters", {}))
        unknown = sorted(set(self.settings.parameters) - allowed)
        plain_python = self.settings.calculator in {*builtin, *PACKAGES}
        if plain_python and allowed and unknown:
            raise ConfigurationError(
                f"engine.parameters: {self.settings.calculator} has no {', '.join(unknown)}; "
                f"allowed are {', '.join(sorted(allowed))}"
            )


class ForceConsistent(Calculator):
    """Asks another calculator, and takes its free energy for the energy."""

    atoms: Atoms

    def __init__(self, inner: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE's
        self.inner = inner
        self.implemented_properties = [
            name for name in PROPERTIES if name in inner.implemented_properties
        ]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = PROPERTIES,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute all that the calculator knows.

        Raises
        ------
        UnconvergedError
            If the calculator says of itself that it did not converge.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]  # ASE's
        found = {
            name: self.inner.get_property(name, self.atoms) for name in self.implemented_properties
        }
        if getattr(self.inner, "converged", None) is False:
            raise UnconvergedError(f"{type(self.inner).__name__} did not converge")
        self.results = {**found, "energy": found.get("free_energy", found["energy"])}


def _refuse_value(key: str, value: JsonValue) -> None:
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            _refuse_value(f"{key}.{inner_key}", inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_value(key, inner)
    elif isinstance(value, str) and not re.fullmatch(r"[\w .,:;+*()=-]*", value):
        raise ValueError(f"{key} holds characters of a path or a command: {value!r}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key} is not finite")


def _package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        raise ConfigurationError(
            f"the package {name} is not installed; install it with pip install {name}"
        ) from None
