"""Why a candidate was picked: the record that is kept before any answer is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

PickShare = Literal["exploit", "uncertainty", "random", "start", "reference", "known", "person"]

REASONS: dict[PickShare, str] = {
    "exploit": "it is the most promising of those left",
    "uncertainty": "the model knows least here",
    "random": "drawn at random, to keep the model's calibration honest",
    "start": "drawn at random for the first round, before any model",
    "reference": "an element's reference, which formation energies need",
    "known": "its result was at hand before, and counts against no budget",
    "person": "a person asked for it",
}


@dataclass(frozen=True)
class Neighbour:
    """A known candidate near a pick.

    Parameters
    ----------
    id
        Structure id.
    distance
        Euclidean distance of the prepared features.
    value
        Its label: formation energy in eV/atom, or the property in its unit.
    """

    id: str
    distance: float
    value: float


@dataclass(frozen=True)
class Why:
    """Why a candidate was picked, in numbers and in one sentence.

    Parameters
    ----------
    share
        What the pick is for.
    words
        One plain sentence.
    mean, sd
        Predicted label and its standard deviation: formation energy in eV/atom, or
        the property in its unit; None before the first model.
    score
        The acquisition's, when it was picked.
    energy_above_hull
        Predicted mean over the known hull in eV/atom; negative is below. None for a
        property.
    stable_probability
        Probability to be within tolerance of the final hull; for a property, to be beyond
        its threshold or else among the best.
    failure_probability
        That the calculation gives no answer, by those that failed; None while none did.
    expected_cost
        Seconds that nine of ten calculations like it take no more than; None while unknown.
    neighbours
        The nearest known candidates, nearest first.
    """

    share: PickShare
    words: str
    mean: float | None = None
    sd: float | None = None
    score: float | None = None
    energy_above_hull: float | None = None
    stable_probability: float | None = None
    failure_probability: float | None = None
    expected_cost: float | None = None
    neighbours: tuple[Neighbour, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"neighbours": [asdict(each) for each in self.neighbours]}


def without_model(share: PickShare) -> Why:
    """Return the record of a pick that no model made."""
    return Why(share, f"Picked because: {REASONS[share]}.")


def hull_words(share: PickShare, formula: str, above: float, sd: float, stable: float) -> str:
    """Return the sentence for a search of the hull; energies in eV/atom."""
    side = "above" if above >= 0 else "below"
    return (
        f"{formula} is predicted {abs(above) * 1e3:.1f} ± {sd * 1e3:.1f} meV/atom {side} the known "
        f"hull, stable with probability {stable:.2f}; picked because {REASONS[share]}."
    )


def property_words(
    share: PickShare, formula: str, name: str, mean: float, sd: float, probability: float, find: str
) -> str:
    """Return the sentence for a search of a property, in its unit.

    ``probability`` is that of being what ``find`` says, e.g. ``better than the threshold``.
    """
    return (
        f"{formula} is predicted to have {name} = {mean:.4g} ± {sd:.2g}, {find} with "
        f"probability {probability:.2f}; picked because {REASONS[share]}."
    )


def nearest_known(
    point: NDArray[np.float32],
    known: NDArray[np.float32],
    ids: Sequence[str],
    values: NDArray[np.float64],
    count: int = 3,
) -> tuple[Neighbour, ...]:
    """Return the known candidates nearest to ``point``, nearest first.

    Parameters
    ----------
    point
        Prepared features, float32[d].
    known
        Prepared features of the known ones, float32[m, d].
    ids, values
        Their ids and labels, m of each.
    count
        How many at most.
    """
    distances = np.linalg.norm(known.astype(np.float64) - point, axis=1)
    nearest = np.argsort(distances, kind="stable")[:count]
    return tuple(Neighbour(ids[i], float(distances[i]), float(values[i])) for i in nearest)
