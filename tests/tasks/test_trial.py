"""What one calculation says of a campaign: its doubts, and what the campaign may cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from leadline.tasks.problem import HullProblem, PropertyProblem
from leadline.tasks.recipes.table import recipe
from leadline.tasks.store.records import Calculation
from leadline.tasks.trial import cost, doubts, evidence, lacking, prerelaxation, spent

RELAXED = {
    "energy_per_atom": -3.5,
    "largest_force": 0.004,
    "residual_pressure": 0.02,
    "largest_stress": 0.03,
}


def calculation(properties: Mapping[str, float] = RELAXED, wall: float = 10.0) -> Calculation:
    return Calculation(
        id="c",
        structure="s",
        engine={},
        recipe={},
        fingerprint="f",
        properties=properties,
        times={"wall": wall},
        used={"memory": 2.5e8, "cores": 4},
    )


def doubted(name: str, settings: dict[str, Any] | None = None, **properties: float) -> str:
    record = calculation({**RELAXED, **properties})
    return "; ".join(doubts(record, recipe(name, settings or {})))


def test_what_a_calculation_took_and_how_it_converged_is_said_with_units() -> None:
    record = calculation({**RELAXED, "scf_residual": 2e-8})
    assert spent(record) == "10 s on 4 cores, 250 MB of memory at the peak"
    assert evidence(record) == (
        "largest force 0.004 eV/Å, pressure 0.02 GPa, largest stress 0.03 GPa, "
        "SCF residual 2e-08 eV"
    )


def test_a_record_of_before_says_what_it_knows() -> None:
    old = Calculation("c", "s", {}, {}, "f", times={"wall": 3.0})
    assert spent(old) == "3.0 s on 1 core"
    assert evidence(old) == ""


def test_a_well_relaxed_cell_raises_no_doubt() -> None:
    assert doubted("relax") == ""
    assert doubted("relax+static", fresh_basis_change=2e-4) == ""
    assert doubted("static") == ""


@pytest.mark.parametrize(
    ("name", "settings", "properties", "words"),
    [
        ("static", {}, {"residual_pressure": -5.2}, "under -5.2 GPa"),
        ("relax", {"cell": False}, {"residual_pressure": 3.0}, "the cell stays as it was built"),
        ("static", {}, {"largest_force": 0.4}, "pulled by up to 0.4 eV/Å"),
        ("relax+static", {}, {"largest_stress": 2.0}, "2 GPa are left"),
        ("relax+static", {}, {"fresh_basis_change": -0.004}, "changed by 4 meV/atom"),
    ],
)
def test_what_a_person_of_experience_would_ask_is_asked(
    name: str, settings: dict[str, Any], properties: dict[str, float], words: str
) -> None:
    assert words in doubted(name, settings, **properties)


def test_a_property_that_the_calculation_does_not_give_is_named_with_those_it_gives() -> None:
    record = calculation()
    assert lacking(record, HullProblem(0.001)) == ""
    assert lacking(record, PropertyProblem("largest_force")) == ""
    words = lacking(record, PropertyProblem("bulk_modulus"))
    assert "'bulk_modulus'" in words
    assert "energy_per_atom, largest_force" in words


def test_the_cost_grows_with_the_atoms_or_with_their_cube() -> None:
    pool = np.array([2, 4, 8, 8])
    whole = cost(calculation(wall=3600.0), 2, pool, None)
    assert whole.calculations == 4
    assert whole.linear == pytest.approx(4 * (1 + 2 + 4 + 4))
    assert whole.cubic == pytest.approx(4 * (1 + 8 + 64 + 64))
    assert whole.largest == 64 * 3600
    half = cost(calculation(wall=3600.0), 2, pool, 2)
    assert (half.linear, half.cubic) == (whole.linear / 2, whole.cubic / 2)
    assert "about 44 to 548 core hours for 4 calculations" in whole.words()
    assert "as N or as N^3" in whole.words()


def test_no_more_is_counted_than_the_pool_holds() -> None:
    assert cost(calculation(), 2, np.array([2, 2]), 100).calculations == 2


def test_what_a_cheap_engine_did_first_is_said_whatever_became_of_it() -> None:
    begun = {
        "engine": "emt", "attempt": 1, "end": "converged", "why": "", "steps": 7,
        "seconds": 3.0, "largest_force": 0.0812, "volume_change": -0.043,
    }  # fmt: skip
    led = "emt relaxed it first, 7 steps in 3.0 s, to a largest force of 0.081 eV/Å and a volume "
    assert prerelaxation(begun) == led + "-4.3%"
    ended = {**begun, "end": "unfinished", "why": "out of steps"}
    assert prerelaxation(ended).endswith(
        "; not converged, begun with the best geometry: out of steps"
    )
    failed = {"engine": "emt", "end": "dropped", "why": "it crashed", "steps": 0, "seconds": 0.1}
    assert prerelaxation(failed) == (
        "emt relaxed it first, 0 steps in 0.1 s; dropped, begun with the structure as it was: "
        "it crashed"
    )
