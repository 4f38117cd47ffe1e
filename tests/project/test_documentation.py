"""Every command, option and key is in the README, and nothing is in it that is not there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

from leadline.flows.cli import app
from leadline.flows.spec import CampaignSpec
from leadline.surrogate.acquisition import ACQUISITIONS
from leadline.surrogate.descriptors.table import DESCRIPTORS
from leadline.tasks.candidates.table import SOURCES
from leadline.tasks.engines.table import ENGINES
from leadline.tasks.recipes.table import RECIPES
from leadline.tasks.settings import Named
from leadline.tasks.tables import named

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def section(title: str) -> str:
    """Return the text under a heading, to the next one of its level."""
    match = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^\1 |\Z)", README, re.M | re.S)
    assert match, f"the README has no section {title!r}"
    return match[2]


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the paths of all keys of a section and of what stands in it, with their defaults."""
    for name, field in model.model_fields.items():
        inner = [each for each in models_in(field.annotation) if not issubclass(each, Named)]
        for each in inner:
            yield from keys_of(each, f"{prefix}{name}.")
        if not inner:
            yield f"{prefix}{name}", field.default


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from models_in(each)


def rows() -> dict[str, str]:
    """Return the default that the README gives to each key."""
    found = re.findall(r"^\| `([\w.]+)` \| ([^|]*?) *\|", section("Campaign file"), re.M)
    return dict(found)


@pytest.mark.parametrize("key", sorted({key for key, _ in keys_of(CampaignSpec)}))
def test_every_key_of_a_campaign_file_has_its_row(key: str) -> None:
    assert key in rows()


@pytest.mark.parametrize(
    ("key", "default"),
    [
        (key, default)
        for key, default in keys_of(CampaignSpec)
        if isinstance(default, (bool, int, float, str)) and default != ""
    ],
)
def test_the_default_of_a_key_is_the_one_in_its_row(key: str, default: object) -> None:
    number, _, unit = rows()[key].partition(" ")
    given = yaml.safe_load(number)
    if isinstance(default, float):
        given = float(given) * {"": 1.0, "meV/atom": 1e-3}[unit]
    assert given == default


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_described_with_its_options(name: str) -> None:
    text = section("Commands")
    assert f"`leadline {name}" in text
    options = {flag for each in COMMANDS[name].params for flag in each.opts if flag[:2] == "--"}
    assert sorted(flag for flag in options if f"`{flag}" not in text) == []


def tables() -> Mapping[str, Mapping[str, object]]:
    return {
        "sources": SOURCES,
        "engines": ENGINES,
        "recipes": RECIPES,
        "descriptors": DESCRIPTORS,
        "acquisitions": ACQUISITIONS,
    }


@pytest.mark.parametrize("table", sorted(tables()))
def test_everything_that_can_be_named_is_named(table: str) -> None:
    text = section("Campaign file")
    assert [name for name in tables()[table] if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(named("name", name, table, "none").Settings, id=name)
        for table in (SOURCES, ENGINES, RECIPES)
        for name in table
    ],
)
def test_every_setting_of_what_is_named_is_described(settings: type[BaseModel]) -> None:
    text = section("Campaign file")
    assert [name for name in settings.model_fields if f"`{name}`" not in text] == []


def shown_commands() -> Iterator[str]:
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*$", "", line)
            if command.startswith("leadline "):
                yield command


@pytest.mark.parametrize("command", sorted(set(shown_commands())))
def test_every_command_shown_is_one_that_leadline_takes(command: str) -> None:
    _, name, *words = shlex.split(command)
    COMMANDS[name].make_context(name, words)


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", README, re.M | re.S))
def test_every_yaml_shown_parses(block: str) -> None:
    assert isinstance(yaml.safe_load(block), (dict, list))


def test_the_two_commands_are_targets_of_the_makefile_and_run_in_ci() -> None:
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci/run").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, re.M)
        assert re.search(rf"\bmake {target}\b", ci)


def test_every_picture_and_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
