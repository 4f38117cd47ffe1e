from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from leadline.surrogate.acquisition import ACQUISITIONS
from leadline.surrogate.batch import Shares
from leadline.surrogate.errors import SurrogateError
from leadline.surrogate.pool import Pool
from leadline.tasks.learn import Learned, Training, learn
from leadline.tasks.problem import HullProblem, Problem, PropertyProblem
from leadline.tasks.propose import ProposeSettings, pool_outlook, propose, start_picks

Floats = NDArray[np.float64]
N = 120
KNOWN = [0, 5, 17, 44, 61, 78, 90, 101, 119]
HULL = HullProblem(0.002)
FEW = ProposeSettings(samples=32)
LOWEST = PropertyProblem("gap", "minimise", -0.2)


def ternary() -> tuple[Pool, Floats]:
    """Random ternary candidates whose energy is smooth in two features."""
    rng = np.random.default_rng(3)
    fractions = rng.dirichlet(np.ones(3), size=N)
    features = np.column_stack([fractions[:, :2] * 4, rng.normal(size=N)]).astype(np.float32)
    energies = -3 * fractions.prod(axis=1) - 0.04 * np.cos(2 * features[:, 2].astype(float))
    pool = Pool(
        ids=tuple(f"s{i:03d}" for i in range(N)),
        formulas=tuple(f"X{i}" for i in range(N)),
        elements=("A", "B", "C"),
        fractions=fractions,
        sites=np.full(N, 4),
        features=features,
    )
    return pool, energies


def trained(rows: list[int] = KNOWN) -> tuple[Learned, Pool, Floats]:
    pool, energies = ternary()
    return learn(pool, Training(np.array(rows), energies[rows])), pool, energies


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("problem", [HULL, LOWEST, replace(LOWEST, threshold=None)])
def test_each_pick_is_new_and_says_why(problem: Problem) -> None:
    learned, pool, _ = trained()
    picks = propose(learned, pool, problem, FEW, 10, rng())
    assert len({pick.row for pick in picks} - set(KNOWN)) == 10
    assert [pick.why.share for pick in picks].count("exploit") >= 8
    for pick in picks:
        plain = json.loads(json.dumps(pick.why.to_plain(), allow_nan=False))
        assert pick.id == pool.ids[pick.row]
        assert plain["sd"] > 0
        assert 0 <= plain["stable_probability"] <= 1
        assert plain["neighbours"][0]["id"] in {pool.ids[row] for row in KNOWN}
        assert pool.formulas[pick.row] in plain["words"]
        assert (plain["energy_above_hull"] is None) == (problem.kind == "property")


