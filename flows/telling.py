"""`leadline status` and `leadline show`: what the store knows, in plain words."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pymatgen.core import Composition

from leadline.flows.held_jobs import held_jobs
from leadline.flows.steering import steered, steering_lines, verdict_words
from leadline.flows.store_of import open_for, store_folder
from leadline.tasks.compute.attempt_files import attempt_folder
from leadline.tasks.compute.job_notes import JobNote, job_notes
from leadline.tasks.compute.profile import load_profile
from leadline.tasks.compute.queue_settings import JOBS
from leadline.tasks.compute.right_sizing import asked_in_words
from leadline.tasks.drivers import owners_of_runs
from leadline.tasks.errors import InputError, ProfileError
from leadline.tasks.recipes.recipe import UNITS
from leadline.tasks.remedies import remedy_words
from leadline.tasks.report.formatting import counted, duration, size
from leadline.tasks.report.summary import request_words
from leadline.tasks.requested import Requested
from leadline.tasks.store.owner import in_words, is_gone
from leadline.tasks.store.records import (
    Attempt,
    Calculation,
    Campaign,
    CampaignState,
    Proposal,
    ProposalState,
    StructureRecord,
)
from leadline.tasks.store.store import Store
from leadline.tasks.trial import prerelaxation
from leadline.tasks.viewing import CampaignReader, is_driven, known_campaign

SHORTEST = 4
"""Characters of an id at least; a number with fewer digits is that of a find."""
MANY = 3
"""More structures than this are listed by a line each."""


def status_words(name: str | None) -> str:
    """Return where a campaign stands, or all of them, for a person."""
    with open_for(write=False) as store:
        names = [name] if name else [each.name for each in store.campaigns()]
        if not names:
            return f"No campaign in {store.location} yet. `leadline init NAME` writes a file."
        return "\n\n".join(_words(_status(store, each)) for each in names)


def status_json(name: str | None) -> str:
    """Return the same for a program: one object, or a list of all."""
    with open_for(write=False) as store:
        if name:
            return json.dumps(_status(store, name), indent=2)
        return json.dumps([_status(store, each.name) for each in store.campaigns()], indent=2)


def show_words(name: str, wanted: str) -> str:
    """Return what is known of the structures or calculations that ``wanted`` names.

    Raises
    ------
    InputError
        If nothing of the campaign has that id or formula.
    """
    with open_for(write=False) as store:
        reader = CampaignReader.of(store, name)
        found = [each for each in reader.book.proposals if _meant(reader, each, wanted)]
        if not found:
            raise InputError(
                f"campaign {name!r} has {counted(len(reader.assessment.finds), 'find')}, and has "
                f"proposed no structure with id or formula {wanted!r}; "
                "the report and `leadline export` list what it has"
            )
        if len(found) > MANY:
            return _listed(reader, found, wanted)
        return "\n\n".join(_shown(reader, each) for each in found)


def _status(store: Store, name: str) -> dict[str, Any]:
    campaign = known_campaign(store, name)
    reader = CampaignReader.of(store, name)
    view = reader.view()
    killed = campaign.state is CampaignState.RUNNING and not is_driven(campaign)
    return {
        "name": name,
        "state": "interrupted" if killed else str(campaign.state),
        "reason": "its run was killed; `leadline run` carries it on" if killed else campaign.reason,
        "owner": campaign.owner if campaign.state is CampaignState.RUNNING else None,
        "store": f"{store.kind} in {store.location}",
        "rounds": len(view.rounds),
        "pool": view.pool_size,
        "computed": view.computed,
        "running": view.running,
        "waiting": view.waiting + view.failed,
        "quarantined": view.quarantined,
        "found": [
            {
                "formula": each.formula,
                "structure": each.structure,
                "value": each.value,
                "energy_above_hull": each.energy_above_hull,
                "calculation": each.nth,
                "changed": each.changed,
            }
            for each in view.phases
        ],
        "expected_missed": view.rounds[-1].expected_missed if view.rounds else None,
        "held_jobs": held_jobs(reader),
        "requested": view.ledger.requested and asdict(view.ledger.requested),
        "failures": [
            {"structure": each.structure, "kind": each.kind, "reason": each.reason}
            for each in view.failures
        ],
        "left_jobs": [
            {"job": each.job, "queue": each.queue, "driver": in_words(each.owner)}
            for each in _left_jobs(store, campaign)
        ],
        "remedies": [
            {
                "structure": each.structure,
                "of": each.original,
                "calculation": each.calculation,
                "state": each.state,
                "words": each.words,
                "energy_per_atom": each.energy,
                "counts": each.counts,
            }
            for each in view.remedies
        ],
        **steered(store, campaign),
    }


def _left_jobs(store: Store, campaign: Campaign) -> list[JobNote]:
    """Return the batch jobs of drivers that drive this campaign no longer."""
    former = set(owners_of_runs(store, campaign.name).values())
    if campaign.owner is not None and not is_gone(campaign.owner):
        former.discard(campaign.owner)
    profile = campaign.spec.get("compute", {}).get("profile", "local")
    try:
        named = load_profile(profile).calculations
    except ProfileError:  # the profile of another machine
        named = None
    folder = (named or store_folder() / "calculations") / JOBS
    return [each for each in job_notes(folder) if each.owner in former]


def _words(status: Mapping[str, Any]) -> str:
    missed, requested = status["expected_missed"], status["requested"]
    lines = [
        f"{status['name']}: {status['state']}",
        f"  {status['reason']}" if status["reason"] else "",
        f"  {status['computed']} of {status['pool']} candidates computed in "
        f"{counted(status['rounds'], 'round')}; {status['running']} running, "
        f"{status['waiting']} waiting, {status['quarantined']} in quarantine",
        f"  found: {', '.join(map(_found_words, status['found'])) or 'nothing yet'}",
        *_remedies_words(status["remedies"]),
        f"  expected to be missing: {missed:.2f}" if missed is not None else "",
        *(f"  batch job {job} is held: {why}" for job, why in status["held_jobs"].items()),
        f"  {request_words(Requested(**requested))}" if requested else "",
        *(
            f"  batch job {each['job']} of {each['queue'] or 'a queue not known'} may still be "
            f"there: its driver was {each['driver']}"
            for each in status["left_jobs"]
        ),
        *steering_lines(status),
        f"  store: {status['store']}",
    ]
    return "\n".join(line for line in lines if line)


def _found_words(found: Mapping[str, Any]) -> str:
    changed = f" (with {found['changed']})" if found["changed"] else ""
    return f"{found['formula']}{changed}"


def _remedies_words(remedies: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Say what stands beside those in quarantine."""
    if not remedies:
        return
    states = Counter(str(each["state"]) for each in remedies)
    listed = ", ".join(f"{number} {state}" for state, number in states.items())
    named = counted(len(remedies), "calculation")
    counts = "counts" if any(each["counts"] for each in remedies) else "counts nowhere"
    yield f"  remedies: {named} with changed physics beside the quarantine ({listed}); {counts}"


