"""How well pools of density-functional energies are learned from few labels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from pymatgen.io.ase import AseAtomsAdaptor

from leadline.surrogate.calibration import calibration_metrics
from leadline.surrogate.candidate import Candidate
from leadline.surrogate.descriptors.table import descriptor
from leadline.surrogate.model import GaussianProcess
from leadline.surrogate.prepare import Preparation

SEEDS = 3


def scores(pool: str, label: str, name: str, n: int) -> dict[str, float]:
    """Mean scores over random training sets of n labels."""
    data = os.environ.get("LEADLINE_DATA")
    if not data:
        pytest.skip("LEADLINE_DATA names no folder with cuagau_fcc and perov5")
    frames = read(Path(data) / pool / "dataset.extxyz.gz", ":", format="extxyz")
    candidates = [
        Candidate(str(atoms.info["id"]), AseAtomsAdaptor.get_structure(atoms)) for atoms in frames
    ]
    y = np.array([float(atoms.info[label]) for atoms in frames])
    elements = sorted({str(e) for one in candidates for e in one.composition.elements})
    made = descriptor(name, elements)
    raw = made.describe(candidates)
    X = Preparation.fit(raw, made.blocks).transform(raw)
    found = []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(y))
        model = GaussianProcess.fit(X[order[:n]], y[order[:n]])
        mean, sd = model.predict(X[order[n:]])
        found.append(calibration_metrics(y[order[n:]], mean, np.hypot(sd, model.noise_sd)))
    return {key: float(np.mean([each[key] or 0.0 for each in found])) for key in found[0]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rmse", "nll"), [("soap", 0.006, -3.8), ("pair-correlations", 0.0065, -3.65)]
)
def test_alloy_orderings_are_learned_from_200_labels(name: str, rmse: float, nll: float) -> None:
    found = scores("cuagau_fcc", "formation_energy", name, 200)
    assert found["rmse"] < rmse
    assert found["nll"] < nll
    assert 0.90 <= found["coverage_95"] <= 0.97


@pytest.mark.slow
def test_perovskites_of_56_elements_are_learned_from_300_labels() -> None:
    found = scores("perov5", "heat_all", "pair-correlations", 300)
    assert found["rmse"] < 0.4
    assert 0.90 <= found["coverage_95"] <= 0.97
