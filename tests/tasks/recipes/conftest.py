from __future__ import annotations

from pathlib import Path

import pytest
from ase.calculators.emt import EMT

from leadline.tasks.recipes.recipe import Instrument


@pytest.fixture
def emt(tmp_path: Path) -> Instrument:
    """Effective medium theory as a recipe uses it."""
    return Instrument(lambda _: EMT(), tmp_path)
