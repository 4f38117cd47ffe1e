"""Remedies that change the physics: what is kept of them, and what a campaign makes of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.engine import EngineSettings, EngineSite, PhysicsRemedy
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.notebook import Notebook
from leadline.tasks.recording import calculation_of
from leadline.tasks.remedies import (
    changed_words,
    named_remedy,
    remedy_calculation,
    remedy_words,
    use_of,
)
from leadline.tasks.store.records import Calculation, CalculationState, Proposal

if TYPE_CHECKING:
    from tests.tasks.conftest import Records

State = CalculationState
SCF = Failure(FailureKind.PHYSICS, "scf", "it did not converge")


class WideSettings(EngineSettings):
    width: float = 0.1
    incar: Mapping[str, Any] = {}
    care: int = 0


class Wide(EmtEngine):
    """Proposes twice the width."""

    path_keys: ClassVar[frozenset[str]] = frozenset({"care"})
    Settings: ClassVar[type[WideSettings]] = WideSettings  # type: ignore[assignment]
    settings: WideSettings  # type: ignore[assignment]
    proposes: ClassVar[Mapping[str, Any]] = {"width": 0.2}

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy | None:
        return PhysicsRemedy(self.proposes, "wider is calmer") if failure.reason == "scf" else None


class Senseless(Wide):
    """Advises what its own settings refuse."""

    proposes: ClassVar[Mapping[str, Any]] = {"width": "very wide"}


class Careful(Wide):
    """Takes a path key for physics."""

    proposes: ClassVar[Mapping[str, Any]] = {"care": 1}


def asked(records: Records, engine: EmtEngine | None = None) -> Calculation:
    """Return the calculation of a crystal by the wide engine."""
    structure = records.record(records.crystal("Cu Cu Au Au")).id
    engine = engine or Wide({"incar": {"ISMEAR": -5, "ENCUT": 400}}, EngineSite())
    return calculation_of(structure, engine, records.recipe, engine.fingerprint(), "test")


def test_what_is_kept_makes_the_calculation_that_a_campaign_of_those_settings_asks_for(
    records: Records,
) -> None:
    engine, original = Wide({}, EngineSite()), asked(records, Wide({}, EngineSite()))
    named = named_remedy(engine, records.recipe, original, SCF)
    assert named is not None
    queued = remedy_calculation(replace(original, remedy=named), "test")
    theirs = asked(records, Wide({"width": 0.2}, EngineSite()))
    assert queued == replace(theirs, remedy_of=original.id)
    assert queued.fingerprint != original.fingerprint
    assert named_remedy(engine, records.recipe, original, replace(SCF, reason="overlap")) is None


def test_a_remedy_of_the_physics_that_is_none_is_an_error_of_its_engine(records: Records) -> None:
    engine = Careful({}, EngineSite())
    with pytest.raises(ConfigurationError, match="leaves its fingerprint as it is"):
        named_remedy(engine, records.recipe, asked(records, engine), SCF)


def test_advice_that_no_campaign_file_could_say_is_none(records: Records) -> None:
    engine = Senseless({}, EngineSite())
    assert named_remedy(engine, records.recipe, asked(records, engine), SCF) is None


def test_it_is_told_by_what_differs(records: Records) -> None:
    changes = {"incar": {"ISMEAR": 0, "SIGMA": 0.05, "ENCUT": 400}, "width": 0.2}
    record = replace(asked(records), remedy={"changes": changes, "why": "wider is calmer"})
    words = "ISMEAR 0 (-5), SIGMA 0.05 (not set), width 0.2 (0.1)"
    assert changed_words(record) == words
    assert remedy_words(record) == f"{words}: wider is calmer"
    assert (changed_words(asked(records)), remedy_words(asked(records))) == ("", "")


def test_a_spec_of_before_the_key_computes_none() -> None:
    assert use_of({"name": "old"}) == "never"
    assert use_of({"remedies": {"physics": "apart"}}) == "apart"


def set_aside(records: Records, use: str) -> tuple[Proposal, Proposal, Calculation]:
    """Return a pick that is in quarantine, one that waits, and the first one's remedy, queued."""
    store = records.store
    store.new_spec_version("test", {"remedies": {"physics": use}}, reason="test")
    records.engine = Wide({}, EngineSite())
    pick, other = records.round(
        records.crystal("Cu Cu Au Au"), records.crystal("Cu Au Au Au"), share="random"
    )
    assert pick.calculation is not None
    _fail(records, pick.calculation)
    original = records.now(pick)
    remedy = named_remedy(records.engine, records.recipe, original, SCF)
    store.quarantine(original.id, "physics: scf", remedy)
    (queued,) = store.ensure_calculations([remedy_calculation(records.now(pick), "test")])
    return pick, other, queued