def _meant(reader: CampaignReader, proposal: Proposal, wanted: str) -> bool:
    if len(wanted) < SHORTEST and wanted.isdecimal():
        return proposal.structure == _find(reader, int(wanted))
    if reader.book.structures[proposal.structure].formula == _reduced(wanted):
        return True
    remedy = reader.book.remedy(proposal)
    ids = (proposal.structure, proposal.calculation or "", remedy.id if remedy else "")
    return len(wanted) >= SHORTEST and any(each.startswith(wanted) for each in ids)


def _find(reader: CampaignReader, number: int) -> str | None:
    """Return the structure of a find by its place in the table that a run ends with."""
    finds = reader.assessment.finds
    return finds[number - 1].answer.structure if 0 < number <= len(finds) else None


def _reduced(wanted: str) -> str:
    """Return a formula as records have it, in whatever order or multiple it was written."""
    try:
        return str(Composition(wanted).reduced_formula)
    except ValueError:  # no formula, but perhaps an id
        return wanted


def _listed(reader: CampaignReader, found: Sequence[Proposal], wanted: str) -> str:
    """Return one line for each of many structures, the closest to the hull first."""
    assessment, book = reader.assessment, reader.book

    def line(proposal: Proposal) -> str:
        structure = book.structures[proposal.structure]
        record, answer = book.deciding(proposal), book.answer_of(proposal)
        value, above = (
            each.get(record.structure if record else "")
            for each in (assessment.values, assessment.above_hull)
        )
        told = "" if value is None else f"{value:10.5f}"
        told += "" if above is None else f"{above * 1e3:9.2f} meV/atom above the hull"
        told += f" with {answer.changed}" if answer and answer.changed else ""
        unqueued = "vetoed" if proposal.state is ProposalState.VETOED else "not queued"
        state = record.state if record else unqueued
        atoms = counted(structure.sites, "atom")
        round_ = f"round {proposal.round:<3} {state:<11} {told}".rstrip()
        return f"  {structure.id[:12]}  {structure.space_group:<10} {atoms:>9}  {round_}"

    ordered = sorted(found, key=lambda each: assessment.above_hull.get(each.structure, math.inf))
    tell = f"`leadline show {reader.campaign.name} ID` tells all of one"
    return "\n".join([f"{len(found)} structures are {wanted}; {tell}:", *map(line, ordered)])


