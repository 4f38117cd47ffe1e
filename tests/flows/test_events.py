"""The vocabulary of events: one table, which README, automations and code hold on to."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from leadline.flows.events import CAMPAIGN, EVENTS, STABLE, Happening, Kind

ROOT = Path(__file__).parents[2]
AUTOMATIONS = sorted((ROOT / "deploy/automations").glob("*.yaml"))
THEN = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize("kind", EVENTS.values(), ids=list(EVENTS))
def test_the_readme_tells_each_event_as_the_table_does(kind: Kind) -> None:
    payload = ", ".join(f"`{key}`" for key in kind.payload)
    row = f"| `{kind.name}` | {kind.when} | `{kind.resource}.ID` | {payload} |"
    assert row in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_tells_no_event_that_is_not_in_the_table() -> None:
    told = re.findall(r"^\| `(leadline\.[\w.]+)`", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert told == list(EVENTS)


@pytest.mark.parametrize("path", AUTOMATIONS, ids=lambda path: path.stem)
def test_an_example_waits_for_events_that_there_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    waits = list(yaml.safe_load(text)["trigger"]["expect"])
    assert [each for each in waits if each.startswith("leadline.") and each not in EVENTS] == []
    used = set(re.findall(r"event\.payload\.(\w+)", text)) - {"items"}
    known = [{"campaign", *EVENTS[each].payload} for each in waits if each in EVENTS]
    assert all(used <= keys for keys in known)


def found(campaign: str = "cu-au", structure: str = "a" * 64, turn: str = "") -> Happening:
    return Happening(STABLE, structure, "Cu₃Au", {"formula": "Cu3Au"}, turn, THEN)


def test_a_message_can_be_matched_by_its_campaign() -> None:
    message = found().message("cu-au", THEN, "f" * 32)
    assert message["resource"][CAMPAIGN] == "cu-au"
    assert message["resource"]["prefect.resource.id"] == f"leadline.structure.{'a' * 64}"
    assert message["payload"] == {"campaign": "cu-au", "formula": "Cu3Au"}
    roles = {each["prefect.resource.role"] for each in message["related"]}
    assert roles == {"campaign", "flow-run"}


def test_what_is_told_twice_has_one_id_and_what_happened_twice_has_two() -> None:
    ids = [
        found().message("cu-au", THEN, "first run")["id"],
        found().message("cu-au", THEN, "second run")["id"],
        found(turn="2").message("cu-au", THEN, "first run")["id"],
        found(structure="b" * 64).message("cu-au", THEN, "first run")["id"],
        found().message("cu-pd", THEN, "first run")["id"],
        found().message("cu-au", datetime(2027, 1, 1, tzinfo=UTC), "first run")["id"],
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 5
