"""Campaigns from their first line to their last, in this process, with real engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedStructureEntry

from leadline.flows.campaign import campaign
from leadline.flows.spec import CampaignSpec
from leadline.tasks.store.records import CalculationState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

pytestmark = pytest.mark.usefixtures("served")
Command = Callable[..., "Said"]


def test_from_python_a_campaign_returns_what_it_found(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    monkeypatch.setenv("LEADLINE_STORE", str(store))
    summary = campaign(
        CampaignSpec.model_validate(
            {
                "name": "python",
                "candidates": [
                    {
                        "source": "orderings",
                        "lattice": "fcc",
                        "elements": ["Cu", "Au"],
                        "max_atoms": 3,
                    }
                ],
                "engine": {"name": "emt"},
                "start": {"random": 3},
                "acquisition": {"batch": 3},
                "stop": {"expected_missed": None, "calculations": 6},
                "compute": {"workers": 2},
            }
        )
    )
    assert summary.state == "stopped"
    assert (summary.computed, summary.pool, summary.failed) == (6, 10, 0)
    assert all(isinstance(each, ComputedStructureEntry) for each in summary.entries)
    assert {"Cu", "Au"} <= {each.composition.reduced_formula for each in summary.entries}
    assert len(summary.structures()) == len(summary.entries)


@pytest.mark.slow
def test_a_campaign_finds_the_stiffest_alloy(
    command: Command, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(
        objective={"kind": "property", "property": "bulk_modulus", "direction": "maximise"},
        candidates=[
            {"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Pt"], "max_atoms": 3}
        ],
        recipe={"name": "equation_of_state"},
        start={"random": 3},
        acquisition={"batch": 2},
        stop={"expected_missed": None, "calculations": 7},
    )
    ran = command("run", file)
    assert ran.code == 0, ran.err
    (best,) = json.loads(command("status", "small", "--json").out)["found"]
    shown = command("show", "small", best["structure"][:12]).out
    assert f"bulk_modulus           {best['value']:.6g} GPa" in shown
    # The stiffer element has no stiffer alloy, and 7 of 10 calculations find it.
    assert best["formula"] == "Pt"
    with open_store(None, store, write=False) as opened:
        answers = opened.by_state(CalculationState.DONE)
    assert max(each.properties["bulk_modulus"] for each in answers) == best["value"]


def test_a_campaign_is_run_told_shown_reported_and_exported(
    command: Command, campaign_file: WriteFile, tmp_path: Path
) -> None:
    file = campaign_file(recipe={"name": "relax", "fmax": 0.1})
    ran = command("run", file)
    assert ran.code == 0, ran.err
    assert "Stopped: " in ran.out
    status: dict[str, Any] = json.loads(command("status", "small", "--json").out)
    assert (status["state"], status["computed"], status["pool"]) == ("stopped", 12, 29)
    assert status["found"]
    assert command("status").out.startswith("small: stopped")
    assert " rounds; 0 running" in command("status").out
    _is_shown(command, status["found"][0])
    _is_shown_by_number_and_in_any_order(command, status["found"][0])
    page = tmp_path / "page.html"
    assert command("report", "small", "--out", page).code == 0
    assert page.read_text().startswith("<!doctype html>")
    for format_, ending in (("extxyz", ".extxyz"), ("ase-db", ".db"), ("json", ".json")):
        said = command("export", "small", "--format", format_)
        assert said.out == f"Wrote 14 calculations to small{ending}\n"
        assert (tmp_path / f"small{ending}").stat().st_size > 0
    _is_replaced_by_force_alone(command, tmp_path / "small.json")
    assert command("export", "small", "--format", "cif", "--out", "cifs").code == 0
    assert len(list((tmp_path / "cifs").glob("*.cif"))) == 14
    again = command("run", file)
    assert (again.code, "Stopped: " in again.out) == (0, True)


def _is_shown_by_number_and_in_any_order(command: Command, found: dict[str, Any]) -> None:
    by_number = command("show", "small", "1").out
    assert f"structure     {found['structure']}" in by_number
    assert "has proposed no structure" in command("show", "small", "99").err
    amounts = Composition(found["formula"]).get_el_amt_dict()
    backwards = "".join(f"{each}{int(amounts[each]) * 2}" for each in reversed(amounts))
    shown = command("show", "small", backwards)
    assert (shown.code, found["structure"][:12] in shown.out) == (0, True), shown
    assert "1 atoms" not in command("show", "small", "Cu").out


def _is_replaced_by_force_alone(command: Command, path: Path) -> None:
    path.write_text("mine")
    refused = command("export", "small", "--format", "json")
    assert refused.code == 2
    assert f"{path.name} is there already; --force replaces it" in refused.err
    assert path.read_text() == "mine"
    assert command("export", "small", "--format", "json", "--force").code == 0
    assert path.read_text() != "mine"


def test_a_search_that_finds_nothing_says_how_far_the_lowest_was(
    command: Command, campaign_file: WriteFile
) -> None:
    immiscible = {"source": "orderings", "lattice": "fcc", "elements": ["Ag", "Cu"], "max_atoms": 2}
    stop = {"expected_missed": None, "calculations": 1}
    file = campaign_file(candidates=[immiscible], start={"random": 1}, stop=stop)
    ran = command("run", file)
    assert ran.code == 0, ran.err
    assert (
        "Nothing found yet: no candidate that was computed has a negative formation energy; "
        "the lowest, "
    ) in ran.out
    assert "meV/atom above the hull, and up to 1 counts as found." in ran.out


def _is_shown(command: Command, found: dict[str, Any]) -> None:
    by_structure = command("show", "small", found["structure"][:8]).out
    calculation = next(
        line.split()[1] for line in by_structure.splitlines() if line.startswith("  calculation")
    )
    assert command("show", "small", calculation[:10]).out == by_structure
    assert found["structure"][:12] in command("show", "small", found["formula"]).out
    unknown = command("show", "small", "Fe7")
    assert (unknown.code, "no structure with id or formula 'Fe7'" in unknown.err) == (2, True)


def test_a_run_goes_as_far_as_its_limits_and_the_next_goes_on(
    command: Command, campaign_file: WriteFile
) -> None:
    file = campaign_file()
    first = command("run", file, "--calculations", 5)
    assert "Resting: This run's 5 calculations are done." in first.out
    assert _state(command)["computed"] == 3  # beside the two elements
    none = command("run", file, "--hours", 1e-6)
    assert "Another calculation would not end within this run's 1e-06 hours" in none.out
    assert _state(command)["computed"] == 3
    assert "Stopped: " in command("run", file).out
    assert (_state(command)["state"], _state(command)["computed"]) == ("stopped", 12)


def test_an_energy_that_is_no_number_sets_the_structure_aside_and_the_campaign_goes_on(
    command: Command, campaign_file: WriteFile
) -> None:
    moody = {"name": "moody-emt", "nan": ["AuCu3"], "fails": ["AuCu"]}
    said = command(
        "run",
        campaign_file(
            engine=moody,
            candidates=[
                {
                    "source": "orderings",
                    "lattice": "fcc",
                    "elements": ["Cu", "Au"],
                    "max_atoms": 3,
                },
                {
                    "source": "prototypes",
                    "elements": ["Cu", "Au"],
                    "names": ["AB3_cP4_221_a_c"],
                },
            ],
        ),
    )
    assert said.code == 0, said.err
    assert "Task run" not in said.err
    failures = {each["reason"] for each in _state(command)["failures"]}
    assert failures == {"not-finite", "moody-emt-failed"}
    shown = command("show", "small", "CuAu").out
    assert "physics: moody-emt-failed: AuCu does not converge with care 2" in shown
    assert shown.count("attempt 3: failed (changed, after moody-emt-failed)") == 2


def test_a_configuration_error_stops_the_campaign_with_the_engines_words(
    command: Command, campaign_file: WriteFile
) -> None:
    moody = {"name": "moody-emt", "refuses": ["Cu"]}
    said = command("run", campaign_file(engine=moody))
    assert said.code == 2
    assert "leadline: settings: moody-emt has no parameters for Cu: install them" in said.err
    assert "Traceback" not in said.out + said.err
    status = _state(command)
    assert status["state"] == "failed"
    assert "moody-emt has no parameters for Cu" in status["reason"]


def _state(command: Command) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(command("status", "small", "--json").out)
    return status
