from __future__ import annotations

import json

import numpy as np

from leadline.surrogate.explain import (
    Neighbour,
    Why,
    hull_words,
    nearest_known,
    property_words,
    without_model,
)


def test_the_nearest_known_come_first_with_their_labels() -> None:
    known = np.array([[0, 0], [3, 4], [1, 0]], dtype=np.float32)
    near = nearest_known(
        np.zeros(2, dtype=np.float32), known, ["a", "b", "c"], np.array([1.0, 2.0, 3.0]), count=2
    )
    assert near == (Neighbour("a", 0.0, 1.0), Neighbour("c", 1.0, 3.0))


def test_a_record_is_plain_json() -> None:
    why = Why("exploit", "words", mean=-0.1, neighbours=(Neighbour("a", 0.5, -0.2),))
    plain = json.loads(json.dumps(why.to_plain()))
    assert plain["neighbours"] == [{"id": "a", "distance": 0.5, "value": -0.2}]
    assert plain["share"] == "exploit"
    assert plain["sd"] is None


def test_sentences_say_the_numbers_and_the_reason() -> None:
    assert hull_words("exploit", "Cu3Au", -0.0021, 0.0042, 0.83) == (
        "Cu3Au is predicted 2.1 ± 4.2 meV/atom below the known hull, stable with probability 0.83; "
        "picked because it is the most promising of those left."
    )
    assert "above the known hull" in hull_words("random", "CuAu", 0.03, 0.01, 0.0)
    assert property_words(
        "uncertainty", "SrTiO3", "gap", 3.21, 0.4, 0.25, "better than the threshold"
    ) == (
        "SrTiO3 is predicted to have gap = 3.21 ± 0.4, better than the threshold with probability "
        "0.25; picked because the model knows least here."
    )
    assert "before any model" in without_model("start").words
