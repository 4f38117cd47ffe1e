"""One calculation from its request to its result, in the process that runs the engine.

Never raises for trouble of engine, recipe or structure: that is a result, too.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import psutil

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.engines.aftermath import failure_of, remove_scratch
from leadline.tasks.engines.atoms import moved, to_atoms
from leadline.tasks.engines.engine import Engine
from leadline.tasks.engines.memory import MemoryWatch
from leadline.tasks.engines.prerelax import prerelax
from leadline.tasks.engines.requested import requested_engine
from leadline.tasks.recipes.recipe import Instrument, RecipeOutcome
from leadline.tasks.recipes.table import recipe
from leadline.tasks.recipes.trail import Trail

RAW = "raw"
"""Folder of the engine's own files under that of the attempt."""
MEMORY = "memory"
"""File under that of the attempt with what its engine takes while it runs."""
JOB_VARIABLES = (
    *("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "OAR_JOB_ID"),
    "LEADLINE_JOB_ID",  # HTCondor, which sets none itself
)
JOB_BEGAN, JOB_QUEUE = "LEADLINE_JOB_BEGAN", "LEADLINE_JOB_QUEUE"
"""Variables that the script of a batch job sets first: UNIX time, and the queue that has it."""


def compute(request: Request, directory: Path) -> Result:
    """Compute what is asked for; the engine works in ``directory / "raw"``.

    Returns
    -------
    Result
        Converged with its numbers, or with the failure and without an energy.
    """
    # A clock that is set meanwhile must not make a calculation longer, or end before it began.
    start, began, cpu = time.time(), time.monotonic(), _cpu()
    raw, trail = directory / RAW, Trail(directory, request.since)
    raw.mkdir(parents=True, exist_ok=True)
    memory = MemoryWatch(directory / MEMORY)
    with memory.on():
        found, versions, failure = _attempt(request, raw, trail, began)
    wall = time.monotonic() - began
    return Result(
        calculation=request.calculation,
        attempt=request.attempt,
        converged=failure is None,
        failure=failure,
        **(_numbers(request, found) if found and failure is None else {}),
        times={"start": start, "end": start + wall, "wall": wall, "cpu": _cpu() - cpu},
        versions=versions,
        where={
            "host": platform.node(),
            "pid": os.getpid(),
            "job": batch_job(),
            "queue": job_queue(),
        },
        files=_kept(raw, request.keep, failure),
        used={"memory": memory.peak, "cores": cores_of(request.site)},
        continued_from=trail.continued_from,
        asked=request.asked,
        prerelaxed=trail.prerelaxed,
    )


def _attempt(
    request: Request, raw: Path, trail: Trail, began: float
) -> tuple[RecipeOutcome | None, dict[str, str], Failure | None]:
    versions = {"ase": str(ase.__version__), "python": platform.python_version()}
    chosen: Engine | None = None
    try:
        chosen = requested_engine(request)
        if request.time_limit is not None:
            chosen.deadline = began + request.time_limit
        versions |= {chosen.name: chosen.version()}
        found = _run(chosen, request, raw, trail)
    except Exception as error:
        return None, versions, failure_of(chosen, error, raw)
    finally:
        if chosen is not None:
            remove_scratch(chosen, raw)
    return found, versions, found.failure


def _run(chosen: Engine, request: Request, raw: Path, trail: Trail) -> RecipeOutcome:
    atoms = to_atoms(request.structure)
    known = chosen.answer(request.structure_id, atoms)
    if known is not None:
        return known
    steps = recipe(request.recipe["name"], request.recipe["settings"])
    instrument = Instrument(
        calculator=lambda now: chosen.calculator(now, raw),
        directory=raw,
        trail=trail,
        bands=lambda now: chosen.band_calculator(now, raw),
        observed=lambda: chosen.observed(raw),
    )
    prerelax(atoms, request, steps, raw, trail)
    found = steps.run(atoms, instrument)
    return replace(
        found,
        # What a recipe read of a certain single point stands before that of the last one.
        properties={**chosen.observed(raw), **found.properties},
        failure=found.failure or _unexplained(found, request.expected),
    )


def _unexplained(found: RecipeOutcome, expected: Sequence[float] | None) -> Failure | None:
    """Say that no bond explains an energy that came as good, or None."""
    if expected is None or found.energy is None:
        return None
    energy = found.energy / len(found.atoms)
    if expected[0] < energy < expected[1]:
        return None
    words = (
        f"{energy:.6g} eV/atom lies outside ({expected[0]:.6g}, {expected[1]:.6g}): that far from "
        "its elements no bond explains it"
    )
    return Failure(FailureKind.PHYSICS, "absurd-energy", words)


def _numbers(request: Request, found: RecipeOutcome) -> dict[str, Any]:
    return {
        "energy": found.energy,
        "structure": moved(request.structure, found.atoms),
        "forces": found.forces,
        "stress": found.stress,
        "properties": dict(found.properties),
        "moments": found.moments,
        "steps": found.steps,
    }


def _kept(raw: Path, keep: str, failure: Failure | None) -> tuple[str, ...]:
    # Files that filled a disk would keep it full, and all that comes after would fail.
    fits = failure is None or failure.reason != "disk-full"
    if fits and (keep == "all" or (keep == "failed" and failure)):
        files = (path for path in raw.rglob("*") if path.is_file())
        return tuple(sorted(str(path.relative_to(raw.parent)) for path in files))
    shutil.rmtree(raw, ignore_errors=True)
    return ()


def _cpu() -> float:
    return sum(os.times()[:4])


def cores_of(site: Mapping[str, Any]) -> int:
    """Return the cores that a profile gives to one calculation of an engine."""
    return int(site.get("ranks") or 1) * int(site.get("threads") or 1)


def batch_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the id of the batch job around this process, or None."""
    return next((environment[name] for name in JOB_VARIABLES if name in environment), None)


def job_queue(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the queue that has the batch job around this process, as its driver names it."""
    return environment.get(JOB_QUEUE)


def job_age(environment: Mapping[str, str] = os.environ) -> float:
    """Return the seconds since the batch job around this process began.

    Its script says when, before a prologue that may take minutes; else this process counts.
    """
    try:
        began = float(environment[JOB_BEGAN])
    except (KeyError, ValueError):
        began = psutil.Process().create_time()
    return time.time() - began
