"""A campaign whose structures a cheap engine relaxes first, as a person sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leadline.flows.bench import parts_of
from leadline.flows.spec import CampaignSpec
from leadline.tasks.errors import SpecError
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

    Command = Callable[..., Said]

CHEAP = {"name": "emt", "asap_cutoff": True}


def recipe(**prerelax: Any) -> dict[str, Any]:
    return {"name": "relax", "prerelax": {"engine": CHEAP, **prerelax}}


def test_show_says_how_the_cheap_engine_led_the_way(
    command: Command, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(
        recipe=recipe(max_steps=2), stop={"expected_missed": None, "calculations": 2},
        start={"random": 2},
    )  # fmt: skip
    ran = command("run", file)
    assert ran.code == 0, ran.err
    with open_store(None, store, write=False) as opened:
        structures = [each.structure for each in opened.proposals("small")]
    shown = command("show", "small", structures[0][:12]).out
    assert re.search(r"recipe +relax prerelax \(engine \(name emt, asap_cutoff True\), fmax", shown)
    first = r"emt relaxed it first, \d steps? in \d\.\d s, to a largest force of \S+ eV/Å"
    assert re.search(first + r" and a volume [+-]\d+\.\d%", shown)


def test_check_names_the_cheap_engine_and_what_it_lacks(
    command: Command, campaign_file: WriteFile
) -> None:
    good = command("check", campaign_file(recipe=recipe()), "--try-one")
    assert good.code == 0, good.out
    assert re.search(r"ok +prerelax +emt \S+ first; energies are emt's alone", good.out)
    assert re.search(r"ok +prerelax +emt relaxed it first, 1 step in \d", good.out)
    lacking = command(
        "check",
        campaign_file(
            engine={"name": "ase", "calculator": "lj"},
            candidates=[{"source": "prototypes", "elements": ["Cu", "Fe"], "max_atoms": 2}],
            recipe=recipe(),
        ),
    )
    assert lacking.code == 1
    assert "recipe.prerelax.engine: the engine emt lacks Fe" in lacking.out


def test_the_fingerprint_of_the_cheap_engine_is_found_and_pinned() -> None:
    def parts(steps: dict[str, Any]) -> Any:
        source = {"source": "orderings", "lattice": "fcc", "elements": ["Cu"], "max_atoms": 1}
        return parts_of(
            CampaignSpec.model_validate(
                {"name": "a", "candidates": [source], "engine": {"name": "emt"}, "recipe": steps}
            )
        )

    found = parts(recipe())
    fingerprint = found.prerelaxer.fingerprint()
    assert json.loads(found.recipe.settings.model_dump_json())["prerelax"]["fingerprint"] == (
        fingerprint
    )
    assert fingerprint != found.fingerprint
    assert parts(recipe(fingerprint=fingerprint)).recipe.id == found.recipe.id
    with pytest.raises(SpecError, match=r"recipe\.prerelax\.fingerprint: found 'abc', and"):
        parts(recipe(fingerprint="abc"))
