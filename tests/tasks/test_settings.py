"""Refusals of settings, and names looked up in tables."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from leadline.tasks import tables
from leadline.tasks.errors import SpecError
from leadline.tasks.settings import validated
from leadline.tasks.tables import named


class Oven(BaseModel):
    model_config = ConfigDict(extra="forbid")
    degrees: float = Field(gt=0)
    door: str = "closed"


def test_good_settings_become_the_model() -> None:
    assert validated(Oven, {"degrees": 180}, "kitchen") == Oven(degrees=180)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"degrees": 1, "dor": 2},
            "kitchen.dor: unknown key (did you mean 'door'?); allowed here: degrees, door",
        ),
        ({}, "kitchen.degrees: this key is needed and was not given"),
        ({"degrees": -4}, "kitchen.degrees: found -4; allowed: greater than 0"),
        ({"degrees": 1, "door": 3}, "kitchen.door: found 3; allowed: a valid string"),
    ],
)
def test_each_refusal_names_its_key_and_what_was_found(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        validated(Oven, settings, "kitchen")
    assert str(refusal.value) == words


def test_every_wrong_key_has_a_line() -> None:
    with pytest.raises(SpecError) as refusal:
        validated(Oven, {"degrees": 0, "dor": 1}, "kitchen")
    assert len(str(refusal.value).splitlines()) == 2


def test_a_name_of_the_table_is_found() -> None:
    assert named("oven.name", "static", {"static": "leadline.tasks.settings:validated"}, "g") is (
        validated
    )


def test_a_name_from_an_outside_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("outside", "leadline.tasks.settings:validated", "leadline.ovens")
    monkeypatch.setattr(tables, "entry_points", lambda group: [entry])
    assert named("oven.name", "outside", {}, "leadline.ovens") is validated


@pytest.mark.parametrize("name", ["os:system", "leadline.tasks.settings:validated", "", "Static"])
def test_any_other_name_is_refused_and_nothing_is_imported(name: str) -> None:
    with pytest.raises(SpecError, match=r"oven\.name: .* is not known; known are: static"):
        named("oven.name", name, {"static": "leadline.tasks.settings:validated"}, "leadline.none")
