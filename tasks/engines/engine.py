"""The contract of an engine: what computes energies. One DFT code a file.

A worker imports this module: neither prefect nor mongoengine nor torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import BaseModel, ConfigDict

from leadline.tasks.calculation import Failure


class EngineSettings(BaseModel):
    """Settings of an engine as a campaign file gives them; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSite(BaseModel):
    """What a machine profile says about one engine; no campaign file can set it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str | None = None
    """Program to run, e.g. ``pw.x``; None takes the engine's default from PATH."""
    launcher: str = ""
    """Put before the command, e.g. ``mpirun -np {ranks}``; empty runs it serially."""
    ranks: int = 1
    threads: int = 1
    pseudopotentials: Path | None = None
    """Folder of pseudopotentials."""


class Engine(Protocol):
    """One way to compute a structure.

    The fingerprint is a hash of all settings but ``layout_keys`` and
    ``path_keys``, plus pseudopotentials by content, plus the code's name and
    major version: a forgotten key splits labels, and never mixes them.
    """

    name: ClassVar[str]
    layout_keys: ClassVar[frozenset[str]]
    """Settings that change where and how fast it runs alone."""
    path_keys: ClassVar[frozenset[str]]
    """Settings that change how the answer is reached and not what it is."""
    settings: EngineSettings
    site: EngineSite

    def __init__(self, settings: Mapping[str, Any], site: EngineSite) -> None: ...

    def elements(self) -> frozenset[str] | None:
        """Return the elements it can compute, or None for all."""

    def version(self) -> str:
        """Return the code's version; ConfigurationError if it cannot be run."""

    def fingerprint(self) -> str:
        """Return the hash that must agree for two labels to stand on one hull."""

    def check(self, elements: frozenset[str]) -> list[str]:
        """Return what a person should know before the first calculation.

        Raises ConfigurationError where nothing can run: no binary, no
        pseudopotential, an element it lacks.
        """

    def calculator(self, atoms: Atoms, directory: Path) -> Calculator:
        """Return an ASE calculator that works in ``directory``."""

    def classify(self, error: BaseException | None, directory: Path) -> Failure:
        """Say why a calculation in ``directory`` failed, in the engine's own words."""

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        """Return path keys to change for the next attempt, or None to give up."""
