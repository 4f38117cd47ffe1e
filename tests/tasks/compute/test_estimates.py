"""What calculations will take, by the numbers of those that have ended."""

from __future__ import annotations

import numpy as np
import pytest

from leadline.tasks.compute.estimates import KEPT, STEEPEST, USUAL, Estimates, Measured, fitted


def timed(*finished: tuple[float, float], cores: int = 1) -> Estimates:
    """Return estimates from sizes and seconds."""
    estimates = Estimates()
    estimates.note_all(Measured(size, cores, seconds) for size, seconds in finished)
    return estimates


def test_nothing_is_known_before_anything_has_finished() -> None:
    estimates = Estimates()
    assert (estimates.seconds(8, 1), estimates.memory(8, 1)) == (0.0, 0.0)
    assert (estimates.usual_size(1), estimates.count(1)) == (0.0, 0)


def test_the_power_is_that_of_the_sizes_seen() -> None:
    estimates = timed((2, 40.0), (4, 160.0), (8, 640.0))
    assert estimates.seconds(2, 1) == pytest.approx(40.0)
    assert estimates.seconds(6, 1) == pytest.approx(360.0)
    assert estimates.seconds(16, 1) == pytest.approx(2560.0)


def test_noise_of_a_third_and_strays_leave_the_power_and_the_bound_holds_for_nine_in_ten() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(10, 200, 200)
    seconds = 0.1 * sizes**1.5 * np.exp(rng.normal(0.0, 0.3, 200))
    seconds[:10] *= 100.0
    law = fitted(sizes.tolist(), seconds.tolist())
    assert law.power == pytest.approx(1.5, abs=0.1)
    fresh = 0.1 * sizes**1.5 * np.exp(rng.normal(0.0, 0.3, 200))
    within = np.mean([value <= law(size) for size, value in zip(sizes, fresh, strict=True)])
    assert 0.9 <= within <= 0.99


def test_one_size_alone_shows_no_power_and_the_usual_one_is_taken() -> None:
    assert timed((4, 10.0), (4, 20.0)).seconds(8, 1) == pytest.approx(20.0 * 2**USUAL)
    assert timed((4, 10.0), (5, 1000.0)).seconds(8, 1) == pytest.approx(1000.0 * 1.6**USUAL)


def test_beyond_the_sizes_seen_the_bound_rises_no_slower_and_falls_no_further() -> None:
    flat = timed((2, 30.0), (4, 30.0), (8, 30.0))
    assert flat.seconds(4, 1) == pytest.approx(30.0)
    assert flat.seconds(16, 1) == pytest.approx(30.0 * 2**USUAL)
    steep = timed((2, 1.0), (4, 100.0))
    assert steep.seconds(8, 1) == pytest.approx(steep.seconds(4, 1) * 2**STEEPEST)
    assert steep.seconds(1, 1) == pytest.approx(steep.seconds(2, 1))


def test_the_slow_ones_are_reckoned_with_and_what_took_no_time_is_not() -> None:
    estimates = timed(*[(1, 1.0)] * 8, *[(1, 10.0)] * 2, *[(1, 0.0)] * 50)
    assert estimates.seconds(1, 1) == pytest.approx(10.0)
    assert estimates.count(1) == 10


def test_calculations_on_another_number_of_cores_say_nothing() -> None:
    estimates = timed((4, 1000.0), cores=1)
    assert estimates.seconds(4, 32) == 0.0
    estimates.note(Measured(4, 32, 50.0))
    assert estimates.seconds(4, 32) == pytest.approx(50.0)


def test_memory_has_a_law_of_its_own_from_those_whose_memory_is_known() -> None:
    estimates = Estimates()
    sizes = (10.0, 20.0, 40.0)
    estimates.note_all(Measured(size, 4, size**3, 1e8 * size) for size in sizes)
    estimates.note(Measured(1000.0, 4, 1e9))
    assert estimates.memory(20, 4) == pytest.approx(2e9)
    assert estimates.usual_size(4) == 30.0


def test_the_latest_are_kept() -> None:
    estimates = timed(*[(1, 100.0)] * KEPT, *[(1, 1.0)] * KEPT)
    assert estimates.count(1) == KEPT
    assert estimates.seconds(1, 1) == pytest.approx(1.0)
