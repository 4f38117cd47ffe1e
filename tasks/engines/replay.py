"""Answers from a finished data set, as if they were computed: for backtests and tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pydantic import Field, model_validator

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.candidates.dataset import read_labels
from leadline.tasks.engines.engine import Engine, EngineSettings
from leadline.tasks.errors import CandidateError, ConfigurationError
from leadline.tasks.recipes.recipe import RecipeOutcome


class NoLabelError(Exception):
    """The data set holds no answer for a structure."""


class ReplaySettings(EngineSettings):
    """Settings of ``replay``."""

    path: Path
    """Extended xyz file, compressed or not, with labels in its info keys."""
    id_key: str = "id"
    """Info key that names each structure."""
    energy_key: str | None = None
    """Info key of the total energy of the cell, eV."""
    energy_per_atom_key: str | None = None
    """Info key of the energy in eV/atom, in place of ``energy_key``."""
    properties: dict[str, str] = Field(default_factory=dict)
    """Further properties: name to info key, numbers as they stand in the file."""

    @model_validator(mode="after")
    def _answers_something(self) -> ReplaySettings:
        if self.energy_key and self.energy_per_atom_key:
            raise ValueError("give energy_key or energy_per_atom_key, not both")
        if not (self.energy_key or self.energy_per_atom_key or self.properties):
            raise ValueError("needs energy_key, energy_per_atom_key or properties to answer with")
        return self


class ReplayEngine(Engine):
    """Answers with the labels of a data set, looked up by structure id."""

    name: ClassVar[str] = "replay"
    layout_keys: ClassVar[frozenset[str]] = frozenset({"path"})
    Settings: ClassVar[type[ReplaySettings]] = ReplaySettings
    settings: ReplaySettings

    def version(self) -> str:
        """Return the version of this way to look up."""
        return "1"

    def content(self) -> Mapping[str, str]:
        """Return the sha256 of the data set."""
        return {"path": hashlib.sha256(self._file().read_bytes()).hexdigest()}

    def check(self, elements: frozenset[str]) -> list[str]:
        """Refuse a file that is not there or has none of the labels."""
        return [f"{self.settings.path} answers for {len(self._labels)} structures"]

    def answer(self, structure_id: str, atoms: Atoms) -> RecipeOutcome:
        """Return the labels of ``structure_id``.

        Raises
        ------
        NoLabelError
            If the data set does not hold that structure.
        """
        labels = self._labels.get(structure_id)
        if labels is None:
            raise NoLabelError(
                f"{self.settings.path} holds no answer for structure {structure_id[:12]} "
                f"({atoms.get_chemical_formula()}); candidates must come from the same file"
            )
        missing = [key for key in self._keys if key not in labels]
        if missing:
            raise NoLabelError(f"{structure_id[:12]} has no finite {', '.join(missing)}")
        return self._outcome(labels, atoms)

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Refuse: nothing is computed here."""
        raise ConfigurationError("the engine replay answers from a data set and computes nothing")

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Call a missing label physics: the search goes on without it."""
        return Failure(FailureKind.PHYSICS, "no-label", str(error))

    def _outcome(self, labels: Mapping[str, float], atoms: Atoms) -> RecipeOutcome:
        chosen = self.settings
        energy = labels[chosen.energy_key] if chosen.energy_key else None
        if chosen.energy_per_atom_key:
            energy = labels[chosen.energy_per_atom_key] * len(atoms)
        numbers = {name: labels[key] for name, key in chosen.properties.items()}
        if energy is not None:
            numbers["energy_per_atom"] = energy / len(atoms)
        return RecipeOutcome(energy=energy, atoms=atoms, properties=numbers)

    @property
    def _keys(self) -> list[str]:
        chosen = self.settings
        keys = [chosen.energy_key, chosen.energy_per_atom_key, *chosen.properties.values()]
        return [key for key in keys if key]

    @cached_property
    def _labels(self) -> Mapping[str, Mapping[str, float]]:
        try:
            return read_labels(self._file(), self.settings.id_key, self._keys)
        except CandidateError as error:
            raise ConfigurationError(f"engine.path: {error}") from error

    def _file(self) -> Path:
        if not self.settings.path.is_file():
            raise ConfigurationError(
                f"engine.path: there is no file {self.settings.path}; "
                "name the extended xyz file that holds the answers"
            )
        return self.settings.path
