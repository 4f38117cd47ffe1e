"""Campaigns: their spec and its versions, their state, and the lease of their driver."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mongoengine.errors import NotUniqueError

from leadline.tasks.errors import ConflictError, LeaseError, StoreError
from leadline.tasks.store.base import StoreBase, now
from leadline.tasks.store.owner import in_words, is_alive, is_gone, restarted_since
from leadline.tasks.store.records import Campaign, CampaignState

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LOOKS = 20
"""How often a silent holder is looked at while it is watched."""


class CampaignRecords(StoreBase):
    """The campaigns of a store."""

    def create_campaign(self, campaign: Campaign) -> Campaign:
        """Store a new campaign, and return it as stored.

        Raises
        ------
        ConflictError
            If there is one of this name.
        StoreError
            If the name is none that a campaign can have.
        """
        if not NAME.fullmatch(campaign.name):
            raise StoreError(
                f"{campaign.name!r} is no name for a campaign; it has 1 to 63 of a-z, 0-9 and -, "
                "and does not begin with -"
            )
        made = replace(campaign, created=campaign.created or now(), server=self._connection.kind)
        with self.step():
            try:
                self._insert(self._documents.campaigns, made)
            except NotUniqueError:
                raise ConflictError(
                    f"there is a campaign {campaign.name} in {self._connection.location}; "
                    "carry it on, or take another name"
                ) from None
            self.log(made.name, "campaign.created", made.name)
        return made

    def campaign(self, name: str) -> Campaign | None:
        """Return a campaign, or None."""
        return self._one(self._documents.campaigns, Campaign, name)

    def campaigns(self) -> list[Campaign]:
        """Return all campaigns by name."""
        return self._find(self._documents.campaigns, Campaign)

    def new_spec_version(
        self,
        name: str,
        spec: Mapping[str, Any],
        reason: str,
        said: Mapping[str, str] | None = None,
        in_flight: Mapping[str, Any] | None = None,
    ) -> Campaign:
        """Put a changed spec in force; the old one joins ``versions``.

        Parameters
        ----------
        name, spec, reason
            Which campaign, its spec from now on, and what changed.
        said
            Who changed it, why and how, where that is known.
        in_flight
            What of the spec was set in flight, from now on; None leaves it as it is.
        """
        with self.step():
            old = self._campaign(name)
            version = {
                "version": len(old.versions) + 1,
                "spec": old.spec,
                "until": now().isoformat(),
                "reason": reason,
                **(said or {}),
            }
            held = old.in_flight if in_flight is None else in_flight
            new = replace(old, spec=spec, versions=(*old.versions, version), in_flight=held)
            self._set_campaign(name, spec=spec, versions=new.versions, in_flight=held)
            self.log(name, "campaign.spec_changed", name, {"reason": reason, **(said or {})})
        return new

    def set_campaign_state(
        self, name: str, state: CampaignState, reason: str, *, owner: str | None = None
    ) -> None:
        """Say what a campaign does now, and why, in plain language.

        Raises
        ------
        LeaseError
            If it is said as ``owner``, and another holds the lease.
        """
        with self.step():
            found = self._campaign(name)
            query = {"pk": name} if owner is None else {"pk": name, "owner": owner}
            fields = {"state": state, "reason": reason}
            if not self._set(self._documents.campaigns, query, fields):
                raise LeaseError(
                    f"campaign {name} is driven by {in_words(found.owner or 'nobody')}, and no "
                    "longer by this driver; it goes on there"
                )
            self.log(name, f"campaign.{state}", name, {"reason": reason})

    def take_lease(self, name: str, owner: str, stale_after_s: float = 60.0) -> None:
        """Make ``owner`` the one driver of a campaign.

        A holder that is proved gone loses its lease at once, and one that is
        proved alive keeps it, however long it sleeps. One that nothing is
        known of and whose last beat is older than ``stale_after_s`` is watched
        for as long by this process's own clock, and loses it if no beat comes:
        clocks of two hosts may differ. So this call may last ``stale_after_s``
        seconds.

        Raises
        ------
        LeaseError
            If another driver holds it: who, and when it last beat.
        """
        held = self._campaign(name)
        if held.owner not in (None, owner) and not self._is_silent(held, stale_after_s):
            raise LeaseError(self._held_in_words(held, stale_after_s))
        query = {"pk": name, "owner": held.owner, "heartbeat": held.heartbeat}
        with self.step():
            if not self._set(
                self._documents.campaigns, query, {"owner": owner, "heartbeat": now()}
            ):
                raise LeaseError(self._held_in_words(self._campaign(name), stale_after_s))
            details = {"owner": owner, "from": held.owner}
            self.log(name, "campaign.lease_taken", name, details)

    def refuse_driven(self, name: str) -> None:
        """Raise LeaseError if a driver that is proved alive holds a campaign; change nothing."""
        held = self.campaign(name)
        if held is not None and held.owner is not None and is_alive(held.owner):
            raise LeaseError(self._held_in_words(held, 0.0))

    def beat(self, name: str, owner: str) -> bool:
        """Show that the driver lives; False if the lease is no longer its own."""
        query = {"pk": name, "owner": owner}
        return self._set(self._documents.campaigns, query, {"heartbeat": now()})

    def release_lease(self, name: str, owner: str) -> None:
        """Give the lease back, if it is still ``owner``'s."""
        with self.step():
            query = {"pk": name, "owner": owner}
            if self._set(self._documents.campaigns, query, {"owner": None, "heartbeat": None}):
                self.log(name, "campaign.lease_released", name, {"owner": owner})

    def _is_silent(self, held: Campaign, stale_after_s: float) -> bool:
        if held.owner is None or held.heartbeat is None:
            return True
        # Another boot may be that of a namesake of this host, which may be alive.
        if is_gone(held.owner) and not restarted_since(held.owner):
            return True
        recent = 0 <= (now() - held.heartbeat).total_seconds() < stale_after_s
        if recent or is_alive(held.owner):
            return False
        end = time.monotonic() + stale_after_s
        while time.monotonic() < end:
            time.sleep(stale_after_s / _LOOKS)
            seen = self._campaign(held.name)
            if (seen.owner, seen.heartbeat) != (held.owner, held.heartbeat):
                return seen.owner is None
        return True

    def _held_in_words(self, held: Campaign, stale_after_s: float) -> str:
        last = "never" if held.heartbeat is None else f"at {held.heartbeat:%Y-%m-%d %H:%M:%S} UTC"
        who = held.owner or "another driver"
        then = (
            "Once it has ended, running again carries the campaign on"
            if is_alive(who)
            else f"Once silent for {stale_after_s:.0f} s it can be taken over by running again"
        )
        return (
            f"campaign {held.name} is driven by {in_words(who)}, which last beat {last}; end it "
            f"or wait. {then}"
        )

    def _campaign(self, name: str) -> Campaign:
        found = self.campaign(name)
        if found is None:
            known = ", ".join(each.name for each in self.campaigns()) or "none"
            raise StoreError(
                f"there is no campaign {name} in {self._connection.location}; there: {known}"
            )
        return found

    def _set_campaign(self, name: str, **fields: Any) -> None:
        self._set(self._documents.campaigns, {"pk": name}, fields)
