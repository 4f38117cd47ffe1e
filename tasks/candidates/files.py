"""Structures that people already have, in files."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from leadline.surrogate.candidate import Candidate, Geometry
from leadline.tasks.candidates.readers import FORMATS, Unreadable, file_format, read_frames
from leadline.tasks.candidates.source import Drops, Source, SourceSettings, make_candidate
from leadline.tasks.errors import CandidateError
from leadline.tasks.settings import validated


class FilesSettings(SourceSettings):
    """Settings of ``files``."""

    paths: tuple[str, ...] = Field(
        min_length=1, description="files, folders (searched to the bottom) and globs"
    )
    geometry: Geometry = Field(
        description="ideal: made without a calculation; relaxed: by one, so that volume and "
        "displacements must not be shown to the model"
    )


class FilesSource(Source):
    """Every structure of every file, in the order of the paths given, then of names."""

    name: ClassVar[str] = "files"
    Settings: ClassVar[type[SourceSettings]] = FilesSettings
    distinct: ClassVar[bool] = False
    settings: FilesSettings

    def __init__(self, settings: Mapping[str, Any], base: Path) -> None:
        self.settings = validated(FilesSettings, settings, "candidates.files")
        self.drops = Drops()
        self.base = base
        self.files = [path for text in self.settings.paths for path in self._matching(text)]

    @property
    def geometry(self) -> Geometry:
        """What the settings declare."""
        return self.settings.geometry

    def generate(self, rng: np.random.Generator) -> Iterator[Candidate]:
        """Yield the structures; what cannot be read is counted. ``rng`` is not used."""
        self.drops = Drops()
        for path in dict.fromkeys(self.files):
            for number, frame in enumerate(read_frames(path)):
                if isinstance(frame, Unreadable):
                    self.drops.add(frame.reason, str(frame))
                    continue
                provenance = {"source": self.name, "file": self._shown(path), "number": number}
                yield make_candidate(frame[0], provenance, self.geometry)

    def _matching(self, text: str) -> list[Path]:
        path = self.base / Path(text).expanduser()
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and file_format(p))
        elif glob.has_magic(text):
            found = sorted(Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207
            found = [p for p in found if p.is_file()]
        else:
            found = [path] if path.is_file() else []
        if not found:
            raise CandidateError(
                f"candidates.files.paths: nothing is found at {text!r} (from {self.base}); known "
                f"formats are {', '.join(FORMATS)} and POSCAR, with or without .gz, .bz2 or .xz"
            )
        return found

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.base)) if path.is_relative_to(self.base) else str(path)
