from __future__ import annotations

from pathlib import Path

import pytest

from leadline.tasks.calculation import Request, Result
from leadline.tasks.engines.compute import compute
from leadline.tasks.plausible import plausible_energies


def test_what_bonds_explain_lies_around_the_elements() -> None:
    low, high = plausible_energies("Cu3Au", {"Cu": -100.0, "Au": -20.0}) or (0.0, 0.0)
    assert (low, high) == pytest.approx((-90.0, -50.0))


def test_nothing_is_said_while_an_element_has_no_energy() -> None:
    assert plausible_energies("Cu3Au", {"Cu": -100.0}) is None


@pytest.mark.parametrize(
    ("expected", "believed"),
    [(None, True), ((-10.0, 30.0), True), ((-100.0, -60.0), False), ((5.0, 45.0), False)],
)
def test_an_energy_that_no_bond_explains_is_no_answer(
    tmp_path: Path, expected: tuple[float, float] | None, believed: bool
) -> None:
    result = _copper(tmp_path, expected)
    assert result.complete == believed
    if not believed:
        assert result.energy is None
        assert result.failure is not None
        assert (result.failure.kind, result.failure.reason) == ("physics", "absurd-energy")
        assert "no bond explains it" in result.failure.message


def _copper(folder: Path, expected: tuple[float, float] | None) -> Result:
    asked = Request(
        calculation="c",
        attempt=1,
        structure_id="s",
        structure={
            "lattice": [[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]],
            "species": ["Cu"],
            "coords": [[0.0, 0.0, 0.0]],
        },
        engine={"name": "emt", "settings": {}},
        recipe={"name": "static", "settings": {}},
        site={},
        folder="",
        expected=expected,
    )
    # As it comes to a worker: by JSON, which knows lists alone.
    plain = asked.to_plain() | {"expected": list(expected) if expected else None}
    return compute(Request.from_plain(plain), folder)
