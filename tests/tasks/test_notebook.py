"""What a campaign knows, read from its records: proposals, answers, what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from leadline.tasks.assess import assess
from leadline.tasks.judge import Judge
from leadline.tasks.metrics import barren_rounds, prequential, surprises
from leadline.tasks.notebook import Notebook
from leadline.tasks.problem import HullProblem, PropertyProblem
from leadline.tasks.store.records import CalculationState
from leadline.tasks.structures import structure_id
from leadline.tasks.training import training_set

if TYPE_CHECKING:
    from tests.tasks.conftest import Records

HULL = HullProblem(0.001)
ELEMENTS = ("Au", "Cu")


def alloys(records: Records) -> Notebook:
    """Elements, then CuAu on the hull, CuAu3 0.02 above it, Cu3Au failed, another CuAu queued."""
    gold, copper = records.round(
        records.crystal("Au Au Au Au"), records.crystal("Cu Cu Cu Cu"), share="reference"
    )
    records.done(gold, -3.0)
    records.done(copper, -4.0)
    layered, poor, rich, _ = records.round(
        records.crystal("Cu Au Au Cu"),
        records.crystal("Cu Au Au Au"),
        records.crystal("Cu Cu Cu Au"),
        records.crystal("Cu Cu Au Au", a=4.0),
    )
    records.done(poor, -3.25 - 0.04 + 0.02)
    records.done(layered, -3.5 - 0.08)
    records.failed(rich)
    return Notebook.read(records.store, "test")


def test_what_was_asked_and_what_came_of_it(records: Records) -> None:
    book = alloys(records)
    assert [len(book.proposals), len(book.picks), len(book.answers)] == [6, 4, 4]
    assert (book.ended, book.count(CalculationState.DONE)) == (3, 2)
    assert book.count(CalculationState.QUARANTINED, CalculationState.QUEUED) == 2
    assert [each.state for each in book.unended] == [CalculationState.QUEUED]
    assert book.unlinked == []
    assert [answer.formula for answer in book.answers] == ["Au", "Cu", "CuAu3", "CuAu"]


def test_answers_are_numbered_in_the_order_in_which_they_came(records: Records) -> None:
    book = alloys(records)
    layered, poor = book.picks[0], book.picks[1]
    assert book.nth() == {poor.structure: 1, layered.structure: 2}


def test_rows_that_are_asked_for_are_closed_and_those_that_wait_are_pending(
    records: Records,
) -> None:
    book = alloys(records)
    rows = {each.structure: row for row, each in enumerate(book.picks)}
    assert book.closed(rows) == [0, 1, 2, 3]
    assert book.pending(rows) == [3]
    assert book.failed(rows) == [2]


def test_a_live_notebook_is_what_a_resumed_driver_reads(records: Records) -> None:
    book = alloys(records)
    live = Notebook()
    for number in range(records.rounds):
        mine = [each for each in book.proposals if each.round == number]
        live.add(mine, [book.structures[each.structure] for each in mine])
    for record in sorted(book.calculations.values(), key=lambda each: each.times.get("end", 0.0)):
        live.take_in(record)
    assert live == book
    late = Notebook(proposals=book.proposals, structures=book.structures)
    for record in reversed(book.calculations.values()):
        late.take_in(record)
    assert late.nth() == book.nth()


def test_formation_energies_and_the_hull(records: Records) -> None:
    book = alloys(records)
    found = assess(book.answers, HULL, ELEMENTS)
    layered, poor = book.picks[0].structure, book.picks[1].structure
    assert found.references == {"Au": -3.0, "Cu": -4.0}
    assert found.values[layered] == pytest.approx(-0.08)
    assert found.above_hull[poor] == pytest.approx(0.02)
    (find,) = found.finds
    assert (find.answer.structure, find.energy_above_hull) == (layered, 0.0)


def test_a_lower_polymorph_moves_every_formation_energy(records: Records) -> None:
    alloys(records)
    (other,) = records.round(records.crystal("Cu Cu Cu Cu", a=3.0))
    records.done(other, -4.1)
    found = assess(Notebook.read(records.store, "test").answers, HULL, ELEMENTS)
    assert found.references["Cu"] == -4.1
    assert sorted(found.values.values())[0] == pytest.approx(-0.03)


def test_while_an_element_has_no_energy_nothing_is_claimed(records: Records) -> None:
    (gold,) = records.round(records.crystal("Au Au Au Au"), share="reference")
    records.done(gold, -3.0)
    book = Notebook.read(records.store, "test")
    found = assess(book.answers, HULL, ELEMENTS)
    assert (found.values, found.finds, found.references) == ({}, (), {"Au": -3.0})
    given = assess(book.answers, HULL, ELEMENTS, {"Au": -2.9, "Cu": -4.0})
    assert list(given.values.values()) == pytest.approx([-0.1])


def test_one_phase_counts_once_however_many_structures_relax_to_it(records: Records) -> None:
    alloys(records)
    (twin,) = records.round(records.crystal("Au Cu Cu Au", a=3.81))
    book = Notebook.read(records.store, "test")
    phase = book.picks[0].structure
    records.store.relate(twin.structure, relaxed_to=phase)
    records.done(twin, -3.5 - 0.08)
    found = assess(Notebook.read(records.store, "test").answers, HULL, ELEMENTS)
    assert [find.answer.phase for find in found.finds] == [phase]


def test_a_property_is_found_past_its_threshold_best_first(records: Records) -> None:
    picks = records.round(records.crystal("Cu Au Au Cu"), records.crystal("Cu Cu Cu Au"))
    for pick, stiffness in zip(picks, (170.0, 180.0), strict=True):
        records.done(pick, -3.0, stiffness=stiffness)
    answers = Notebook.read(records.store, "test").answers
    stiff = PropertyProblem("stiffness", "maximise", 160.0)
    assert [find.value for find in assess(answers, stiff, ELEMENTS).finds] == [180.0, 170.0]
    best = PropertyProblem("stiffness", "maximise")
    assert [find.value for find in assess(answers, best, ELEMENTS).finds] == [180.0]
    absent = PropertyProblem("softness")
    assert assess(answers, absent, ELEMENTS).finds == ()


def test_a_label_that_left_its_prototype_trains_nothing(records: Records) -> None:
    book = alloys(records)
    rows = {each.structure: row for row, each in enumerate(book.picks)}
    assessment = assess(book.answers, HULL, ELEMENTS)
    training = training_set(book.answers, assessment, rows)
    assert training.pool_index.tolist() == [1, 0]
    np.testing.assert_allclose(training.y, [-0.02, -0.08])
    records.store.relate(book.picks[1].structure, left_prototype="strained")
    book = Notebook.read(records.store, "test")
    assert training_set(book.answers, assessment, rows).pool_index.tolist() == [0]


def test_predictions_made_before_the_answer_are_scored(records: Records) -> None:
    alloys(records)
    picks = records.round(
        records.crystal("Au Cu Au Au"), records.crystal("Au Au Cu Au"), mean=-0.02, sd=0.01
    )
    for pick in picks:
        records.done(pick, -3.25 - 0.03)
    records.store.relate(picks[1].structure, left_prototype="strained")
    book = Notebook.read(records.store, "test")
    values = assess(book.answers, HULL, ELEMENTS).values
    metrics = prequential(book, values)
    assert metrics["count"] == 1
    assert metrics["mae"] == pytest.approx(0.01)
    np.testing.assert_allclose(surprises(book, values), [-1.0])
    assert prequential(Notebook(), {}) == {"count": 0}
    assert surprises(Notebook(), {}).shape == (0,)


def test_rounds_without_discovery_are_counted_by_answers_since_the_last_find(
    records: Records,
) -> None:
    book = alloys(records)
    finds = assess(book.answers, HULL, ELEMENTS).finds
    assert barren_rounds(book, finds, batch=1) == 1
    assert barren_rounds(book, (), batch=1) == 3
    assert barren_rounds(book, (), batch=2) == 1


def test_the_first_to_relax_to_a_phase_is_the_phase_and_later_ones_relate_to_it(
    records: Records,
) -> None:
    judge = Judge(records.store)
    relaxed = records.crystal("Cu Au Au Cu", a=3.9)
    first, second = records.crystal("Cu Au Au Cu", a=3.8), records.crystal("Au Cu Cu Au", a=3.7)
    records.store.put_structures([records.record(first), records.record(second)])
    judge.settle(records.record(first), records.plain(relaxed))
    judge.settle(records.record(second), records.plain(records.crystal("Au Cu Cu Au", a=3.9)))
    kept = records.store.structures([structure_id(first), structure_id(second)])
    assert kept[structure_id(first)].relaxed_to is None
    assert kept[structure_id(second)].relaxed_to == structure_id(first)
    resumed = Judge(records.store)
    resumed.knows(structure_id(first), records.plain(relaxed))
    third = records.crystal("Cu Cu Au Au", a=3.6)
    records.store.put_structures([records.record(third)])
    resumed.settle(records.record(third), records.plain(records.crystal("Cu Cu Au Au", a=3.9)))
    (found,) = records.store.structures([structure_id(third)]).values()
    assert found.relaxed_to == structure_id(first)


def test_what_relaxes_far_from_its_start_is_marked(records: Records) -> None:
    cell = records.crystal("Cu Au Au Cu")
    records.store.put_structures([records.record(cell)])
    sheared = cell.copy()
    sheared.apply_strain([0.4, 0.0, 0.0])
    Judge(records.store).settle(records.record(cell), records.plain(sheared))
    (found,) = records.store.structures([structure_id(cell)]).values()
    assert found.left_prototype is not None
    assert found.left_prototype.startswith("the cell is strained by")
