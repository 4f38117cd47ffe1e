"""What a campaign works with, opened from its spec and closed in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from leadline.flows.inbox import Inbox
from leadline.flows.lease import Lease, leased
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_changes import enrol
from leadline.flows.spec_objective import GivenReferences, HullObjective
from leadline.flows.store_of import open_for, store_folder
from leadline.flows.watching import Watcher
from leadline.surrogate.batch import Shares
from leadline.surrogate.descriptors.auto import choose
from leadline.surrogate.descriptors.descriptor import Descriptor
from leadline.surrogate.descriptors.table import descriptor
from leadline.surrogate.model import ModelSettings
from leadline.surrogate.pool import Pool
from leadline.surrogate.stopping import Limits
from leadline.tasks.calculate import Desk
from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.features import alike_words, pool_features
from leadline.tasks.candidates.magnetism import MagneticSource, Magnetism
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.candidates.table import source
from leadline.tasks.compute.cluster import Cluster, open_cluster
from leadline.tasks.compute.estimates import Measured
from leadline.tasks.compute.learner import learning_place, refuse_jobs
from leadline.tasks.compute.left_over import Driving
from leadline.tasks.compute.profile import Profile, load_profile
from leadline.tasks.compute.right_sizing import RightSizing, Rule
from leadline.tasks.drivers import owners_of_runs
from leadline.tasks.engines.engine import Engine
from leadline.tasks.engines.table import engine
from leadline.tasks.errors import ConfigurationError, SpecError, StoreLockedError
from leadline.tasks.judge import Judge
from leadline.tasks.learn import LearnSettings, Place
from leadline.tasks.needs import Sizes, measured_in
from leadline.tasks.problem import Problem, problem_of
from leadline.tasks.propose import ProposeSettings
from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.recipes.table import recipe
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.patience import Patience
from leadline.tasks.store.store import Store

TURN_POLL = 2.0
"""Seconds between two looks at whether an embedded store is free."""
SAMPLE = 500
"""Candidates that an automatic choice of descriptor looks at."""


@dataclass(frozen=True)
class Parts:
    """What a spec names, looked up: no store and no cluster is needed for it."""

    spec: CampaignSpec
    profile: Profile
    engine: Engine
    recipe: Recipe
    prerelaxer: Engine | None
    """The cheap engine that the recipe relaxes with first, if it does."""
    learns_on: Profile | None
    """Machine on which the model is trained; None for the driver's own."""

    @property
    def root(self) -> Path:
        """Folder of all calculations."""
        return self.profile.calculations or store_folder() / "calculations"

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the engine."""
        return self.engine.fingerprint()

    @property
    def elements(self) -> frozenset[str]:
        """Elements that sources were asked for by name: those the engine must have."""
        named = (each.settings.get("elements") or () for each in self.spec.candidates)
        return frozenset(chain.from_iterable(named))

    def check_engines(self, elements: frozenset[str]) -> list[str]:
        """Return what a person should know of the engine; doubts of a cheap one are its nature.

        Raises
        ------
        ConfigurationError
            If one of them cannot run, or lacks an element.
        """
        notes = self.engine.check(elements)
        if self.prerelaxer is not None:
            with _named_in("recipe.prerelax.engine"):
                self.prerelaxer.check(elements)
        return notes

    @property
    def problem(self) -> Problem:
        """What is looked for, as the mathematics needs it."""
        return problem_of(self.spec.objective.model_dump())

    @property
    def given_references(self) -> Mapping[str, float]:
        """Energies of the elements that the spec gives, eV/atom; empty if computed."""
        objective = self.spec.objective
        if isinstance(objective, HullObjective) and isinstance(
            objective.references, GivenReferences
        ):
            return objective.references.values
        return {}

    @property
    def declares_references(self) -> str:
        """Fingerprint that the spec gives with the energies of the elements, or ''."""
        objective = self.spec.objective
        if isinstance(objective, HullObjective) and isinstance(
            objective.references, GivenReferences
        ):
            return objective.references.fingerprint
        return ""

    def refuse_foreign_references(self) -> None:
        """Refuse energies of elements that another engine, or other settings, gave.

        Raises
        ------
        SpecError
            If they name a fingerprint that is not this engine's.
        """
        declared = self.declares_references
        if declared and not self.fingerprint.startswith(declared):
            raise SpecError(
                f"objective.references.fingerprint: is {declared!r}, this campaign's engine has "
                f"{self.fingerprint}; energies of other settings make no hull with its own. Give "
                "those of this engine, or let references be computed"
            )

    @property
    def stop(self) -> Limits:
        """The campaign's own stop rules."""
        return Limits(**self.spec.stop.model_dump())

    @property
    def rules(self) -> RightSizing:
        """How the requests of batch jobs follow what is predicted."""
        asked = self.spec.compute.right_sizing
        walltime = Rule(**asked.walltime.model_dump()) if asked.walltime else None
        memory = Rule(**asked.memory.model_dump()) if asked.memory else None
        return RightSizing(walltime, memory)

    def measured(self, store: Store, sizes: Sizes) -> Iterator[Measured]:
        """Yield what calculations of this engine and recipe took, this campaign's and others'."""
        plain = {"name": self.recipe.name, "settings": self.recipe.settings.model_dump(mode="json")}
        return measured_in(store, sizes, self.fingerprint, plain)

    @property
    def learning(self) -> LearnSettings:
        """How the model is trained."""
        asked = self.spec.surrogate
        return LearnSettings(ModelSettings(noise_floor=asked.noise_floor), asked.kernel)

    @property
    def proposing(self) -> ProposeSettings:
        """How candidates are chosen."""
        chosen = self.spec.acquisition
        return ProposeSettings(
            chosen.name, Shares(uncertainty=chosen.uncertainty_share, random=chosen.random_share)
        )

    @property
    def checks(self) -> Checks:
        """What a structure must be to enter the pool."""
        return Checks(**self.spec.checks.model_dump(), elements=self.engine.elements())

    def built(self, folder: Path) -> PoolFile:
        """Return the pool of the spec's sources, built where it is not there yet."""
        sources = [source(each.source, each.settings, Path.cwd()) for each in self.spec.candidates]
        if (asked := self.spec.magnetism) is not None:
            magnetism = Magnetism(asked.moments, asked.orderings, asked.most)
            sources = [MagneticSource(each, magnetism) for each in sources]
        rng = np.random.default_rng(self.spec.seed)
        return build_pool(
            sources, self.checks, rng, folder / "pools", scale=self.recipe.relaxes_cell
        )

    def descriptor(self, file: PoolFile) -> tuple[Descriptor, str]:
        """Return what describes the pool's structures, and why it was chosen."""
        name = self.spec.surrogate.descriptor
        if name != "auto":
            return descriptor(name, file.elements), f"{name}: asked for by the campaign file"
        sample = file.some(file.ids[:: max(1, len(file) // SAMPLE)])
        chosen = choose(sample, file.elements)
        return chosen, chosen.reason


@dataclass(frozen=True)
class Bench(Parts):
    """A campaign's parts with its store, its pool and its cluster open."""

    store: Store
    lease: Lease
    """What proves that the campaign is still this driver's."""
    inbox: Inbox
    """What others ask of this driver."""
    file: PoolFile
    pool: Pool
    cluster: Cluster
    desk: Desk
    place: Place
    """Where lessons are learned."""

    def under(self, spec: CampaignSpec) -> Bench:
        """Return the same under a spec that was changed in flight; nothing is looked up anew."""
        changed = replace(self, spec=spec)
        vars(changed).update(fingerprint=self.fingerprint, rows=self.rows)
        return changed

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Row of each structure id of the pool."""
        return {each: row for row, each in enumerate(self.pool.ids)}


def parts_of(spec: CampaignSpec) -> Parts:
    """Look up what a spec names; nothing is opened and nothing is run.

    Raises
    ------
    LeadlineError
        If a profile is missing or wrong, or an engine cannot be set up.
    """
    profile = load_profile(spec.compute.profile)
    chosen = engine(spec.engine.name, spec.engine.settings, profile.site(spec.engine.name))
    if spec.magnetism is not None and not chosen.magnetic:
        raise SpecError(
            f"magnetism: the engine {spec.engine.name} computes no moments as it is set up; give "
            "it its setting for spin (nspin: 2 of espresso), or leave magnetism out"
        )
    objective = spec.objective
    if objective.kind == "hull" and objective.references.kind == "computed" and chosen.plus_u:
        raise SpecError(
            "objective.references.kind: found 'computed', and engine adds a Hubbard U: elements "
            "without it and compounds with it stand on no common hull; give the energies of the "
            "elements, corrected, as kind: values, or leave the U out"
        )
    steps, cheap = _recipe_of(spec, profile)
    return Parts(
        spec=spec,
        profile=profile,
        engine=chosen,
        recipe=steps,
        prerelaxer=cheap,
        learns_on=_learning_profile(spec.compute.learn),
    )


def _recipe_of(spec: CampaignSpec, profile: Profile) -> tuple[Recipe, Engine | None]:
    """Return the recipe and the cheap engine whose fingerprint is part of its id, if any."""
    steps = recipe(spec.recipe.name, spec.recipe.settings)
    if steps.prerelax is None:
        return steps, None
    asked = steps.prerelax.engine
    with _named_in("recipe.prerelax.engine"):
        cheap = engine(asked.name, asked.settings, profile.site(asked.name))
        fingerprint = cheap.fingerprint()
    return steps.prerelaxed_by(fingerprint), cheap


@contextmanager
def _named_in(key: str) -> Iterator[None]:
    """Say of an engine that is set up wrong which key of the campaign file asks for it."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{key}: {error}") from error


def _learning_profile(name: str | None) -> Profile | None:
    if name is None:
        return None
    profile = load_profile(name)
    refuse_jobs(profile)
    return profile


def _in_turn(spec: CampaignSpec, watch: Watcher, patience: Patience) -> Store:
    """Open the store; wait while a process that does not drive this campaign writes to it.

    So a run that is due with another campaign's, or with `reconcile`, is not lost.
    """
    told = False
    while True:
        try:
            return open_for(spec.store, patience=patience)
        except StoreLockedError as error:
            with open_for(spec.store, write=False) as beside:
                beside.refuse_driven(spec.name)
            if watch.stop_requested:
                raise
            if not told:
                watch.note(f"waits for its turn: {error}")
            told = True
        time.sleep(TURN_POLL)


@contextmanager
def opened(spec: CampaignSpec, watch: Watcher) -> Iterator[Bench]:
    """Open everything that a campaign works with; refuse before anything is spent."""
    parts = parts_of(spec)
    folder = store_folder()
    with ExitStack() as stack:
        patience = Patience(spec.store.patience * 3600, watch.note, lambda: watch.stop_now)
        store = stack.enter_context(_in_turn(spec, watch, patience))
        parts.check_engines(parts.elements)
        file = parts.built(folder)
        parts.check_engines(frozenset(file.elements))
        parts.refuse_foreign_references()
        owner = this_process()
        if store.campaign(spec.name) is None:
            enrol(store, spec, parts.engine, parts.recipe)
        lease = stack.enter_context(leased(store, spec.name, owner))
        inbox = Inbox(store, spec.name, lease, watch)
        inbox.take_settings()
        # A changed file is no business of who does not drive the campaign.
        holds = enrol(store, spec, parts.engine, parts.recipe)
        for words in holds.words:
            watch.note(words)
        spec = holds.spec
        stack.enter_context(inbox.listening())
        root = parts.root
        former = frozenset(owners_of_runs(store, spec.name).values())
        driving = Driving(owner, former)  # as the lease is ours, that of all these is over
        workers = spec.compute.workers
        cluster = stack.enter_context(open_cluster(parts.profile, workers, root, driving))
        store.log(spec.name, "cluster.opened", parts.profile.name, {"workers": cluster.capacity})
        learning = learning_place(parts.learns_on, root, watch.note, lambda: watch.stop_now)
        chosen, reason = parts.descriptor(file)
        pool, _ = pool_features(file, chosen, folder / "features")
        if alike := alike_words(pool):
            reason = f"{reason}; {alike}"
        desk = _desk(parts, store, cluster, owner, watch.note)
        built = {**file.report.to_plain(), "descriptor": reason}
        store.log(spec.name, "pool.built", file.sha256, built)
        yield Bench(
            spec=spec,
            profile=parts.profile,
            engine=parts.engine,
            recipe=parts.recipe,
            prerelaxer=parts.prerelaxer,
            store=store,
            lease=lease,
            inbox=inbox,
            file=file,
            pool=pool,
            cluster=cluster,
            desk=desk,
            learns_on=parts.learns_on,
            place=stack.enter_context(learning),
        )


def _desk(
    parts: Parts, store: Store, cluster: Cluster, owner: str, say: Callable[[str], object]
) -> Desk:
    """Return the desk of a campaign, which knows what calculations like its own took."""
    spec = parts.spec
    limit = spec.compute.time_limit
    desk = Desk(
        store=store,
        dispatcher=cluster.dispatcher,
        engine=parts.engine,
        recipe=parts.recipe,
        root=parts.root,
        owner=owner,
        campaign=spec.name,
        cuts=spec.compute.cuts,
        time_limit=None if limit is None else limit * 3600,
        keep=spec.compute.keep,
        judge=Judge(store) if parts.recipe.relaxes_cell else None,
        remedies=spec.remedies.physics,
        rules=parts.rules,
        prerelaxer=parts.prerelaxer,
        say=say,
    )
    desk.estimates.note_all(parts.measured(store, desk.sizes))
    return desk
