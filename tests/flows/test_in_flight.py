"""Settings in flight and the campaign file: which holds, and in what words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect_here import small_campaign

from leadline.flows.in_flight import changed_words, merged, set_over, with_changes
from leadline.flows.spec import CampaignSpec
from leadline.tasks.errors import SpecError
from leadline.tasks.store.records import Campaign

if TYPE_CHECKING:
    from collections.abc import Mapping

ADA = {"by": "ada on node1", "why": "the queue is empty", "how": "leadline set"}


def file(**stop: Any) -> CampaignSpec:
    rules = {"expected_missed": None, "calculations": 12, **stop}
    return CampaignSpec.model_validate(small_campaign(stop=rules))


def campaign(changes: Mapping[str, Any]) -> Campaign:
    """A campaign of that file in which something was set in flight."""
    begun = Campaign("small", file().model_dump(mode="json"))
    spec, in_flight = set_over(begun, changes, ADA, "noon")
    return replace(begun, spec=spec.model_dump(mode="json"), in_flight=in_flight)


def test_a_run_with_the_old_file_takes_nothing_back_and_says_where_they_differ() -> None:
    found = merged(file(), campaign({"stop.calculations": 50, "acquisition.batch": 7}))
    assert (found.spec.stop.calculations, found.spec.acquisition.batch) == (50, 7)
    assert set(found.in_flight) == {"stop.calculations", "acquisition.batch"}
    assert found.words[0] == (
        "stop.calculations is 50, set by ada on node1 at noon (the queue is empty), and not 12 as "
        "in the file. To keep it, write it there; to take it back: leadline set small "
        "'stop.calculations=12'"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("20s", "20 s"),
        ("90 min", "1.5 h"),
        (0.7, "42 min"),
        ("2 d", "48 h"),
        (1.23456789, "1.23456789 h"),
    ],
)
def test_a_time_is_said_as_a_person_writes_it_and_is_the_same_when_it_is_read_back(
    given: str | float, said: str
) -> None:
    spec, in_flight = set_over(campaign({}), {"stop.hours": given}, ADA, "one")
    assert changed_words({"stop.hours": in_flight["stop.hours"]["value"]}) == f"stop.hours = {said}"
    assert with_changes(spec, {"stop.hours": said}).stop.hours == pytest.approx(spec.stop.hours)
    asked = {"review": {"silence": "veto", "after": spec.stop.hours}}
    assert changed_words(asked) == f"review = {{silence: veto, after: {said}}}"


def test_a_file_that_says_the_same_has_taken_it_over() -> None:
    found = merged(file(calculations=50), campaign({"stop.calculations": 50}))
    assert (found.spec.stop.calculations, found.in_flight, found.words) == (50, {}, ())


def test_a_file_that_was_changed_since_is_the_newer_word_and_says_so() -> None:
    found = merged(file(calculations=30), campaign({"stop.calculations": 50}))
    assert (found.spec.stop.calculations, dict(found.in_flight)) == (30, {})
    assert found.words == (
        "stop.calculations is 30 by the file, which changed since 50 was set by ada on node1 at "
        "noon (the queue is empty)",
    )


def test_set_twice_it_is_still_compared_with_what_the_file_said_and_set_back_it_is_gone() -> None:
    once = campaign({"stop.calculations": 50})
    spec, in_flight = set_over(once, {"stop.calculations": 60}, ADA, "one")
    assert (spec.stop.calculations, in_flight["stop.calculations"]["file"]) == (60, 12)
    spec, in_flight = set_over(once, {"stop.calculations": 12}, ADA, "one")
    assert (spec.stop.calculations, in_flight) == (12, {})


def test_a_review_is_switched_on_sharpened_and_switched_off() -> None:
    on = campaign({"review": {"silence": "approve", "after": "90 min"}})
    review = CampaignSpec.model_validate(on.spec).review
    assert review is not None
    assert (review.silence, review.after) == ("approve", 1.5)
    spec, in_flight = set_over(on, {"review.silence": "veto"}, ADA, "one")
    assert spec.review is not None
    assert (spec.review.silence, spec.review.after) == ("veto", 1.5)
    assert in_flight["review"]["value"] == {"silence": "veto", "after": 1.5}
    assert set_over(on, {"review": None}, ADA, "one")[1] == {}
    assert merged(file(), on).spec.review == review


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine.name": "emt"}, "engine.name: cannot change while the campaign goes on\nmay ch"),
        ({"stop": {}}, "stop: cannot change"),
        ({"stop.calculations": 0}, "stop.calculations: found 0; allowed: greater than or equal"),
        ({"stop.calculations": None}, "stop: found no rule"),
        ({"review.silence": "veto"}, r"there is no review; switch it on by 'review=\{silence"),
        ({"review": {"silence": "maybe"}}, "review.silence: found 'maybe'; allowed: 'wait', 'app"),
    ],
)
def test_what_cannot_be_set_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        with_changes(file(), changes)


def test_review_may_be_said_by_true_and_false(tmp_path: Path) -> None:
    content = small_campaign()
    assert CampaignSpec.model_validate({**content, "review": True}).review is not None
    assert CampaignSpec.model_validate({**content, "review": False}).review is None
