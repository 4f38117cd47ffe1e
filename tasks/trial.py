"""What one finished calculation says of a campaign: is it converged, what will it all cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadline.tasks.problem import Problem, PropertyProblem
from leadline.tasks.recipes.recipe import UNITS, Recipe
from leadline.tasks.report.formatting import counted, duration, size
from leadline.tasks.store.records import Calculation

EVIDENCE = {
    "largest_force": "largest force",
    "residual_pressure": "pressure",
    "largest_stress": "largest stress",
    "fresh_basis_change": "change by a fresh basis",
    "scf_residual": "SCF residual",
    "scf_iterations": "SCF iterations",
    "eos_residual": "misfit of the curve",
}
"""Properties that tell how well a calculation converged, as people name them."""
STRAINED = 1.0
"""GPa, from which a cell that stays as it was built is far from its own volume."""
FORCED = 0.1
"""eV/Å, from which positions that stay as they were built are far from rest."""
INCOMPLETE_BASIS = 0.5
"""GPa left after a relaxation of the cell, from which its basis changed on the way."""
FRESH_BASIS = 1e-3
"""eV/atom that a fresh basis may change."""
HOUR = 3600.0


def evidence(record: Calculation) -> str:
    """Return the numbers that show how well a calculation converged, in words."""
    found = record.properties
    return ", ".join(
        f"{words} {found[name]:.3g} {UNITS.get(name, '')}".rstrip()
        for name, words in EVIDENCE.items()
        if name in found
    )


def prerelaxation(begun: Mapping[str, Any]) -> str:
    """Return how a cheap engine relaxed a structure before, as an attempt records it, in words."""
    words = (
        f"{begun['engine']} relaxed it first, {counted(begun['steps'], 'step')} in "
        f"{duration(begun['seconds'])}"
    )
    if "volume_change" in begun:
        words += (
            f", to a largest force of {begun['largest_force']:.2g} eV/Å and a volume "
            f"{begun['volume_change']:+.1%}"
        )
    if begun["end"] == "converged":
        return words
    if begun["end"] == "dropped":
        return f"{words}; dropped, begun with the structure as it was: {begun['why']}"
    return f"{words}; not converged, begun with the best geometry: {begun['why']}"


def spent(record: Calculation) -> str:
    """Return what a calculation took: time in the engine, cores and memory, in words."""
    words = f"{duration(record.times.get('wall'))} on {counted(int(_cores(record)), 'core')}"
    if record.used.get("memory"):
        words += f", {size(record.used['memory'])} of memory at the peak"
    return words


def requested_words(record: Calculation) -> str:
    """Return what the profile asks for of a job, beside what one calculation used; or ''."""
    asked = record.attempts[-1].asked if record.attempts else {}
    if not asked:
        return ""
    used = [duration(record.times.get("wall"))]
    used += [size(record.used["memory"])] if record.used.get("memory") else []
    return (
        f"the profile asks for {duration(asked['most_walltime'])} and "
        f"{size(asked['most_memory'])} a job, and one calculation used {' and '.join(used)}; "
        "compute.right_sizing lets jobs ask for what they need"
    )


def doubts(record: Calculation, recipe: Recipe) -> Iterator[str]:
    """Yield what a person of experience would ask on seeing these numbers."""
    found = record.properties
    pressure = found.get("residual_pressure", 0.0)
    if not recipe.relaxes_cell and abs(pressure) > STRAINED:
        yield (
            f"the cell stays as it was built, under {pressure:.1f} GPa: energies of strained cells "
            "are compared; recipe relax+static lets each find its volume"
        )
    if found.get("largest_force", 0.0) > FORCED:
        yield (
            f"atoms stay where they were built, pulled by up to {found['largest_force']:.2g} eV/Å; "
            "a recipe that relaxes lets them rest"
        )
    left = found.get("largest_stress", 0.0)
    change = abs(found.get("fresh_basis_change", 0.0))
    if recipe.relaxes_cell and (left > INCOMPLETE_BASIS or change > FRESH_BASIS):
        yield (
            f"{left:.2g} GPa are left once the relaxed cell has its own basis, and its energy "
            f"changed by {1e3 * change:.2g} meV/atom: the cutoff or k-mesh is low; `leadline "
            "converge` finds one"
        )


def lacking(record: Calculation, problem: Problem) -> str:
    """Say what a campaign looks for and this calculation does not give, or ''."""
    if not isinstance(problem, PropertyProblem) or problem.name in record.properties:
        return ""
    return (
        f"objective.property is {problem.name!r}, which this calculation does not give; it gives "
        f"{', '.join(sorted(record.properties))}: name one of them, or another recipe"
    )


@dataclass(frozen=True)
class Cost:
    """Core hours of a campaign, from one calculation of it.

    Parameters
    ----------
    calculations
        How many there may be.
    linear, cubic
        Core hours if the time grows with the number of atoms, or with its cube.
    largest
        Seconds of the largest cell, if with the cube.
    """

    calculations: int
    linear: float
    cubic: float
    largest: float

    def words(self) -> str:
        """Return one sentence for people, with what it rests on."""
        return (
            f"about {_hours(self.linear)} to {_hours(self.cubic)} core hours for "
            f"{counted(self.calculations, 'calculation')}, if time grows with the atoms N as N or "
            f"as N^3; the largest cell then takes up to {duration(self.largest)}. From one "
            "calculation: lower symmetry, more steps and magnetism may take several times more"
        )


def cost(
    record: Calculation, sites: int, pool: NDArray[np.int64], calculations: int | None
) -> Cost:
    """Return what a campaign may cost.

    Parameters
    ----------
    record, sites
        The calculation that was made, and its number of atoms.
    pool
        Atoms of each candidate, int[n].
    calculations
        How many are to be made; None for the whole pool. Their sizes are taken to
        be those of the pool.
    """
    count = min(calculations or len(pool), len(pool))
    seconds = float(record.times.get("wall", 0.0))
    ratio = pool / sites
    hours = count * seconds * _cores(record) / HOUR
    return Cost(
        count,
        hours * float(ratio.mean()),
        hours * float((ratio**3).mean()),
        seconds * float(ratio.max() ** 3),
    )


def _cores(record: Calculation) -> float:
    return float(record.used.get("cores", 1))


def _hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 100 else f"{hours:,.0f}"
