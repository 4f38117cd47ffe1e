"""What a candidate is made of, blind to where the atoms sit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.descriptors.descriptor import FEW_ELEMENTS, check_elements
from leadline.surrogate.descriptors.elements import PROPERTIES, element_properties

Array = NDArray[np.float64]

STATISTICS = ("mean", "deviation", "smallest", "largest")


class CompositionDescriptor:
    """Atomic fractions, and with more than six elements statistics of their properties.

    With many elements most fractions are zero for most candidates, and only
    what elements have in common can be learned from few labels (Ward et al.,
    npj Comput. Mater. 2, 16028, 2016).

    Parameters
    ----------
    elements
        Symbols of the k elements of the pool.
    """

    def __init__(self, elements: Sequence[str]) -> None:
        self.elements = tuple(elements)
        self.id = f"composition-1({','.join(self.elements)})"
        self.properties = element_properties(self.elements)
        fractions = [f"fraction of {element}" for element in self.elements]
        statistics = [f"{kind} {name}" for kind in STATISTICS for name in PROPERTIES]
        self._statistics = len(self.elements) > FEW_ELEMENTS
        self.feature_names = tuple(fractions + statistics * self._statistics)

    @property
    def blocks(self) -> Mapping[str, slice]:
        """Fractions, and where they are used the statistics."""
        k, d = len(self.elements), len(self.feature_names)
        statistics = {"element statistics": slice(k, d)} if self._statistics else {}
        return {"fractions": slice(0, k), **statistics}

    def describe(self, candidates: Sequence[Candidate]) -> NDArray[np.float32]:
        """Return features, float32[n, d]."""
        features = np.array([self._one(candidate) for candidate in candidates], dtype=np.float32)
        return features.reshape(len(candidates), len(self.feature_names))

    def _one(self, candidate: Candidate) -> Array:
        fractions = self._fractions(candidate)
        if not self._statistics:
            return fractions
        return np.concatenate([fractions, self._of_elements(fractions)])

    def _fractions(self, candidate: Candidate) -> Array:
        amounts: Mapping[str, Any] = candidate.composition.get_el_amt_dict()
        check_elements(candidate, set(amounts), self.elements)
        found = np.array([amounts.get(element, 0.0) for element in self.elements])
        return np.asarray(found / found.sum())

    def _of_elements(self, fractions: Array) -> Array:
        present = fractions > 0
        weights, values = fractions[present], self.properties[present]
        mean = weights @ values
        deviation = weights @ np.abs(values - mean)
        return np.concatenate([mean, deviation, values.min(axis=0), values.max(axis=0)])
