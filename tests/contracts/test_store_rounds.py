"""The laws of structures, rounds and proposals, on every store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sample_records import kinds, proposal, structure

from leadline.tasks.errors import ConflictError, StoreError
from leadline.tasks.store.records import ArtefactRef, ProposalState, Round, SurrogateRecord
from leadline.tasks.store.store import Store


def test_a_structure_is_stored_once_and_found_by_what_it_is(store: Store) -> None:
    one, two = structure("a1"), structure("a2", formula="Cu3Au", chemical_system="Au-Cu", sites=4)
    assert store.put_structures([one, two, one]) == 2
    assert store.put_structures([replace(one, formula="changed")]) == 0
    assert store.structure("a1") == one
    assert store.structures(["a2", "a1", "a3"]) == {"a1": one, "a2": two}
    assert store.structures_of(chemical_system="Au-Cu") == [two]
    assert store.structures_of(formula="Cu", sites=1) == [one]
    assert store.structures_of(formula="Cu", sites=2) == []
    assert store.structure("a3") is None


def test_structures_are_related(store: Store) -> None:
    store.put_structures([structure("a1")])
    store.relate("a1", same_as="a0")
    store.relate("a1", relaxed_to="a9", left_prototype="strained by 0.2")
    expected = structure("a1", same_as="a0", relaxed_to="a9", left_prototype="strained by 0.2")
    assert store.structure("a1") == expected
    with pytest.raises(StoreError, match="no structure a2"):
        store.relate("a2", same_as="a1")


def commit(store: Store, number: int = 1, picks: int = 3) -> Round:
    made = Round("cu-au", number, {"pool": 100}, {"rmse": None, "crps": 0.25}, ({"id": "s1"},))
    ranks = range(picks)
    model = SurrogateRecord("cu-au", number, {"noise": 1e-6}, "d", 10, {"rmse": 0.1}, ("jitter",))
    return store.commit_round(
        made, [proposal(number, k) for k in ranks], [structure(f"s{k}") for k in ranks], model
    )


def test_a_round_comes_back_with_all_that_belongs_to_it(store: Store) -> None:
    made = [commit(store, number, picks=12) for number in (0, 1, 2, 10)]
    assert store.rounds("cu-au") == made
    assert store.round("cu-au", 10) == made[3]
    assert store.proposals("cu-au", 10) == [proposal(10, rank) for rank in range(12)]
    assert [(each.round, each.rank) for each in store.proposals("cu-au")] == [
        (number, rank) for number in (0, 1, 2, 10) for rank in range(12)
    ]
    assert len(store.structures_of()) == 12
    model = store.surrogate("cu-au", 2)
    assert model is not None
    assert (model.training_size, model.notes) == (10, ("jitter",))
    assert store.surrogate("cu-au", 3) is None
    assert store.rounds("cu") == []
    assert store.proposals("cu") == []


def test_a_round_is_committed_once(store: Store) -> None:
    commit(store)
    with pytest.raises(ConflictError, match="round 1 of campaign cu-au is committed already"):
        commit(store, picks=5)
    assert len(store.proposals("cu-au")) == 3


def test_a_round_that_was_not_committed_left_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = store._insert

    def die_at_the_round(document: Any, record: Any, **more: Any) -> None:
        if isinstance(record, Round):
            raise KeyboardInterrupt
        insert(document, record, **more)

    monkeypatch.setattr(store, "_insert", die_at_the_round)
    with pytest.raises(KeyboardInterrupt):
        commit(store, picks=5)
    monkeypatch.undo()
    assert store.rounds("cu-au") == []
    assert store.proposals("cu-au") == store.proposals("cu-au", 1) == []
    commit(store, picks=2)
    assert [each.rank for each in store.proposals("cu-au")] == [0, 1]


def test_fields_of_a_round_are_updated(store: Store) -> None:
    commit(store)
    ref = ArtefactRef("0" * 64, 3, "application/x-npz")
    store.update_round("cu-au", 1, state="assessed", hull=({"id": "s2", "x": (0.5,)},), verdict={})
    store.update_round("cu-au", 1, predictions=ref, ledger={"wall": 2.5})
    found = store.round("cu-au", 1)
    assert found is not None
    assert (found.state, found.verdict, found.ledger) == ("assessed", {}, {"wall": 2.5})
    assert (found.predictions, found.counts) == (ref, {"pool": 100})
    assert kinds(store) == ["round.committed", "round.assessed"]
    with pytest.raises(StoreError, match="no field colour"):
        store.update_round("cu-au", 1, colour="red")
    with pytest.raises(StoreError, match="no round 7"):
        store.update_round("cu-au", 7, state="assessed")


def test_a_pick_is_added_to_a_round_that_is_committed_once(store: Store) -> None:
    commit(store)
    more = replace(proposal(1, 3), state=ProposalState.APPROVED, verdict={"by": "ada"})
    for _ in range(2):  # as a driver does that died before it could say that it had
        store.add_proposal(more, structure("s3"))
    assert store.proposals("cu-au", 1)[3:] == [more]
    assert store.structure("s3") == structure("s3")
    assert kinds(store).count("proposal.added") == 1


def test_a_proposal_moves_forward_alone(store: Store) -> None:
    commit(store)
    store.set_proposal("cu-au", 1, 0, ProposalState.APPROVED, verdict={"by": "ada"})
    store.set_proposal("cu-au", 1, 0, ProposalState.LINKED, calculation="c1")
    store.set_proposal("cu-au", 1, 0, ProposalState.LINKED, calculation="c1")
    store.set_proposal("cu-au", 1, 1, ProposalState.VETOED, verdict={"by": "ada", "why": "toxic"})
    with pytest.raises(ConflictError, match="is vetoed; only one that is"):
        store.set_proposal("cu-au", 1, 1, ProposalState.LINKED, calculation="c1")
    with pytest.raises(ConflictError, match="is not there"):
        store.set_proposal("cu-au", 1, 9, ProposalState.LINKED)
    first, second, third = store.proposals("cu-au", 1)
    assert (first.state, first.calculation, first.verdict) == ("linked", "c1", {"by": "ada"})
    assert (second.state, second.calculation) == ("vetoed", None)
    assert third == proposal(1, 2)
