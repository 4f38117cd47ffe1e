from __future__ import annotations

import pytest

from leadline.tasks.compute.durations import MARGIN, Durations


def test_nothing_is_expected_before_anything_has_finished() -> None:
    assert Durations().expected(8) == 0.0


def test_a_larger_cell_is_expected_to_take_longer_and_a_margin_is_left() -> None:
    durations = Durations()
    durations.note_all([(2, 40.0), (4, 160.0)])
    assert durations.expected(2) == pytest.approx(MARGIN * 40.0)
    assert durations.expected(8) == pytest.approx(MARGIN * 640.0)


def test_the_slow_ones_are_reckoned_with_and_what_took_no_time_is_not() -> None:
    durations = Durations()
    durations.note_all([(1, 1.0)] * 8 + [(1, 10.0)] * 2 + [(1, 0.0)] * 50)
    assert durations.expected(1) == pytest.approx(MARGIN * 10.0)
