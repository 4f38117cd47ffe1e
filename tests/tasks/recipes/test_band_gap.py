"""The gap between bands, from eigenvalues of one's own invention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from leadline.tasks.errors import ConfigurationError
from leadline.tasks.recipes.band_gap import BandGap, band_gaps
from leadline.tasks.recipes.recipe import Instrument


def test_an_indirect_gap_is_less_than_the_direct_one() -> None:
    bands = np.array([[[-2.0, 0.0, 3.0], [-2.5, -1.0, 1.5]]])
    assert band_gaps(bands, 0.5) == {"band_gap": 1.5, "direct_band_gap": 2.5}


def test_a_band_that_crosses_the_fermi_level_leaves_no_gap() -> None:
    assert band_gaps(np.array([[[-1.0, 2.0], [1.0, 3.0]]]), 0.0)["band_gap"] == 0


def test_the_gap_of_a_magnet_lies_between_both_spins() -> None:
    bands = np.array([[[-1.0, 2.0]], [[-0.5, 3.0]]])
    assert band_gaps(bands, 0.0)["band_gap"] == 2.5


def test_bands_that_are_all_occupied_are_no_answer(tmp_path: Path) -> None:
    class Full(EMT):
        def calculate(self, *given: object, **named: object) -> None:
            super().calculate(*given, **named)  # type: ignore[no-untyped-call]  # ASE's
            bands = {"eigenvalues": np.array([[[-2.0, -1.0]]]), "fermi_level": 0.0}
            self.results = {**self.results, **bands}

    bands = Full()  # type: ignore[no-untyped-call]  # ASE's
    full = Instrument(lambda _: EMT(), tmp_path, bands=lambda _: bands)
    found = BandGap({}).run(bulk("Cu"), full)
    assert found.failure is not None
    assert (found.failure.kind, found.failure.reason) == ("physics", "no-bands")


def test_an_engine_without_bands_is_refused(emt: Instrument) -> None:
    with pytest.raises(ConfigurationError, match="eigenvalues"):
        BandGap({}).run(bulk("Cu"), emt)
