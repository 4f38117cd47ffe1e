"""Rounds: what was picked and why, and the model that picked it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from mongoengine.errors import NotUniqueError

from leadline.tasks.errors import ConflictError, StoreError
from leadline.tasks.store.base import now, within
from leadline.tasks.store.records import (
    Proposal,
    ProposalState,
    Round,
    StructureRecord,
    SurrogateRecord,
)
from leadline.tasks.store.structures import StructureRecords

_BEFORE = {
    ProposalState.PROPOSED: (ProposalState.PROPOSED,),
    ProposalState.APPROVED: (ProposalState.PROPOSED, ProposalState.APPROVED),
    ProposalState.VETOED: (ProposalState.PROPOSED, ProposalState.APPROVED, ProposalState.VETOED),
    ProposalState.LINKED: (ProposalState.PROPOSED, ProposalState.APPROVED, ProposalState.LINKED),
}


class RoundRecords(StructureRecords):
    """The rounds of the campaigns of a store."""

    def commit_round(
        self,
        round: Round,
        proposals: Sequence[Proposal],
        structures: Sequence[StructureRecord],
        surrogate: SurrogateRecord | None = None,
    ) -> Round:
        """Store a round with all that belongs to it; the round itself comes last, and commits.

        What a driver that died half-way left of this round is replaced.

        Raises
        ------
        ConflictError
            If the round is there already.
        """
        made = replace(round, created=round.created or now())
        key = round_id(round.campaign, round.number)
        with self.step():
            if self.round(round.campaign, round.number) is not None:
                raise ConflictError(_committed(round))
            self.put_structures(structures)
            self._put_proposals(key, proposals)
            if surrogate is not None:
                self._delete(self._documents.surrogates, pk=key)
                self._insert(self._documents.surrogates, surrogate, id=key)
            try:
                self._insert(self._documents.rounds, made, id=key)
            except NotUniqueError:  # another process, on a server
                raise ConflictError(_committed(round)) from None
            self.log(round.campaign, "round.committed", key, {"proposals": len(proposals)})
        return made

    def round(self, campaign: str, number: int) -> Round | None:
        """Return a round, or None."""
        return self._one(self._documents.rounds, Round, round_id(campaign, number))

    def rounds(self, campaign: str) -> list[Round]:
        """Return the rounds of a campaign in their order."""
        return self._find(self._documents.rounds, Round, **within(campaign))

    def update_round(self, campaign: str, number: int, **changes: Any) -> None:
        """Set fields of a round: metrics, hull, ledger, verdict, state, counts, predictions.

        Raises
        ------
        StoreError
            If the round is not there, or a field is none of a round.
        """
        unknown = changes.keys() - {each.name for each in fields(Round)}
        if unknown or not changes:
            raise StoreError(f"a round has no field {', '.join(sorted(unknown))}; see Round")
        query = {"pk": round_id(campaign, number)}
        with self.step():
            if not self._set(self._documents.rounds, query, changes):
                raise StoreError(f"campaign {campaign} has no round {number}; commit it first")
            if "state" in changes:
                self.log(campaign, f"round.{changes['state']}", round_id(campaign, number))

    def proposals(self, campaign: str, round: int | None = None) -> list[Proposal]:
        """Return the proposals of a campaign, or of one round, by round and rank.

        Those of a round that was never committed are none.
        """
        with self._reading():
            committed = {each.number for each in self.rounds(campaign)}
            prefix = campaign if round is None else round_id(campaign, round)
            found = self._find(self._documents.proposals, Proposal, **within(prefix))
        return [each for each in found if each.round in committed]

    def add_proposal(self, proposal: Proposal, structure: StructureRecord) -> None:
        """Store one more proposal of a round that is committed; one that is there is no error."""
        with self.step():
            self.put_structures([structure])
            try:
                self._insert(self._documents.proposals, proposal, id=proposal_id(proposal))
            except NotUniqueError:  # on a server, by a driver that died before it could log it
                return
            self.log(proposal.campaign, "proposal.added", proposal_id(proposal))

    def set_proposal(
        self,
        campaign: str,
        round: int,
        rank: int,
        state: ProposalState,
        calculation: str | None = None,
        verdict: Mapping[str, Any] | None = None,
    ) -> None:
        """Approve, veto or link a proposal; what is there already is no error.

        Raises
        ------
        ConflictError
            If it is vetoed or linked, and cannot become ``state``.
        """
        key = f"{round_id(campaign, round)}:{rank:05d}"
        said = {"state": state, "calculation": calculation, "verdict": verdict}
        changes = {name: value for name, value in said.items() if value is not None}
        with self.step():
            query = {"pk": key, "state__in": _BEFORE[state]}
            if not self._set(self._documents.proposals, query, changes):
                found = self._one(self._documents.proposals, Proposal, key)
                raise ConflictError(
                    f"proposal {key} is {found.state if found else 'not there'}; only one that is "
                    f"{' or '.join(_BEFORE[state])} can become {state}"
                )
            self.log(campaign, f"proposal.{state}", key, {"calculation": calculation})

    def surrogate(self, campaign: str, round: int) -> SurrogateRecord | None:
        """Return the model of a round, or None."""
        key = round_id(campaign, round)
        return self._one(self._documents.surrogates, SurrogateRecord, key)

    def _put_proposals(self, key: str, proposals: Sequence[Proposal]) -> None:
        self._delete(self._documents.proposals, **within(key))
        for proposal in proposals:
            self._insert(self._documents.proposals, proposal, id=proposal_id(proposal))


def _committed(round: Round) -> str:
    return (
        f"round {round.number} of campaign {round.campaign} is committed already; carry on from it"
    )


def round_id(campaign: str, number: int) -> str:
    """Return the id of a round: campaign and number, sorting by number."""
    return f"{campaign}:{number:05d}"


def proposal_id(proposal: Proposal) -> str:
    """Return the id of a proposal: campaign, round, rank, sorting by them."""
    return f"{round_id(proposal.campaign, proposal.round)}:{proposal.rank:05d}"
