"""`leadline converge`: the cutoff and k-mesh that an error asks for, found by computing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import yaml
from pymatgen.core import Structure

from leadline.flows.bench import Parts, parts_of
from leadline.flows.findings import Say
from leadline.flows.opening_round import reference_candidates
from leadline.flows.spec import CampaignSpec
from leadline.flows.store_of import open_for, store_folder
from leadline.flows.trying import trial
from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.compute.cluster import Cluster, open_cluster
from leadline.tasks.convergence import (
    LONGEST,
    Ladder,
    Rung,
    coarser,
    finer,
    formation_energy,
    setting,
    with_setting,
)
from leadline.tasks.engines.atoms import to_atoms
from leadline.tasks.engines.engine import Knob
from leadline.tasks.engines.table import engine
from leadline.tasks.errors import ConfigurationError, InputError
from leadline.tasks.failed_attempts import last_failure, whereabouts
from leadline.tasks.quantities import ENERGY_PER_ATOM, quantity
from leadline.tasks.recipes.table import recipe
from leadline.tasks.recording import structure_record
from leadline.tasks.store.records import Calculation
from leadline.tasks.store.store import Store
from leadline.tasks.structures import to_plain


def converge(spec: CampaignSpec, error: float, wanted: str | None, say: Say) -> bool:
    """Find settings of the campaign's engine by which energies change less than ``error``.

    Parameters
    ----------
    spec
        The campaign; its engine, candidates, profile and store are used.
    error
        Change that is allowed, eV/atom.
    wanted
        Formula of a candidate or start of its id; the smallest of all elements by default.
    say
        Takes each line for a person.

    Returns
    -------
    bool
        True if every setting converged.

    Raises
    ------
    LeadlineError
        If the engine has no such settings, nothing is found by that name, or a
        calculation fails.
    """
    parts = replace(parts_of(spec), recipe=recipe("static", {}))
    knobs = _knobs(parts)
    file = parts.built(store_folder())
    candidate = _candidate(file, wanted)
    parts.engine.check(frozenset(candidate.composition.chemical_system.split("-")))
    root = parts.root
    with (
        open_for(spec.store) as store,
        open_cluster(parts.profile, spec.compute.workers, root) as cluster,
    ):
        probe = _Probe(parts, store, cluster, candidate, _elements(parts, file, candidate))
        say(f"Converging {spec.engine.name} on {probe.words} to {1e3 * error:g} meV/atom")
        return _climb_all(probe, knobs, error, say)


def allowed_error(text: str) -> float:
    """Return an error in eV/atom from what a person wrote, as ``1meV``.

    Raises
    ------
    InputError
        If it is no energy above zero.
    """
    units = {**ENERGY_PER_ATOM, "eV": 1.0, "meV": 1e-3}
    try:
        error = quantity("eV/atom", units)(text)
    except ValueError as refusal:
        raise InputError(f"--error: {refusal}") from None
    if error <= 0:
        raise InputError(f"--error: found {text!r}; allowed: an energy above zero, as 1meV")
    return error


def _knobs(parts: Parts) -> list[Knob]:
    """Return the settings to converge: those that the campaign file gives a value."""
    given = parts.engine.settings.model_dump()
    found = [each for each in parts.engine.knobs if setting(given, each.name) is not None]
    if not found:
        names = ", ".join(each.name for each in parts.engine.knobs)
        raise InputError(
            f"the engine {parts.engine.name} has no setting here that converges; "
            + (f"give one of {names}" if names else "its answers depend on no cutoff or mesh")
        )
    return found


def _candidate(file: PoolFile, wanted: str | None) -> Candidate:
    if wanted is None:
        richest = (file.fractions > 0).sum(axis=1)
        order = np.lexsort((file.sites, -richest))
        return file.candidate(file.ids[int(order[0])])
    for id_, formula in zip(file.ids, file.formulas, strict=True):
        if formula == wanted or (len(wanted) >= 4 and id_.startswith(wanted)):
            return file.candidate(id_)
    raise InputError(
        f"no candidate of the pool has the formula {wanted!r} or an id that starts so; "
        f"its formulas begin with {', '.join(sorted(set(file.formulas))[:8])}"
    )


def _elements(parts: Parts, file: PoolFile, candidate: Candidate) -> list[Candidate]:
    """Return the elements of a compound, whose energies its formation energy takes; or []."""
    amounts = candidate.composition.get_el_amt_dict()
    if len(amounts) == 1:
        return []
    magnetic = parts.engine.magnetic
    found: dict[str, Candidate] = {}
    for each in reference_candidates(parts.spec, file, magnetic=magnetic):
        found.setdefault(each.formula, each)
    mine = [found[symbol] for symbol in amounts if symbol in found]
    return mine if len(mine) == len(amounts) else []


@dataclass(frozen=True)
class _Probe:
    """What is computed at each setting: a candidate, and the elements it forms from."""

    parts: Parts
    store: Store
    cluster: Cluster
    candidate: Candidate
    elements: list[Candidate]

    @property
    def words(self) -> str:
        name = f"{self.candidate.formula} ({len(self.candidate.material)} atoms)"
        if not self.elements:
            return f"{name}: its total energy, which converges more slowly than differences"
        return f"{name}: its formation energy from {', '.join(e.formula for e in self.elements)}"

    @property
    def cell(self) -> Any:
        assert isinstance(self.candidate.material, Structure)
        return to_atoms(to_plain(self.candidate.material))

    def rung(self, value: float, settings: Mapping[str, Any]) -> Rung:
        """Compute everything with ``settings``, as many at once as workers are there."""
        site = self.parts.profile.site(self.parts.engine.name)
        parts = replace(self.parts, engine=engine(self.parts.engine.name, settings, site))
        asked = [self.candidate, *self.elements]
        self.store.put_structures([structure_record(each) for each in asked])
        with ThreadPoolExecutor(max(1, self.cluster.slots)) as pool:
            records = list(pool.map(lambda each: self._record(parts, each), asked))
        totals = [
            (record.energy or 0.0) / len(each.material)
            for record, each in zip(records, asked, strict=True)
        ]
        shares = self.candidate.composition.get_atomic_fraction
        parts_of_it = [
            (float(shares(each.formula)), energy)
            for each, energy in zip(self.elements, totals[1:], strict=True)
        ]
        return Rung(
            value,
            formation_energy(totals[0], parts_of_it),
            records[0].properties.get("residual_pressure"),
            sum(float(each.times.get("wall", 0.0)) for each in records),
        )

    def _record(self, parts: Parts, each: Candidate) -> Calculation:
        record = trial(parts, self.store, self.cluster, each.id)
        if record.energy is None:
            failure = last_failure(record)
            words = failure.message if failure else f"it is {record.state}"
            words += f"; {whereabouts(record)}"
            raise ConfigurationError(f"{each.formula} could not be computed: {words}")
        return record


def _climb_all(probe: _Probe, knobs: list[Knob], error: float, say: Say) -> bool:
    """Climb the ladder of each setting, the later ones with what the earlier ones found."""
    settings = probe.parts.engine.settings.model_dump(mode="json", exclude_none=True)
    found: dict[str, Any] = {}
    converged = 0
    for knob in knobs:
        ladder = _climbed(probe, knob, settings, error)
        say(f"\n{ladder.table()}")
        chosen = ladder.converged
        if chosen is None:
            say(
                f"  {knob.label} did not converge in {len(ladder.rungs)} steps; start it finer, or "
                "allow a larger error"
            )
            continue
        say(
            f"  {knob.label} {chosen.value:g}: from there on energies lie within "
            f"{1e3 * ladder.spread_from(chosen):.2g} meV/atom"
        )
        settings = _with(knob, settings, chosen.value)
        converged += 1
        for name in (knob.name, *knob.along):
            if (value := setting(settings, name)) is not None:
                found = with_setting(found, name, value)
    say(f"\nRecommended:\n{yaml.safe_dump({'engine': found}, sort_keys=False)}".rstrip())
    return converged == len(knobs)


def _climbed(probe: _Probe, knob: Knob, settings: Mapping[str, Any], error: float) -> Ladder:
    rungs: list[Rung] = []
    for value in _values(knob, float(setting(settings, knob.name)), probe.cell):
        rungs.append(probe.rung(value, _with(knob, settings, value)))
        ladder = Ladder(knob, tuple(rungs), error)
        if ladder.converged is not None:
            break
    return ladder


def _values(knob: Knob, given: float, cell: Any) -> Iterator[float]:
    value = coarser(knob, given, cell)
    for _ in range(LONGEST):
        yield value
        value = finer(knob, value, cell)


def _with(knob: Knob, settings: Mapping[str, Any], value: float) -> dict[str, Any]:
    """Return settings with another value, and what goes along in proportion."""
    share = value / float(setting(settings, knob.name))
    along = {
        name: round(float(settings[name]) * share, 3) for name in knob.along if name in settings
    }
    return with_setting({**settings, **along}, knob.name, value)
