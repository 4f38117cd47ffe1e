"""A structure that only converges with other physics: named, computed apart, or counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leadline.tasks.store.records import Calculation, CalculationState
from leadline.tasks.store.store import Store, open_store
from leadline.tasks.viewing import CampaignReader

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

SLOSHING = "AuCu2"
KILLED_AFTER_QUARANTINE = """
import os, signal
from leadline.tasks.store.store import Store
whole = Store.quarantine
def quarantine(self, *given, **named):
    whole(self, *given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
Store.quarantine = quarantine
from leadline.flows.cli import main
main()
"""
Command = Callable[..., "Said"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("served")]


def moody(use: str | None, **changes: Any) -> dict[str, Any]:
    """Return a campaign over the ten fcc orderings up to three atoms, three of which slosh."""
    orderings = {"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 3}
    return {
        "candidates": [orderings],
        "engine": {"name": "moody-emt", "sloshes": [SLOSHING]},
        "acquisition": {"batch": 10},
        # All that is asked for shall be found: the lowest of EMT lie wide apart.
        "objective": {"tolerance": "50 meV/atom"},
        "stop": {"expected_missed": None, "calculations": 10},
        **({} if use is None else {"remedies": {"physics": use}}),
        **changes,
    }


def read(store: Store, name: str = "small") -> tuple[CampaignReader, list[Calculation]]:
    """Return a campaign, and all that was computed of the physics' remedies."""
    everything = store.by_state(*CalculationState)
    return CampaignReader.of(store, name), [each for each in everything if each.remedy_of]


def queued(store: Store, calculation: str) -> int:
    kinds = ("calculation.queued", calculation)
    return [(each.kind, each.subject) for each in store.events("small")].count(kinds)


def killed_after_a_quarantine(
    run_script: Run, prefect_api: dict[str, str], file: Path, store: Path
) -> Calculation:
    """Kill a driver between its two writes, and return what it set aside."""
    variables = prefect_api | {"LEADLINE_STORE": str(store)}
    driver = run_script(KILLED_AFTER_QUARANTINE, "run", str(file), **variables)
    said = driver.communicate()
    assert driver.returncode == -9, said
    with open_store(None, store, write=False) as opened:
        reader, remedies = read(opened)
        (aside,) = reader.book.set_aside
    assert aside.remedy is not None
    assert remedies == []
    return aside


def done_once(store: Store, remedies: list[Calculation]) -> bool:
    return (
        len(remedies) == 3
        and {each.state for each in remedies} == {CalculationState.DONE}
        and [len(each.attempts) for each in remedies] == [1, 1, 1]
        and [queued(store, each.id) for each in remedies] == [1, 1, 1]
    )


def test_apart_it_is_a_calculation_of_its_own_that_is_shown_and_counts_nowhere(
    run_script: Run,
    prefect_api: dict[str, str],
    command: Command,
    campaign_file: WriteFile,
    store: Path,
    tmp_path: Path,
) -> None:
    file = campaign_file(**moody("apart"))
    aside = killed_after_a_quarantine(run_script, prefect_api, file, store)
    assert command("run", file).code == 0
    with open_store(None, store, write=False) as opened:
        reader, remedies = read(opened)
        assert done_once(opened, remedies)
        last = max(opened.rounds("small"), key=lambda each: each.number)
        asked = {each.id: each for each in reader.book.own()}
        view = reader.view()
    assert aside.id in {each.remedy_of for each in remedies}
    for each in remedies:
        original = asked[each.remedy_of or ""]
        assert original.state is CalculationState.QUARANTINED
        assert original.structure == each.structure
        assert original.fingerprint != each.fingerprint
        assert each.structure not in reader.book.answers
        assert each.structure not in reader.assessment.above_hull
    structures = {each.structure for each in remedies}
    assert (last.counts["done"], last.counts["quarantined"]) == (5, 3)
    assert not structures & {each["structure"] for each in last.hull}
    assert view.ledger.seconds["remedies"] > 0
    assert {"sloshing"} <= set(view.ledger.wasted)
    shown = command("show", "small", remedies[0].id[:12]).out
    assert f"calculation {remedies[0].id}" in shown
    assert "remedies.physics is apart: its label counts nowhere" in shown
    report = Path(command("report", "small").out.strip().splitlines()[-1]).read_text()
    assert "Beside them, with other physics" in report
    assert "twice the width calms what sloshes" in report
    assert command("export", "small", "--format", "json").code == 0
    rows = json.loads((tmp_path / "small.json").read_text())["rows"]
    assert not structures & {each["structure"] for each in rows}


def test_together_its_label_counts_for_the_structure_and_is_marked_wherever_it_is_shown(
    run_script: Run,
    prefect_api: dict[str, str],
    command: Command,
    campaign_file: WriteFile,
    store: Path,
    tmp_path: Path,
) -> None:
    file = campaign_file(**moody("together"))
    assert "remedies.physics is together" in command("check", file).out
    killed_after_a_quarantine(run_script, prefect_api, file, store)
    said = command("run", file)
    assert said.code == 0, said.err
    with open_store(None, store, write=False) as opened:
        reader, remedies = read(opened)
        assert done_once(opened, remedies)
        view = reader.view()
    assert view.computed == 8
    changed = {each.answer.structure: each.answer.changed for each in reader.assessment.finds}
    structures = {each.structure for each in remedies}
    assert structures <= set(reader.assessment.values)
    assert {changed[each] for each in structures & set(changed)} == {"width 0.2 (0.1)"}
    assert "Cu2Au*" in said.out
    assert "* Cu2Au: with width 0.2 (0.1), unlike the rest of the hull" in said.out
    assert "Cu2Au (with width 0.2 (0.1))" in command("status", "small").out
    shown = command("show", "small", remedies[0].structure[:12]).out
    assert "above the hull, with width 0.2 (0.1)" in shown
    assert "its label counts for the structure" in shown
    report = Path(command("report", "small").out.strip().splitlines()[-1]).read_text()
    assert "<em>with width 0.2 (0.1)</em>" in report
    assert command("export", "small", "--format", "json").code == 0
    rows = json.loads((tmp_path / "small.json").read_text())["rows"]
    marked = {each["structure"]: each["fingerprint"] for each in rows if each["changed"]}
    assert marked == {each.structure: each.fingerprint for each in remedies}


def test_what_is_named_and_not_computed_is_computed_when_the_file_says_so_and_shared(
    command: Command, campaign_file: WriteFile, store: Path
) -> None:
    said = command("run", campaign_file(**moody(None)))
    assert said.code == 0, said.err
    assert "another calculation may converge, with width 0.2 (0.1): twice the width" in said.out
    with open_store(None, store, write=False) as opened:
        reader, remedies = read(opened)
        aside = reader.book.set_aside
        told = [each for each in opened.events("small") if each.kind == "calculation.quarantined"]
    assert remedies == []
    assert len(aside) == len(told) == 3
    assert all("with width 0.2 (0.1): twice the width" in each.details["reason"] for each in told)
    shown = command("show", "small", aside[0].structure[:12]).out
    assert "remedy        width 0.2 (0.1): twice the width calms what sloshes" in shown
    assert "not computed: remedies.physics is never" in shown
    status = command("status", "small").out
    assert "3 calculations with changed physics beside the quarantine (3 not computed)" in status

    refused = command("run", campaign_file(**moody("together")))
    assert refused.code == 2
    assert "remedies.physics: was 'never', is 'together'" in refused.err

    assert command("run", campaign_file(**moody("apart"))).code == 0
    assert command("run", campaign_file("other", **moody("together"))).code == 0
    with open_store(None, store, write=False) as opened:
        first, remedies = read(opened)
        assert done_once(opened, remedies)
        second = CampaignReader.of(opened, "other")
        for each in remedies:
            assert each.structure not in first.book.answers
            assert second.book.answers.by_structure[each.structure].calculation == each.id


def test_a_remedy_that_fails_too_is_set_aside_and_the_campaign_ends(
    command: Command, campaign_file: WriteFile, store: Path
) -> None:
    engine = {"name": "moody-emt", "sloshes": [SLOSHING], "nan": [SLOSHING]}
    said = command("run", campaign_file(**moody("together", engine=engine)))
    assert said.code == 0
    assert "Computed 5 of " in said.out
    assert "; 3 in quarantine." in said.out
    assert "  5 of " in command("status", "small").out
    with open_store(None, store, write=False) as opened:
        reader, remedies = read(opened)
        view = reader.view()
    assert [each.state for each in remedies] == [CalculationState.QUARANTINED] * 3
    assert (view.computed, view.quarantined) == (5, 3)
