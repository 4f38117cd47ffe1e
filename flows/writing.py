"""Files for people, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from leadline.tasks.writing import written_whole

READABLE = 0o644
"""Mode of what others may read, too; a temporary file is its owner's alone."""


def write_whole(path: Path, text: str) -> None:
    """Write a text, or leave what was there.

    Raises
    ------
    WriteError
        If the disk or the folder does not take it.
    """
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(READABLE)
