"""From answers to what a model is trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from leadline.tasks.answers import Answers
from leadline.tasks.assess import Assessment
from leadline.tasks.learn import Training


def training_set(answers: Answers, assessment: Assessment, rows: Mapping[str, int]) -> Training:
    """Return the labelled rows of the pool, in the order in which the answers came.

    What left its prototype is no label of the structure that was asked for. What
    is not of the pool (references of another lattice) sets formation energies and
    trains nothing.
    """
    labelled = [
        (rows[each.structure], assessment.values[each.structure])
        for each in answers
        if each.evidence and each.structure in rows and each.structure in assessment.values
    ]
    return Training(
        pool_index=np.array([row for row, _ in labelled], dtype=np.int64),
        y=np.array([value for _, value in labelled], dtype=np.float64),
    )
