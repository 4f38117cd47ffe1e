"""What the fuzzing of every room shares."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all the cases of a module."""
    return tmp_path_factory.mktemp("fuzz")
