"""The events that campaigns send to Prefect: one table, which automations hold on to.

Every event carries the label ``leadline.campaign``, so that one pattern matches
whatever a campaign says. README and tests compare themselves with the table here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

CAMPAIGN = "leadline.campaign"
"""Label of every event, and first part of a campaign's resource id."""


@dataclass(frozen=True)
class Kind:
    """One word of the vocabulary.

    Parameters
    ----------
    name
        The event's name.
    when
        When it is sent, in words.
    resource
        First part of its resource's id; the thing's own id follows after a dot.
    payload
        Keys of its payload, beside ``campaign``.
    """

    name: str
    when: str
    resource: str
    payload: tuple[str, ...]


_ENDED = ("reason", "computed", "pool", "quarantined", "found", "report")

STABLE = Kind(
    "leadline.structure.stable",
    "a phase, or a candidate past the threshold, is found for the first time",
    "leadline.structure",
    ("formula", "structure", "space_group", "value", "energy_above_hull", "calculation"),
)
STOPPED = Kind("leadline.campaign.stopped", "a stop rule has answered", CAMPAIGN, _ENDED)
RESTING = Kind(
    "leadline.campaign.resting", "a run has ended, and the next one goes on", CAMPAIGN, _ENDED
)
CANCELLED = Kind(
    "leadline.campaign.cancelled", "a person has ended the run at once", CAMPAIGN, _ENDED
)
FAILED = Kind("leadline.campaign.failed", "wrong settings have ended it", CAMPAIGN, _ENDED)
REVIEW = Kind(
    "leadline.review.needed",
    "the picks of a round wait for a person",
    "leadline.round",
    ("round", "picks", "silence"),
)
QUARANTINED = Kind(
    "leadline.calculation.quarantined",
    "a calculation is given up, and waits for a person",
    "leadline.calculation",
    ("formula", "structure", "calculation", "kind", "reason", "message", "attempts"),
)
CLOSED = Kind(
    "leadline.round.closed",
    "all calculations of a round have ended and were assessed",
    "leadline.round",
    ("round", "ended", "done", "quarantined", "found", "expected_missed"),
)
EVENTS = {
    each.name: each
    for each in (STABLE, CLOSED, QUARANTINED, REVIEW, RESTING, STOPPED, CANCELLED, FAILED)
}
"""Every event there is, by its name."""


@dataclass(frozen=True)
class Happening:
    """Something that happened to a campaign, to be told once.

    Parameters
    ----------
    kind
        What it is.
    subject
        Id of the thing that it happened to.
    title
        The thing as people call it.
    payload
        Plain data by the kind's keys.
    turn
        What tells it from an earlier one of the same thing; empty where it
        happens to a thing but once.
    occurred
        When.
    """

    kind: Kind
    subject: str
    title: str
    payload: Mapping[str, Any]
    turn: str = ""
    occurred: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> str:
        """Name by which the store knows that it was told."""
        return ":".join(filter(None, (self.kind.name, self.subject, self.turn)))

    def message(self, campaign: str, created: datetime | None, flow_run: str) -> dict[str, Any]:
        """Return what Prefect's API takes.

        Its id comes from what happened alone: sent twice, it is kept once. Of two
        campaigns of one name the second is told apart by when it was ``created``.
        """
        related = {f"{CAMPAIGN}.{campaign}": "campaign", f"prefect.flow-run.{flow_run}": "flow-run"}
        identity = f"leadline:{campaign}:{created}:{self.key}"
        return {
            "id": str(uuid5(NAMESPACE_URL, identity)),
            "event": self.kind.name,
            "occurred": self.occurred.isoformat(),
            "resource": {
                "prefect.resource.id": f"{self.kind.resource}.{self.subject}",
                "prefect.resource.name": self.title,
                CAMPAIGN: campaign,
            },
            "related": [
                {"prefect.resource.id": each, "prefect.resource.role": role}
                for each, role in related.items()
            ],
            "payload": {"campaign": campaign, **self.payload},
        }
