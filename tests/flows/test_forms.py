"""What Prefect's page makes of the flows: a form with help on every field, and no dead end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from prefect import Flow
from prefect.utilities.callables import parameter_schema

from leadline.flows.backtest_flow import backtest
from leadline.flows.campaign import campaign
from leadline.flows.reconcile import reconcile
from leadline.flows.report_flow import report

FLOWS = {each.name: each for each in (backtest, campaign, reconcile, report)}
Schema = Mapping[str, Any]


def schema_of(flow: Flow[..., Any]) -> Schema:
    return parameter_schema(flow).model_dump()


def fields(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield every field of the form, the parameters first."""
    sections = {"": schema, **schema["definitions"]}
    for section, content in sections.items():
        for name, field in content.get("properties", {}).items():
            yield f"{section}.{name}", field


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_every_field_has_its_help(name: str) -> None:
    found = dict(fields(schema_of(FLOWS[name])))
    assert found
    assert [path for path, field in found.items() if not field.get("description")] == []


def test_what_can_be_named_is_offered_to_choose_from() -> None:
    found = dict(fields(schema_of(campaign)))
    for path, one in {
        "EngineSpec.name": "espresso",
        "RecipeSpec.name": "relax",
        "SourceSpec.source": "orderings",
        "SurrogateSpec.descriptor": "soap",
        "AcquisitionSpec.name": "stable-probability",
        "ComputeSpec.mode": "steady",
    }.items():
        assert one in found[path]["enum"], path


@pytest.mark.parametrize("section", ["engine", "recipe", "candidates"])
def test_a_section_whose_keys_depend_on_a_name_says_how_to_edit_the_rest(section: str) -> None:
    words = dict(fields(schema_of(campaign)))[f"CampaignSpec.{section}"]["description"]
    assert 'choose "Use JSON input" in the menu beside it' in words


def test_what_is_not_needed_shows_its_default() -> None:
    schema = schema_of(campaign)
    assert schema["required"] == ["spec"]
    found = dict(fields(schema))
    assert (found["AcquisitionSpec.batch"]["default"], found[".node_hours"]["default"]) == (
        10,
        None,
    )
