"""Pseudopotential files that a campaign file names, one for each element: what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from leadline.tasks.engines.upf import Pseudopotential
from leadline.tasks.errors import ConfigurationError


def _plain_names(files: dict[str, str]) -> dict[str, str]:
    for element, name in files.items():
        if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
            raise ValueError(f"{element} must name a file, without a folder; got {name!r}")
    return files


PotentialFiles = Annotated[dict[str, str], AfterValidator(_plain_names)]
"""File name for each element, in the folder that the machine profile names."""


def refuse_lacking(engine: str, lacking: Iterable[str], folder: Path) -> None:
    """Raise ConfigurationError for elements without a file; it lists those at hand."""
    missing = sorted(lacking)
    if missing:
        raise ConfigurationError(
            f"the engine {engine} has no pseudopotential for {', '.join(missing)}; name a file "
            f"for each in engine.pseudopotentials; those in {folder}: "
            f"{', '.join(_files_for(folder, missing)) or 'none for them'}"
        )


def refuse_missing(engine: str, folder: Path, files: Mapping[str, str], variable: str) -> None:
    """Raise ConfigurationError for files that are not in their folder; it names them all.

    ``variable`` is the one of the environment that may name the folder.
    """
    missing = {each: name for each, name in sorted(files.items()) if not (folder / name).is_file()}
    if not missing:
        return
    keys = " and ".join(f"engine.pseudopotentials.{element}" for element in missing)
    names = " or ".join(missing.values())
    found = f"no file {names} in {folder}" if folder.is_dir() else f"no folder {folder} for {names}"
    at_hand = ", ".join(_files_for(folder, list(missing)))
    raise ConfigurationError(
        f"{keys}: there is {found}; name the folder that holds them in engines.{engine}."
        f"pseudopotentials of the machine profile or in {variable}"
        + (f", or choose: {at_hand}" if at_hand else "; none for these elements is there")
    )


def refuse_mixtures(found: Mapping[str, Pseudopotential], checked: bool = True) -> None:
    """Raise ConfigurationError for files of another element, or of several functionals.

    Functionals are not ``checked`` where a setting names the one that is used.
    """
    for element, item in found.items():
        if item.element != element:
            raise ConfigurationError(
                f"engine.pseudopotentials.{element}: {item.path.name} is made for "
                f"{item.element}; name a file for {element}"
            )
    kinds = {item.functional for item in found.values()}
    if checked and len(kinds) > 1:
        listed = ", ".join(f"{item.path.name} ({item.functional})" for item in found.values())
        raise ConfigurationError(
            f"engine.pseudopotentials mixes functionals: {listed}; choose files of one functional"
        )


def _files_for(folder: Path, elements: list[str]) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if _symbols_in(path.name) & set(elements))


def _symbols_in(name: str) -> set[str]:
    """Return the symbols that a file name may start with: ``Si.UPF``, ``14_Si_4.psp8``."""
    return {word for word in re.split(r"[._-]", name)[:2] if word}