def _fail(records: Records, calculation: str) -> None:
    attempt = records.store.claim(calculation, "driver")
    assert attempt is not None
    records.store.fail(calculation, attempt.number, SCF, State.FAILED)


def answered(records: Records, pick: Proposal, remedy: Calculation, energy: float) -> None:
    records.done(replace(pick, calculation=remedy.id), energy)


@pytest.mark.parametrize(
    ("use", "carried", "ended", "pending", "state"),
    [
        ("never", 1, 1, 1, State.QUARANTINED),
        ("apart", 2, 1, 1, State.QUARANTINED),
        ("together", 2, 0, 2, State.QUEUED),
    ],
)
def test_a_remedy_is_carried_and_settles_its_structure_where_the_spec_says_so(
    records: Records, use: str, carried: int, ended: int, pending: int, state: CalculationState
) -> None:
    pick, other, remedy = set_aside(records, use)
    book = Notebook.read(records.store, "test")
    rows = {pick.structure: 0, other.structure: 1}
    assert book.remedy(pick) == remedy
    assert len(book.unended) == carried
    assert (book.ended, len(book.pending(rows)), book.closed(rows)) == (ended, pending, [0, 1])
    assert book.count(state) == (2 if state is State.QUEUED else 1)
    assert book.waits(pick, {each.id for each in book.unended}) == (use != "never")


@pytest.mark.parametrize("use", ["never", "apart", "together"])
def test_its_answer_counts_together_alone(records: Records, use: str) -> None:
    pick, other, remedy = set_aside(records, use)
    answered(records, pick, remedy, -3.6)
    records.done(other, -3.3)
    book = Notebook.read(records.store, "test")
    counts = use == "together"
    assert (pick.structure in book.answers) == counts
    assert (book.ended, book.count(State.DONE)) == (2, 2 if counts else 1)
    assert book.nth() == (
        {pick.structure: 1, other.structure: 2} if counts else {other.structure: 1}
    )
    if counts:
        found = book.answers.by_structure[pick.structure]
        assert (found.calculation, found.changed) == (remedy.id, "width 0.2 (0.1)")
        assert found.energy == pytest.approx(-3.6)
    assert book.is_apart(remedy) != counts
    assert book.unended == []


def test_the_own_answer_of_a_structure_goes_before_that_of_a_remedy(records: Records) -> None:
    pick, _, remedy = set_aside(records, "together")
    answered(records, pick, remedy, -3.6)
    records.store.retry(pick.calculation or "", "a person", "mended")
    book = Notebook.read(records.store, "test")
    assert book.answers.by_structure[pick.structure].calculation == remedy.id
    records.done(pick, -3.5)
    for known in (book, Notebook.read(records.store, "test")):
        known.take_in(records.now(pick))
        found = known.answers.by_structure[pick.structure]
        assert (found.calculation, found.changed) == (pick.calculation, "")


def test_a_structure_that_is_tried_again_by_its_own_settings_needs_no_remedy(
    records: Records,
) -> None:
    pick, other, remedy = set_aside(records, "apart")
    records.store.retry(pick.calculation or "", "a person", "mended")
    book = Notebook.read(records.store, "test")
    assert {each.id for each in book.unended} == {pick.calculation, other.calculation}
    assert remedy.id in book.calculations


def test_what_is_asked_anew_with_other_settings_forgets_the_remedies_of_before(
    records: Records,
) -> None:
    _, _, remedy = set_aside(records, "apart")
    book = Notebook.read(records.store, "test")
    fingerprint = records.engine.fingerprint()
    book.unlink(records.recipe.id, fingerprint)
    assert remedy.id in book.calculations
    book.unlink(records.recipe.id, "another fingerprint")
    assert book.calculations == {}
    assert all(each.calculation is None for each in book.proposals)