def test_the_same_state_of_chance_gives_the_same_picks() -> None:
    learned, pool, _ = trained()
    one, again, other = (
        [pick.row for pick in propose(learned, pool, HULL, FEW, 10, rng(seed))]
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_every_acquisition_can_propose(name: str) -> None:
    learned, pool, _ = trained()
    for problem in (HULL, LOWEST):
        settings = ProposeSettings(acquisition=name, shares=Shares(0, 0), samples=16)
        if problem.kind in ACQUISITIONS[name].goals:
            assert len(propose(learned, pool, problem, settings, 3, rng())) == 3
        else:
            with pytest.raises(SurrogateError, match="does not serve"):
                propose(learned, pool, problem, settings, 3, rng())


def test_what_is_pending_or_closed_is_not_proposed_and_moves_the_picks_away() -> None:
    learned, pool, _ = trained()
    settings = ProposeSettings(
        acquisition="lower-confidence-bound", shares=Shares(0, 0), samples=16
    )
    first = [pick.row for pick in propose(learned, pool, HULL, settings, 5, rng())]
    later = propose(learned, pool, HULL, settings, 5, rng(), pending=first[:3], closed=first[3:4])
    assert first[4] == later[0].row
    assert not {pick.row for pick in later} & set(first[:4])


def test_one_pick_at_a_time_with_pending_is_one_batch() -> None:
    learned, pool, _ = trained()
    settings = ProposeSettings(acquisition="uncertainty", shares=Shares(0, 0))
    batch = [pick.row for pick in propose(learned, pool, HULL, settings, 6, rng())]
    steady: list[int] = []
    for _ in range(6):
        picks = propose(learned, pool, HULL, settings, 1, rng(), pending=steady)
        steady.append(picks[0].row)
    assert steady == batch


def test_a_pool_that_runs_out_gives_what_is_left() -> None:
    learned, pool, _ = trained()
    closed = [row for row in range(N) if row not in (3, 4, *KNOWN)]
    picks = propose(learned, pool, HULL, FEW, 10, rng(), closed=closed)
    assert {pick.row for pick in picks} == {3, 4}
    everything = list(range(N))
    assert propose(learned, pool, HULL, FEW, 10, rng(), closed=everything) == []


def test_random_picks_come_from_the_whole_pool_not_from_the_shortlist() -> None:
    learned, pool, _ = trained()
    settings = ProposeSettings(shares=Shares(0, 1), shortlist=8, samples=8)
    rows = [
        pick.row
        for seed in range(40)
        for pick in propose(learned, pool, HULL, settings, 2, rng(seed))
    ]
    assert len(set(rows)) > 45


def test_the_first_picks_are_random_and_leave_out_what_is_closed() -> None:
    pool, _ = ternary()
    picks = start_picks(pool, 10, rng(), closed=range(100))
    assert len({pick.row for pick in picks}) == 10
    assert all(pick.row >= 100 and pick.why.share == "start" for pick in picks)
    assert len(start_picks(pool, 10, rng(), closed=range(115))) == 5


def test_the_outlook_knows_what_is_known_and_expects_the_rest() -> None:
    learned, pool, energies = trained()
    outlook = pool_outlook(learned, pool, HULL, FEW, rng())
    np.testing.assert_array_equal(outlook.mean[KNOWN], energies[KNOWN])
    np.testing.assert_array_equal(outlook.sd[KNOWN], 0.0)
    unknown = np.setdiff1d(np.arange(N), KNOWN)
    assert outlook.missed.expected == pytest.approx(outlook.probability[unknown].sum())
    assert set(outlook.probability[KNOWN]) <= {0.0, 1.0}
    assert outlook.energy_above_hull is not None
    assert outlook.energy_above_hull[KNOWN].min() > -1e-9


def test_the_expected_finds_are_about_those_that_are_there() -> None:
    learned, pool, energies = trained(list(range(0, N, 2)))
    outlook = pool_outlook(learned, pool, HULL, FEW, rng())
    truth = HULL.finds(pool.fractions, energies)[1::2].sum()
    assert outlook.missed.expected == pytest.approx(truth, abs=4)


def test_a_maximised_property_is_a_minimised_one_turned_over() -> None:
    pool, y = ternary()
    settings = ProposeSettings(acquisition="upper-confidence-bound", shares=Shares(0, 0))
    picks = []
    for sign, direction in ((1, "minimise"), (-1, "maximise")):
        learned = learn(pool, Training(np.array(KNOWN), sign * y[KNOWN]))
        problem = PropertyProblem("gap", direction, sign * -0.2)  # type: ignore[arg-type]
        picks.append([p.row for p in propose(learned, pool, problem, settings, 5, rng())])
        assert problem.finds(sign * y).sum() == (y <= -0.2).sum()
    assert picks[0] == picks[1]


def test_without_a_threshold_the_best_are_finds() -> None:
    values = np.array([1.0, 3.0, 2.0, 2.0])
    for best, found in ((1, [False, True, False, False]), (2, [False, True, True, True])):
        problem = PropertyProblem("gap", "maximise", best=best)
        assert problem.finds(values).tolist() == found
    assert PropertyProblem("gap", "maximise", best=9).finds(values).all()


def test_of_several_best_as_many_are_expected_as_are_looked_for() -> None:
    pool, y = ternary()
    learned = learn(pool, Training(np.array(KNOWN), y[KNOWN]))
    outlook = pool_outlook(learned, pool, PropertyProblem("gap", best=8), FEW, rng())
    assert outlook.probability.sum() == pytest.approx(8, abs=1.0)
    assert outlook.missed.expected == pytest.approx(8 - outlook.probability[KNOWN].sum(), abs=1.0)
    picks = propose(learned, pool, PropertyProblem("gap", best=8), FEW, 3, rng())
    assert "among the best 8 with probability" in picks[0].why.words


def test_a_window_or_a_target_is_searched_as_what_lies_near_its_middle() -> None:
    pool, y = ternary()
    learned = learn(pool, Training(np.array(KNOWN), y[KNOWN]))
    middle = float(np.median(y))
    window = PropertyProblem("gap", window=(middle - 0.02, middle + 0.02))
    assert window.finds(y).sum() == (np.abs(y - middle) <= 0.02).sum() > 0
    settings = ProposeSettings(acquisition="find-probability", shares=Shares(0, 0))
    picks = propose(learned, pool, window, settings, 5, rng())
    away = np.abs(y - middle)
    assert away[[pick.row for pick in picks]].mean() < 0.8 * away.mean()
    assert "in the window with probability" in picks[0].why.words
    nearest = PropertyProblem("gap", target=middle, best=3)
    assert set(np.flatnonzero(nearest.finds(y))) == set(np.argsort(np.abs(y - middle))[:3])


@pytest.mark.parametrize(
    ("problem", "words", "criterion"),
    [
        (PropertyProblem("gap"), "minimise gap", "the lowest gap"),
        (
            PropertyProblem("gap", "maximise", 2.0),
            "maximise gap to 2 or better",
            "gap >= 2",
        ),
        (
            PropertyProblem("gap", "maximise", best=5),
            "find the 5 candidates of highest gap",
            "the 5 candidates of highest gap",
        ),
        (
            PropertyProblem("gap", target=1.4),
            "find the gap nearest to 1.4",
            "the gap nearest to 1.4",
        ),
        (PropertyProblem("gap", window=(1.5, 3)), "find gap from 1.5 to 3", "gap from 1.5 to 3"),
    ],
)
def test_what_is_looked_for_is_said_in_words(
    problem: PropertyProblem, words: str, criterion: str
) -> None:
    assert (problem.words, problem.criterion) == (words, criterion)


def test_what_is_like_failures_waits_and_its_picks_say_so() -> None:
    learned, pool, _ = trained()
    settings = replace(FEW, shares=Shares(0, 0))
    first = [pick.row for pick in propose(learned, pool, HULL, settings, 10, rng())]
    near = np.argsort(np.abs(pool.features - pool.features[first[0]]).sum(axis=1))
    failed = [int(row) for row in near[1:40] if row not in KNOWN][:12]
    picks = propose(learned, pool, HULL, settings, 10, rng(), closed=failed, failed=failed)
    risks = [pick.why.failure_probability for pick in picks]
    assert all(risk is not None and 0 < risk < 1 for risk in risks)
    assert first[0] not in [pick.row for pick in picks][:3]
    unharmed = propose(learned, pool, HULL, settings, 1, rng())
    assert unharmed[0].why.failure_probability is None


def test_picks_are_chosen_for_their_worth_a_cost() -> None:
    learned, pool, _ = trained()
    settings = replace(FEW, shares=Shares(0, 0))
    first = propose(learned, pool, HULL, settings, 1, rng())[0].row
    dear = propose(
        learned, pool, HULL, settings, 5, rng(), cost=lambda rows: np.where(rows == first, 1e6, 1.0)
    )
    assert first not in [pick.row for pick in dear]
