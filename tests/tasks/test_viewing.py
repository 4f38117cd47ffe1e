"""From the records of a campaign to what a report shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from leadline.tasks.errors import InputError
from leadline.tasks.ledger import Ledger
from leadline.tasks.recording import NPZ, Predictions, space_group
from leadline.tasks.store.records import Campaign, CampaignState
from leadline.tasks.viewing import campaign_view

if TYPE_CHECKING:
    from leadline.tasks.store.store import Store
    from tests.tasks.conftest import Records


def predictions(*ids: str, hull: bool = True) -> Predictions:
    n = len(ids)
    return Predictions(
        ids=ids,
        formulas=("CuAu",) * n,
        elements=("Au", "Cu"),
        fractions=np.full((n, 2), 0.5),
        mean=np.linspace(-0.1, 0.0, n),
        sd=np.full(n, 0.01),
        energy_above_hull=np.zeros(n) if hull else None,
        probability=np.full(n, 0.25) if hull else None,
    )


@pytest.mark.parametrize("hull", [True, False])
def test_predictions_are_the_same_after_a_file(hull: bool) -> None:
    before = predictions("a", "b", hull=hull)
    after = Predictions.from_npz(before.to_npz())
    assert (after.ids, after.formulas, after.elements) == (
        before.ids,
        before.formulas,
        before.elements,
    )
    np.testing.assert_array_equal(after.mean, before.mean)
    if hull:
        np.testing.assert_array_equal(after.probability, before.probability)
    else:
        assert after.energy_above_hull is None
        assert after.probability is None


def campaign(records: Records) -> None:
    """Round 0 with the elements, round 1 with CuAu done, Cu3Au failed and CuAu3 queued."""
    gold, copper = records.round(
        records.crystal("Au Au Au Au"), records.crystal("Cu Cu Cu Cu"), share="reference"
    )
    records.done(gold, -3.0)
    records.done(copper, -4.0)
    layered, rich, _ = records.round(
        records.crystal("Cu Au Au Cu"),
        records.crystal("Cu Cu Cu Au"),
        records.crystal("Cu Au Au Au"),
        mean=-0.07,
        sd=0.01,
    )
    records.done(layered, -3.58)
    records.failed(rich)
    kept = records.store.artefacts.put(predictions(layered.structure, rich.structure).to_npz(), NPZ)
    verdict = {"stop": True, "rule": "calculations", "words": "Enough.", "evidence": {"n": 2}}
    records.store.update_round(
        "test",
        1,
        predictions=kept,
        verdict=verdict,
        metrics={"expected_missed": 0.4},
        ledger={"learning": 0.2, "wall": 4.0, "calculating": 3.0},
    )
    records.store.log("test", "pool.built", "x", {"candidates": 7, "dropped": {"duplicate": 3}})
    records.store.set_campaign_state("test", CampaignState.STOPPED, "Enough.")


def test_a_view_holds_what_the_records_say(records: Records) -> None:
    campaign(records)
    view = campaign_view(records.store, "test")
    assert (view.state, view.reason, view.elements) == ("stopped", "Enough.", ("Au", "Cu"))
    assert (view.computed, view.running, view.waiting, view.quarantined) == (1, 0, 1, 1)
    assert view.pool_size == 2
    assert view.drops == {"duplicate": 3}
    assert view.verdict is not None
    assert (view.verdict.rule, view.verdict.words) == ("calculations", "Enough.")
    (phase,) = view.phases
    assert (phase.formula, phase.nth, phase.round) == ("CuAu", 1, 1)
    assert phase.value == pytest.approx(-0.08)
    assert view.calibration["count"] == 1


def test_each_round_tells_its_picks_and_what_came_of_them(records: Records) -> None:
    campaign(records)
    (round_,) = campaign_view(records.store, "test").rounds
    assert (round_.number, round_.words, round_.expected_missed) == (1, "Enough.", 0.4)
    assert [(pick.formula, pick.state, pick.nth) for pick in round_.picks] == [
        ("CuAu", "done", 1),
        ("Cu3Au", "quarantined", None),
        ("CuAu3", "queued", None),
    ]
    assert round_.picks[1].failure == "it did not converge"
    assert round_.picks[0].value == pytest.approx(-0.08)


def test_failures_references_and_time_are_told(records: Records) -> None:
    campaign(records)
    view = campaign_view(records.store, "test")
    (failure,) = view.failures
    assert (failure.formula, failure.kind, failure.attempts) == ("Cu3Au", "physics", 1)
    assert [(each.element, each.energy) for each in view.references] == [("Au", -3.0), ("Cu", -4.0)]
    assert view.references[0].source == "computed by this campaign"
    assert view.ledger.wall == 4.0
    assert view.ledger.seconds == {"engine": 0.5, "learning": 0.2, "references": 1.0}
    assert view.ledger.wasted == {"scf": 2.0}


def test_engines_whose_driver_was_killed_before_its_account_was_kept_are_in_the_ledger(
    records: Records,
) -> None:
    (gold,) = records.round(records.crystal("Au Au Au Au"), share="reference")
    records.done(gold, -3.0)
    own, shared = records.round(records.crystal("Cu Au Au Cu"), records.crystal("Cu Cu Cu Au"))
    records.done(own, -3.58)
    records.store.create_campaign(Campaign("other", {}))
    records.done(shared, -3.6, campaign="other")
    # No round was closed, so none has an account; what another campaign computed is its own.
    ledger = campaign_view(records.store, "test").ledger
    assert ledger.wall is None
    assert {k: v for k, v in ledger.seconds.items() if k != "queue"} == {
        "engine": 0.5,
        "references": 0.5,
    }


def test_waiting_and_how_busy_the_workers_were_are_told(records: Records) -> None:
    records.clock = time.time() + 100
    records.store.log("test", "cluster.opened", "local", {"workers": 1})
    campaign(records)
    ledger = campaign_view(records.store, "test").ledger
    # Three engines of half a second, a second after one another, 100 s after their claims.
    assert 298 < ledger.seconds["queue"] < 310
    assert ledger.use is not None
    assert ledger.use.busy == pytest.approx(0.5)
    assert ledger.use.drain == pytest.approx(0.5)


def test_a_property_campaign_is_viewed_without_a_hull(records: Records) -> None:
    objective = {
        "kind": "property",
        "property": "stiffness",
        "direction": "maximise",
        "threshold": 100.0,
    }
    records.store.new_spec_version("test", {"name": "test", "objective": objective}, "changed")
    (pick,) = records.round(records.crystal("Cu Au Au Cu"))
    records.done(pick, -3.5, stiffness=120.0)
    view = campaign_view(records.store, "test")
    assert view.objective.words == "maximise stiffness to 100 or better"
    assert [(each.value, each.energy_above_hull) for each in view.phases] == [(120.0, None)]
    assert view.references == ()


def test_an_unknown_campaign_is_refused_with_those_that_there_are(store: Store) -> None:
    with pytest.raises(InputError, match="it holds: none yet"):
        campaign_view(store, "gone")
    store.create_campaign(Campaign("here", {}))
    with pytest.raises(InputError, match=r"there is no campaign 'gone' in .*; it holds: here\."):
        campaign_view(store, "gone")


def test_a_ledger_charges_what_used_the_time() -> None:
    ledger = Ledger()
    with pytest.raises(ValueError, match="x"), ledger.timed("learning"):
        raise ValueError("x")
    plain = ledger.plain()
    assert 0.0 < plain["learning"] <= plain["wall"]


def test_a_space_group_is_named_and_where_there_is_none_empty(records: Records) -> None:
    assert space_group(records.crystal("Cu Au Au Cu")) == "P4/mmm"
    assert space_group(records.crystal("Cu Cu Cu Au")) == "Pm-3m"
