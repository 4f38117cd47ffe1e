"""Foundation potentials: networks trained on DFT, whose weights come in their wheels.

They are orders of magnitude cheaper than DFT and less true: to try a campaign out, or
where trends suffice. torch is loaded by the process that computes, when it computes:
it takes seconds, and its threads forbid to load it before that process is forked.
"""

from __future__ import annotations

import hashlib
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import chemical_symbols

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.engine import Engine, EngineSettings
from leadline.tasks.errors import ConfigurationError

TRAINED = frozenset(chemical_symbols[1:84] + chemical_symbols[89:95])
"""Elements of the Materials Project's trajectories: H to Bi, and Ac to Pu."""


class FoundationSettings(EngineSettings):
    """Settings of every foundation potential, beside the name of its model."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where it runs; a GPU pays for cells of hundreds of atoms."""


class FoundationPotential(Engine):
    """An engine that answers with a network in place of DFT, and says so."""

    layout_keys: ClassVar[frozenset[str]] = frozenset({"device"})
    package: ClassVar[str]
    """Name of the package that it comes with."""
    weights: ClassVar[Mapping[str, str]]
    """File of each model under the package's folder."""

    @property
    def model(self) -> str:
        """Name of the model, one of ``weights``."""
        return str(self.settings.model_dump()["model"])

    def elements(self) -> frozenset[str]:
        """Return the elements that the training data hold."""
        return TRAINED

    def version(self) -> str:
        """Return the package's version, and what it is."""
        try:
            return f"{version(self.package)} ({self.model}: a trained potential, no DFT)"
        except PackageNotFoundError as error:
            raise ConfigurationError(
                f"the engine {self.name} is not installed: pip install 'leadline[{self.name}]' "
                "brings it with its weights"
            ) from error

    def content(self) -> Mapping[str, str]:
        """Return the sha256 of the weights."""
        return {"weights": _sha256(self.checkpoint())}

    def checkpoint(self) -> Path:
        """Return the file of the weights; ConfigurationError if it is not installed."""
        self.version()
        found = find_spec(self.package)
        folder = Path(next(iter((found and found.submodule_search_locations) or [""])))
        path = folder / self.weights[self.model]
        if path.is_file():
            return path
        raise ConfigurationError(
            f"{self.package} has no weights {self.weights[self.model]}: another version of it is "
            f"installed than leadline knows; install leadline[{self.name}] anew"
        )

    def check(self, elements: frozenset[str]) -> list[str]:
        """Look for package and weights; say that this is no DFT."""
        self.checkpoint()
        self._refuse_lacking(elements)
        return [
            f"{self.name} is a trained potential and no DFT: its formation energies are off by "
            "tens of meV/atom, more for what its training data had few of; compute again with a "
            "DFT engine whatever matters"
        ]

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return the package's own calculator, with its network loaded."""
        path = self.checkpoint()
        self._refuse_lacking(frozenset(atoms.symbols))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch and e3nn about their own insides
            return self.load(path)

    def _refuse_lacking(self, elements: frozenset[str]) -> None:
        if lacking := sorted(elements - TRAINED):
            raise ConfigurationError(
                f"the engine {self.name} was not trained on {', '.join(lacking)}, but on H to Bi "
                "and Ac to Pu; choose among them, or another engine"
            )

    @abstractmethod
    def load(self, checkpoint: Path) -> BaseCalculator:
        """Return a calculator with the weights in ``checkpoint``."""

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Tell a machine that lacks something from a structure that the network fails on."""
        words = f"{type(error).__name__}: {error}"
        if isinstance(error, ImportError):
            return Failure(FailureKind.CONFIGURATION, "not-installed", words)
        if "CUDA" in str(error):
            return Failure(FailureKind.CONFIGURATION, "no-gpu", f"{words}; set engine.device: cpu")
        return Failure(FailureKind.PHYSICS, f"{self.name}-failed", words)


@lru_cache(maxsize=8)
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
