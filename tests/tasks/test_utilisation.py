from __future__ import annotations

import pytest

from leadline.tasks.utilisation import Utilisation, utilisation


def test_two_workers_of_which_one_waits_for_the_other_are_busy_three_quarters() -> None:
    found = utilisation([(0, 10), (0, 5), (10, 20), (10, 18)], [(0, 2)])
    assert found == Utilisation(busy=0.75, drain=10)


def test_the_time_between_runs_is_nobodys() -> None:
    engines = [(0, 10), (10, 20), (1000, 1010), (1010, 1015)]
    assert utilisation(engines, [(-5, 1), (990, 1)]) == Utilisation(busy=1.0, drain=15)


def test_a_run_with_more_workers_counts_for_more() -> None:
    engines = [(0, 10), (10, 20), (100, 110), (110, 120)]
    found = utilisation(engines, [(0, 1), (100, 4)])
    assert found is not None
    assert found.busy == pytest.approx(20 / 50)


@pytest.mark.parametrize("engines", [[], [(0, 10)], [(0, 10), (0, 4)]])
def test_nothing_is_said_where_all_began_at_once(engines: list[tuple[float, float]]) -> None:
    assert utilisation(engines, [(0, 2)]) is None


def test_engines_of_no_known_run_are_left_out() -> None:
    assert utilisation([(0, 10), (10, 20)], []) is None