def _shown(reader: CampaignReader, proposal: Proposal) -> str:
    structure = reader.book.structures[proposal.structure]
    record = reader.book.own_of(proposal)
    lines = [
        f"{structure.formula}  {structure.space_group}  {counted(structure.sites, 'atom')}",
        f"  structure     {structure.id}",
        f"  from          {_pairs(structure.provenance)}",
        *_relations(structure),
        *_why(reader, proposal),
        *(_calculation(reader, record) if record else [f"  {_not_computed(proposal)}"]),
        *_remedy(reader, proposal),
    ]
    return "\n".join(lines)


def _not_computed(proposal: Proposal) -> str:
    """Say why a pick has no calculation."""
    if proposal.state is not ProposalState.VETOED:
        return "not queued yet"
    why = (proposal.verdict or {}).get("why")
    return "not computed: vetoed" + (f" ({why})" if why else "")


def _relations(structure: StructureRecord) -> Iterable[str]:
    if structure.same_as:
        yield f"  same as       {structure.same_as}"
    if structure.relaxed_to:
        yield f"  relaxed to    {structure.relaxed_to}"
    if structure.left_prototype:
        yield f"  left its prototype: {structure.left_prototype}"


def _why(reader: CampaignReader, proposal: Proposal) -> Iterable[str]:
    why = proposal.why
    yield f"  picked        round {proposal.round}, rank {proposal.rank + 1}: {why['words']}"
    if proposal.verdict:
        yield f"  review        {verdict_words(proposal)}"
    if why.get("mean") is not None:
        yield f"  predicted     {why['mean']:.5f} ± {why['sd']:.5f}, score {why['score']:.4g}"
    if expected := _expected(why):
        yield f"  expected      {expected}"
    for each in why.get("neighbours") or ():
        near = f"{each['id'][:12]} at {each['distance']:.3g}"
        answer = reader.book.answers.by_structure.get(each["id"])
        changed = f" with {answer.changed}" if answer and answer.changed else ""
        yield f"  near          {near}, known {each['value']:.5f}{changed}"


def _expected(why: Mapping[str, Any]) -> str:
    """Return what was expected of a pick's calculation besides its answer; or ''."""
    cost, risk = why.get("expected_cost"), why.get("failure_probability")
    said = [
        "" if cost is None else f"{duration(cost)} at most in nine of ten",
        "" if risk is None else f"no answer with probability {risk:.2f}",
    ]
    return ", ".join(each for each in said if each)


