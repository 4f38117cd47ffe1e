"""What of a campaign may change while it runs, and how such a change and the file get on.

What was set in flight holds over the file as long as the file says what it said then: a run
with the old file takes nothing back. A key that the file changes later is the newer word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import spec_from
from leadline.tasks.errors import InputError, SpecError
from leadline.tasks.quantities import written_time
from leadline.tasks.settings import shown
from leadline.tasks.store.records import Campaign

MAY_CHANGE = {
    "acquisition.batch": "picks of a round",
    "compute.workers": "calculations at once",
    "review": "a section or null; review.silence and review.after, too",
    "stop.calculations": "calculations at most",
    "stop.expected_missed": "finds expected to be missing",
    "stop.hours": "wall time of all runs",
    "stop.node_hours": "node-hours of engines",
    "stop.rounds_without_discovery": "rounds in a row that found nothing new",
}
"""The keys that a running campaign takes over, and what they mean."""
_IN_REVIEW = ("review.silence", "review.after")
_TIMES = ("review.after", "stop.hours")


@dataclass(frozen=True)
class Merged:
    """A campaign file, with what was set in flight over it.

    Parameters
    ----------
    spec
        What holds.
    in_flight
        What of it was set in flight and still differs from the file.
    words
        What a person should know: a sentence for each key where the two differ.
    """

    spec: CampaignSpec
    in_flight: Mapping[str, Any]
    words: tuple[str, ...] = ()


def with_changes(spec: CampaignSpec, changes: Mapping[str, Any]) -> CampaignSpec:
    """Return a spec with other values of some keys that may change in flight.

    Raises
    ------
    SpecError
        If a key may not change, or a value is not allowed; each line says which.
    """
    refused = [_refused(key) for key in changes if key not in {*MAY_CHANGE, *_IN_REVIEW}]
    if refused:
        raise SpecError("\n".join([*refused, _what_may()]))
    plain = spec.model_dump(mode="json")
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if name and plain[section] is None:
            raise SpecError(
                f"{key}: there is no review; switch it on by 'review={{silence: approve, "
                "after: 12 h}'"
            )
        plain[section] = {**plain[section], name: value} if name else value
    return spec_from(plain, f"campaign {spec.name} with this change")


def set_over(
    campaign: Campaign, changes: Mapping[str, Any], said: Mapping[str, str], at: str
) -> tuple[CampaignSpec, dict[str, Any]]:
    """Return the spec of a campaign with changes in flight, and what then is set in flight.

    Parameters
    ----------
    campaign, changes
        Its record, and new values by key.
    said
        Who changes it, why and how.
    at
        When it was asked, in words.

    Raises
    ------
    SpecError
        As of :func:`with_changes`.
    """
    before = CampaignSpec.model_validate(campaign.spec)
    after = with_changes(before, changes)
    in_flight = dict(campaign.in_flight)
    for key in dict.fromkeys("review" if each in _IN_REVIEW else each for each in changes):
        file = in_flight.get(key, {}).get("file", value_of(before, key))
        in_flight[key] = {"value": value_of(after, key), "file": file, "at": at, **said}
        if in_flight[key]["value"] == file:  # taken back: the file and the campaign agree again
            del in_flight[key]
    return after, in_flight


def merged(file: CampaignSpec, campaign: Campaign) -> Merged:
    """Return what holds of a file and of what was set in flight since it was last read."""
    plain, kept, words = file.model_dump(mode="json"), {}, []
    for key, held in campaign.in_flight.items():
        now = value_of(file, key)
        if now == held["value"]:
            continue  # the file has taken it over
        held_words, now_words = _said(held["value"], key), _said(now, key)
        who = f"set by {held['by']} at {held['at']}" + (f" ({held['why']})" if held["why"] else "")
        if now == held["file"]:
            section, _, name = key.partition(".")
            plain[section] = {**plain[section], name: held["value"]} if name else held["value"]
            kept[key] = held
            words.append(
                f"{key} is {held_words}, {who}, and not {now_words} as in the file. "
                f"To keep it, write it there; to take it back: leadline set {campaign.name} "
                f"'{key}={now_words}'"
            )
        else:
            words.append(
                f"{key} is {now_words} by the file, which changed since {held_words} was {who}"
            )
    return Merged(CampaignSpec.model_validate(plain), kept, tuple(words))


def value_of(spec: CampaignSpec, key: str) -> Any:
    """Return the value of a key that may change in flight, as JSON has it."""
    section, _, name = key.partition(".")
    found = spec.model_dump(mode="json")[section]
    return found[name] if name else found


def changed_words(changes: Mapping[str, Any]) -> str:
    """Return changes as a person reads them."""
    return ", ".join(f"{key} = {_said(value, key)}" for key, value in changes.items())


def _refused(key: str) -> str:
    return f"{key}: cannot change while the campaign goes on"


def _what_may() -> str:
    may = ", ".join(sorted({*MAY_CHANGE, *_IN_REVIEW}))
    return (
        f"may change: {may}. All else stands in the campaign file: end the run (`leadline cancel "
        "NAME --rest`), change the file, and `leadline run FILE` says whether the campaign can go "
        "on with it"
    )


def _said(value: Any, key: str) -> str:
    if isinstance(value, Mapping):
        inner = (f"{name}: {_said(each, f'{key}.{name}')}" for name, each in value.items())
        return "{" + ", ".join(inner) + "}"
    if key in _TIMES and isinstance(value, (int, float)):
        return written_time(value)
    return "null" if value is None else shown(value).strip("'")


def readable(changes: Any) -> dict[str, Any]:
    """Return the changes of a message.

    Raises
    ------
    InputError
        If they are none.
    """
    if not isinstance(changes, Mapping) or not changes:
        raise InputError(f"found {shown(changes)}; allowed: new values by key")
    return dict(changes)
