"""Sources of candidates by the name that a campaign file gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from leadline.tasks.candidates.source import Source, SourceSettings
from leadline.tasks.settings import validated
from leadline.tasks.tables import named

SOURCES = {
    "orderings": "leadline.tasks.candidates.orderings:OrderingsSource",
    "prototypes": "leadline.tasks.candidates.prototypes:PrototypesSource",
    "files": "leadline.tasks.candidates.files:FilesSource",
    "dataset": "leadline.tasks.candidates.dataset:DatasetSource",
}


def source(name: str, settings: Mapping[str, Any], base: Path) -> Source:
    """Return the source called ``name``.

    Parameters
    ----------
    name
        A key of ``SOURCES``, or an entry point in the group ``leadline.candidates``.
    settings
        What the campaign file says beside the name.
    base
        Folder at which relative paths start: the campaign file's own.

    Raises
    ------
    SpecError
        If no source has that name, or a setting is refused.
    CandidateError
        If a file that the settings name is not there or cannot be read.
    """
    return _named(name)(settings, base)


def source_settings(name: str, settings: Mapping[str, Any]) -> SourceSettings:
    """Return the settings of the source called ``name``, checked; no file is opened.

    Raises
    ------
    SpecError
        If no source has that name, or a setting is refused.
    """
    return validated(_named(name).Settings, settings, "candidates")


def _named(name: str) -> type[Source]:
    return cast(type[Source], named("candidates.source", name, SOURCES, "leadline.candidates"))
