from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_disk import KB, SmallDisk, mounted


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of two megabytes."""
    with mounted(tmp_path / "disk", 2048 * KB) as small:
        yield small
