"""A hull of energies with a Hubbard U needs references that somebody corrected."""

from __future__ import annotations

from typing import Any

import pytest

from leadline.flows.bench import parts_of
from leadline.flows.spec import CampaignSpec
from leadline.tasks.errors import SpecError

WITH_U = {"name": "gpaw", "cutoff": 400, "kspacing": 0.3, "setups": {"Ni": ":d,6.0"}}


def spec(engine: dict[str, Any], references: dict[str, Any]) -> CampaignSpec:
    return CampaignSpec.model_validate(
        {
            "name": "ni-al",
            "objective": {"kind": "hull", "references": references},
            "candidates": [
                {"source": "orderings", "lattice": "fcc", "elements": ["Ni", "Al"], "max_atoms": 2}
            ],
            "engine": engine,
            "recipe": {"name": "static"},
        }
    )


def test_a_hull_with_u_is_refused_where_the_engine_computes_the_elements() -> None:
    with pytest.raises(SpecError, match=r"objective\.references\.kind: .*Hubbard U"):
        parts_of(spec(WITH_U, {"kind": "computed"}))


@pytest.mark.parametrize(
    ("engine", "references"),
    [
        (WITH_U, {"kind": "values", "values": {"Ni": -5.5, "Al": -3.7}}),
        ({**WITH_U, "setups": {"Ni": "paw"}}, {"kind": "computed"}),
    ],
)
def test_given_references_or_no_u_are_welcome(
    engine: dict[str, Any], references: dict[str, Any]
) -> None:
    assert parts_of(spec(engine, references)).engine.name == "gpaw"
