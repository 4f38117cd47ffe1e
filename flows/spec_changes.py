"""A campaign meets its file again: harmless changes are a version, others are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leadline.flows.in_flight import Merged, merged
from leadline.flows.packages import package_versions
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_objective import HullObjective, Objective
from leadline.tasks.engines.engine import Engine
from leadline.tasks.errors import SpecChangeError
from leadline.tasks.notebook import Notebook
from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.remedies import use_of
from leadline.tasks.store.records import Calculation, Campaign
from leadline.tasks.store.store import Store


def enrol(store: Store, spec: CampaignSpec, engine: Engine, recipe: Recipe) -> Merged:
    """Create the campaign, or carry it on under a file that may have changed.

    Returns
    -------
    Merged
        What holds: the file, but for what was set in flight.

    Raises
    ------
    SpecChangeError
        If the change would put labels of two kinds into one campaign.
    """
    known = store.campaign(spec.name)
    if known is None:
        plain = spec.model_dump(mode="json")
        store.create_campaign(
            Campaign(spec.name, plain, packages=package_versions(), server=store.kind)
        )
        return Merged(spec, {})
    holds = merged(spec, known)
    plain = holds.spec.model_dump(mode="json")
    if known.spec != plain or known.in_flight != holds.in_flight:
        refuse_mixing(store, known, holds.spec, engine, recipe)
        reason = changed_keys(known.spec, plain)
        store.new_spec_version(spec.name, plain, reason, in_flight=holds.in_flight)
    return holds


def refuse_mixing(
    store: Store, known: Campaign, spec: CampaignSpec, engine: Engine, recipe: Recipe
) -> None:
    """Refuse a spec whose labels would not stand beside those of the campaign.

    Before the first label everything may change: a file that was wrong is mended.
    """
    label = label_of(store, known.name)
    reasons = []
    use, now = use_of(known.spec), spec.remedies.physics
    if label and use != now and "together" in (use, now):
        reasons.append(
            f"remedies.physics: was {use!r}, is {now!r}; with 'together' labels of changed "
            "physics count, and without it they do not. 'never' and 'apart' may take turns"
        )
    if label and label.fingerprint != engine.fingerprint():
        reasons.append(
            f"engine: its fingerprint is {engine.fingerprint()[:12]}, the campaign's results "
            f"have {label.fingerprint[:12]}; energies of different settings do not mix"
        )
    if label and _recipe_of(label) != recipe.id:
        reasons.append(
            f"recipe: is {recipe.id}, the campaign's results were computed by {_recipe_of(label)}"
        )
    before = CampaignSpec.model_validate(known.spec).objective
    if store.rounds(known.name) and _question(before) != _question(spec.objective):
        reasons.append("objective: another kind, property, direction or other references")
    if reasons:
        raise SpecChangeError(
            f"campaign {spec.name!r} cannot go on with this file, which would mix labels:\n  "
            + "\n  ".join(reasons)
            + "\nGive the file another name to start a campaign of its own (finished "
            "calculations are shared), or take the change back"
        )


def label_of(store: Store, name: str) -> Calculation | None:
    """Return the first calculation of the campaign that has a label, or None before that.

    Where a remedy of the physics gave the label, it is the calculation that was set aside:
    it has the campaign's own settings.
    """
    book = Notebook.read(store, name)
    labelled = (each for each in book.proposals if book.answer_of(each))
    return next((book.calculations[each.calculation or ""] for each in labelled), None)


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the keys that differ, as a person reads them."""
    keys = sorted({*before, *after})
    changed = [key for key in keys if before.get(key) != after.get(key)]
    return "changed: " + (", ".join(changed) or "the file, to what was set in flight")


def _recipe_of(label: Calculation) -> str:
    from leadline.tasks.recipes.table import recipe

    return recipe(label.recipe["name"], label.recipe["settings"]).id


def _question(objective: Objective) -> tuple[Any, ...]:
    """What decides the meaning of a label; tolerance and threshold only what counts as found."""
    if isinstance(objective, HullObjective):
        return ("hull", objective.references.model_dump_json())
    return ("property", objective.property, objective.direction)
