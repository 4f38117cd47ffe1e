"""`leadline check`: can a campaign run, before the first node-hour is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from leadline.flows.bench import Parts, parts_of
from leadline.flows.findings import Findings, Say
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_changes import refuse_mixing
from leadline.flows.store_of import open_for, store_folder
from leadline.flows.trying import try_one_candidate
from leadline.surrogate.errors import LeadlineError
from leadline.tasks.candidates.features import alike_words, pool_features
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.compute.cluster import Cluster, check_shared_folder, open_cluster
from leadline.tasks.compute.profile import Profile
from leadline.tasks.compute.queue_settings import JOBS, QueueCluster
from leadline.tasks.report.formatting import counted
from leadline.tasks.store.store import Store

MOST_DESCRIBED = 2000
"""Candidates that are described within seconds; of larger pools the report says it."""


def check_campaign(spec: CampaignSpec, *, try_one: bool, say: Say) -> bool:
    """Check everything that a campaign needs and say what was found.

    Returns
    -------
    bool
        True if it can run; what fails is said with what to do about it.
    """
    found = Findings(say)
    parts = _parts(found, spec)
    if parts is None:
        return False
    file = _candidates(found, parts)
    if file is not None:
        _features(found, parts, file)
    _engine(found, parts, file)
    with nullcontext() if try_one else _left_as_it_was(parts.root):
        with suppress(LeadlineError):
            _store_and_cluster(found, parts, file if try_one else None)
        _learning(found, parts.learns_on, parts.root, try_one=try_one)
    say("It can run." if found.good else "It cannot run yet.")
    return found.good


@contextmanager
def _left_as_it_was(root: Path) -> Iterator[None]:
    """Remove at the end the folders, down to that of batch jobs, which were not there before."""
    jobs = root / JOBS
    new = [each for each in (jobs, *jobs.parents) if not each.exists()]
    try:
        yield
    finally:
        for each in new:
            with suppress(OSError):  # somebody else may use it by now
                each.rmdir()


def check_without_store(spec: CampaignSpec, say: Say) -> bool:
    """Check keys, profile and engine alone, in the same words: beside campaigns that work.

    Returns
    -------
    bool
        True if nothing was found that is wrong.
    """
    found = Findings(say)
    parts = _parts(found, spec)
    if parts is not None:
        _engine(found, parts, None)
    return found.good


def _parts(found: Findings, spec: CampaignSpec) -> Parts | None:
    found.say(f"Campaign {spec.name}")
    found.fine("file", "every key is known and every value allowed")
    try:
        parts = parts_of(spec)
    except LeadlineError as error:
        found.bad("profile", error)
        return None
    found.fine("profile", _profile_words(parts))
    return parts


def _profile_words(parts: Parts) -> str:
    lives = (
        "engines go on when the driver ends"
        if parts.profile.outlives_driver
        else "engines end with the driver and run again with the next run"
    )
    return f"{parts.profile.name}: {parts.profile.cluster.kind} cluster; {lives}"


def _candidates(found: Findings, parts: Parts) -> PoolFile | None:
    try:
        file = parts.built(store_folder())
    except LeadlineError as error:
        found.bad("candidates", error)
        return None
    found.fine("candidates", file.report.words())
    if dropped := sum(file.report.dropped.values()):
        share = f"{dropped} of {dropped + len(file)} structures were dropped"
        found.hint("candidates", f"{share}; the reasons stand above. Are these the ones you meant?")
    budget = parts.spec.stop.calculations
    if budget is not None and budget > len(file):
        found.hint(
            "budget",
            f"stop.calculations is {budget}, the pool holds {len(file)}: the campaign ends when "
            "all are computed",
        )
    return file


def _features(found: Findings, parts: Parts, file: PoolFile) -> None:
    """Say what describes the candidates, and whether it tells them apart."""
    try:
        chosen, reason = parts.descriptor(file)
        found.fine("features", reason)
        if len(file) > MOST_DESCRIBED:
            return
        pool, _ = pool_features(file, chosen, store_folder() / "features")
    except LeadlineError as error:
        found.bad("features", error)
        return
    if alike := alike_words(pool):
        found.hint("features", f"{alike}. Another surrogate.descriptor may tell them apart")


def _engine(found: Findings, parts: Parts, file: PoolFile | None) -> None:
    elements = parts.elements | frozenset(file.elements if file else ())
    try:
        notes = parts.check_engines(elements)
        words = f"{parts.spec.engine.name} {parts.engine.version()}, fingerprint "
        found.fine("engine", words + parts.fingerprint[:12])
        parts.refuse_foreign_references()
    except LeadlineError as error:
        found.bad("engine", error)
        return
    for note in notes:
        found.hint("engine", note)
    if parts.prerelaxer is not None:
        first, own = parts.prerelaxer, parts.spec.engine.name
        found.fine("prerelax", f"{first.name} {first.version()} first; energies are {own}'s alone")
    if parts.spec.remedies.physics == "together":
        found.hint(
            "remedies",
            "remedies.physics is together: what a structure gives with another smearing or the "
            "like stands on one hull with the rest, off by what that changes, often some meV/atom; "
            "apart computes it too, and lets it count nowhere",
        )
    if parts.given_references and not parts.declares_references:
        found.hint(
            "references",
            "objective.references.values name no fingerprint: nothing shows that they are of this "
            "engine's settings, and others shift every formation energy",
        )


def _store_and_cluster(found: Findings, parts: Parts, try_one: PoolFile | None) -> None:
    try:
        store = open_for(parts.spec.store)
    except LeadlineError as error:
        found.bad("store", error)
        raise
    with store:
        found.fine("store", f"{store.kind} in {store.location}")
        if found.good:  # what is wrong with the engine is said
            _carries_on(found, parts, store)
        root = parts.root
        try:
            with open_cluster(parts.profile, parts.spec.compute.workers, root) as cluster:
                tried = try_one is not None and found.good
                for part in cluster.parts:
                    _cluster(found, part, root, tried=tried and part is cluster.parts[0])
                for note in cluster.notes:
                    found.hint("cluster", note)
                if try_one is not None and found.good:
                    try_one_candidate(found, parts, store, cluster, try_one)
        except LeadlineError as error:
            found.bad("cluster", error)


def _cluster(found: Findings, cluster: Cluster, root: Path, *, tried: bool) -> None:
    """Say what a cluster is ready for; ``tried`` if a candidate will be computed on it."""
    if cluster.jobs is None:
        asked = check_shared_folder(cluster.client, root)
        words = counted(asked, "worker answers and shares", "workers answer and share")
        found.fine("cluster", f"{words} {root}")
        return
    if against := cluster.rehearse():
        found.hint("cluster", f"the batch system would not take a job now: {against}")
    jobs = f"up to {counted(cluster.jobs, 'batch job')}"
    if tried:
        found.fine("cluster", f"{jobs}; one computes a candidate now, in {root}")
        return
    found.fine(
        "cluster",
        f"{jobs}; none was submitted, so that they share {root} is not proved: --try-one computes "
        "one candidate in a job, where the smallest cells go",
    )


def _learning(found: Findings, profile: Profile | None, root: Path, *, try_one: bool) -> None:
    if profile is None:
        found.fine("learning", "in the driver")
        return
    if isinstance(profile.cluster, QueueCluster) and not try_one:
        found.hint(
            "learning", f"in a batch job of {profile.name}: --try-one submits one and learns"
        )
        return
    try:
        from leadline.tasks.compute.learner import try_learning

        device = try_learning(profile, root)
        found.fine("learning", f"{profile.name}, on {device}: the same numbers as the driver")
    except LeadlineError as error:
        found.bad("learning", error)


def _carries_on(found: Findings, parts: Parts, store: Store) -> None:
    known = store.campaign(parts.spec.name)
    if known is None:
        return
    try:
        refuse_mixing(store, known, parts.spec, parts.engine, parts.recipe)
        found.hint("campaign", f"exists and is {known.state}: a run carries it on")
    except LeadlineError as error:
        found.bad("campaign", error)
