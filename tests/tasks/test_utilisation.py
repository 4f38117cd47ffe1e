from __future__ import annotations

import pytest

from leadline.tasks.utilisation import Utilisation, utilisation


def test_two_workers_of_which_one_waits_for_the_other_are_busy_three_quarters() -> None:
    found = utilisation([(0, 0, 10), (0, 0, 5), (10, 10, 20), (10, 10, 18)], [(0, 2)])
    assert found == Utilisation(busy=0.75, starting=0, unpicked=0.25, drain=10)


def test_a_worker_that_waits_for_what_is_picked_is_told_from_one_that_nothing_is_picked_for() -> (
    None
):
    found = utilisation([(0, 0, 10), (12, 16, 20)], [(0, 1)])
    assert found is not None
    assert (found.busy, found.starting, found.unpicked) == (10 / 16, 4 / 16, 2 / 16)


def test_more_that_waits_than_workers_are_free_keeps_no_more_of_them() -> None:
    found = utilisation([(0, 0, 10), (0, 5, 10), (0, 10, 11)], [(0, 2)])
    assert found == Utilisation(busy=0.75, starting=0.25, unpicked=0, drain=1)


def test_the_time_between_runs_is_nobodys() -> None:
    engines = [(0, 0, 10), (0, 10, 20), (1000, 1000, 1010), (1000, 1010, 1015)]
    found = utilisation(engines, [(-5, 1), (990, 1)])
    assert found == Utilisation(busy=1.0, starting=0, unpicked=0, drain=15)


def test_a_run_with_more_workers_counts_for_more() -> None:
    engines = [(0, 0, 10), (0, 10, 20), (100, 100, 110), (100, 110, 120)]
    found = utilisation(engines, [(0, 1), (100, 4)])
    assert found is not None
    assert found.busy == pytest.approx(20 / 50)


@pytest.mark.parametrize("engines", [[], [(0, 0, 10)], [(0, 0, 10), (0, 0, 4)]])
def test_nothing_is_said_where_all_began_at_once(
    engines: list[tuple[float, float, float]],
) -> None:
    assert utilisation(engines, [(0, 2)]) is None


def test_engines_of_no_known_run_are_left_out() -> None:
    assert utilisation([(0, 0, 10), (0, 10, 20)], []) is None