def _calculation(reader: CampaignReader, record: Calculation) -> Iterable[str]:
    yield f"  calculation   {record.id}"
    yield f"  engine        {record.engine['name']}, fingerprint {record.fingerprint[:12]}"
    yield f"  recipe        {record.recipe['name']} {_pairs(record.recipe['settings'])}"
    yield f"  state         {record.state}"
    if record.energy is not None:
        yield f"  energy        {record.energy:.6f} eV in {counted(record.steps, 'ionic step')}"
    yield from _value(reader, record.structure)
    for name, number in record.properties.items():
        yield f"  {name:<22} {number:.6g} {UNITS.get(name, '')}".rstrip()
    if record.moments:
        yield f"  moments       {', '.join(f'{each:.2f}' for each in record.moments)} μB"
    if record.used.get("memory"):
        yield f"  memory        {size(record.used['memory'])} at the peak"
    yield from _attempts(record)


def _value(reader: CampaignReader, structure: str) -> Iterable[str]:
    value = reader.assessment.values.get(structure)
    above = reader.assessment.above_hull.get(structure)
    answer = reader.book.answers.by_structure.get(structure)
    changed = f", with {answer.changed}" if answer and answer.changed else ""
    if above is not None and value is not None:
        words = f"{value:.5f} eV/atom, {above * 1e3:.2f} meV/atom above the hull"
        yield f"  formation     {words}{changed}"
    elif value is not None:
        yield f"  value         {value:.6g}{changed}"


def _remedy(reader: CampaignReader, proposal: Proposal) -> Iterable[str]:
    """Tell of the calculation with changed physics beside one in quarantine."""
    own, record = reader.book.own_of(proposal), reader.book.remedy(proposal)
    if own is None or own.remedy is None:
        return
    yield f"  remedy        {remedy_words(own)}"
    use = reader.book.remedies
    if record is None:
        asked = "not computed" if use == "never" else "not queued yet"
        yield f"    {asked}: remedies.physics is {use}"
        return
    counts = (
        "its label counts for the structure" if use == "together" else "its label counts nowhere"
    )
    yield f"    calculation {record.id}, fingerprint {record.fingerprint[:12]}: {record.state}"
    yield f"    remedies.physics is {use}: {counts}"
    if record.energy is not None:
        yield f"    energy {record.energy:.6f} eV in {counted(record.steps, 'ionic step')}"
    yield from (f"  {line}" for line in _attempts(record))


def _attempts(record: Calculation) -> Iterable[str]:
    for attempt in record.attempts:
        where = attempt.where.get("host", "")
        took = f", {attempt.times['wall']:.1f} s" if attempt.times.get("wall") else ""
        yield f"  attempt {attempt.number}: {attempt.state} ({attempt.reason}) {where}{took}"
        if attempt.asked:
            yield f"    {asked_in_words(attempt)}"
        if attempt.prerelaxed:
            yield f"    {prerelaxation(attempt.prerelaxed)}{_whose(attempt)}"
        if begun := attempt.continued_from:
            yield f"    went on from step {begun['step']} of attempt {begun['attempt']}"
        if attempt.changes:
            yield f"    changed {_pairs(attempt.changes)}"
        if attempt.failure:
            failure = attempt.failure
            yield f"    {failure['kind']}: {failure['reason']}: {failure['message']}"
            if folder := attempt.where.get("folder"):
                yield f"    files in {attempt_folder(Path(folder), attempt.number)}"


def _whose(attempt: Attempt) -> str:
    """Say that an earlier attempt had relaxed the start already."""
    earlier = (attempt.prerelaxed or {}).get("attempt")
    return "" if earlier == attempt.number else f" (for attempt {earlier})"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} ({_pairs(value)})" if isinstance(value, Mapping) else f"{key} {value}"
        for key, value in values.items()
    )
