"""How fine an engine must be set for an error: ladders of settings, and where they end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from leadline.tasks.engines.engine import Knob
from leadline.tasks.engines.k_mesh import k_mesh

AGREEING = 2
"""Finer settings that must agree before one counts as converged: one may by chance."""
LONGEST = 12
"""Rungs after which a ladder is given up."""
PLACES = 1000
"""Parts of 1/Å that a spacing of k-points is written in."""


@dataclass(frozen=True)
class Rung:
    """One setting, and what came out with it.

    Parameters
    ----------
    value
        Of the setting.
    energy
        What must converge, eV/atom: a formation energy, or a total energy.
    pressure
        Of the candidate, GPa; None where the engine gives no stress.
    seconds
        In the engine, for all that ``energy`` is made of.
    """

    value: float
    energy: float
    pressure: float | None
    seconds: float


@dataclass(frozen=True)
class Ladder:
    """The rungs of one setting, from coarse to fine.

    Parameters
    ----------
    knob, rungs
        The setting, and what came out at each of its values.
    error
        Change of the energy that is allowed, eV/atom.
    """

    knob: Knob
    rungs: tuple[Rung, ...]
    error: float

    @property
    def converged(self) -> Rung | None:
        """The coarsest rung that differs from no finer one, nor those from each other, or None.

        At most by the error, and at least ``AGREEING`` finer ones must stand above it.
        """
        good = (each for each in self.rungs[:-AGREEING] if self.spread_from(each) <= self.error)
        return next(good, None)

    def spread_from(self, rung: Rung) -> float:
        """Return how far the energies of a rung and all finer ones lie apart, eV/atom."""
        energies = [each.energy for each in self.rungs[self.rungs.index(rung) :]]
        return max(energies) - min(energies)

    def table(self) -> str:
        """Return a line for each rung, its changes counted from the finest."""
        name = f"{self.knob.label} ({self.knob.unit})"
        finest = self.rungs[-1]
        head = f"  {name:>18}  {'energy (meV/atom)':>18}  {'pressure (GPa)':>14}  {'time (s)':>8}"
        lines = [
            f"  {each.value:>18g}  {1e3 * (each.energy - finest.energy):>+18.2f}  "
            f"{_pressure(each, finest):>14}  {each.seconds:>8.1f}"
            for each in self.rungs
        ]
        return "\n".join([head, *lines])


def coarser(knob: Knob, value: float, cell: Atoms) -> float:
    """Return a value to begin at, coarser than ``value`` so that it may prove too fine itself."""
    if knob.kind == "cutoff":
        return _rounded(value / knob.factor)
    return max(_spacing_of(cell, max(1, _divisions(cell, value) - 1)), value)


def finer(knob: Knob, value: float, cell: Atoms) -> float:
    """Return the next finer value: a cutoff by a factor, a mesh by the next that differs.

    A smaller spacing that gives ``cell`` the same mesh would agree for no reason.
    """
    if knob.kind == "cutoff":
        return _rounded(value * knob.factor)
    return _spacing_of(cell, _divisions(cell, value) + 1)


def _divisions(cell: Atoms, spacing: float) -> int:
    """Return the largest number of divisions of the mesh."""
    return max(k_mesh(cell, spacing))


def _spacing_of(cell: Atoms, divisions: int) -> float:
    """Return the least spacing in ``PLACES`` that divides the longest vector so often."""
    longest: float = 2 * math.pi * max(np.linalg.norm(cell.cell.reciprocal(), axis=1).tolist())
    return math.ceil(longest / divisions * PLACES) / PLACES


def _rounded(value: float) -> float:
    """Return a cutoff as a person writes it: to two digits, or whole."""
    return float(round(value)) if value >= 10 else float(f"{value:.2g}")


def _pressure(rung: Rung, finest: Rung) -> str:
    if rung.pressure is None or finest.pressure is None:
        return ""
    return f"{rung.pressure - finest.pressure:+.2f}"


def setting(settings: Mapping[str, Any], name: str) -> Any:
    """Return a setting by its name, a dot between the keys of one in another; or None."""
    first, _, rest = name.partition(".")
    found = settings.get(first)
    if not rest:
        return found
    return setting(found, rest) if isinstance(found, Mapping) else None


def with_setting(settings: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return settings with another value of one, whose name is as above."""
    first, _, rest = name.partition(".")
    inner = with_setting(settings.get(first) or {}, rest, value) if rest else value
    return {**settings, first: inner}


def formation_energy(total: float, elements: Sequence[tuple[float, float]]) -> float:
    """Return ``total`` less each element's share of its energy, eV/atom.

    ``elements`` are atomic fractions and energies in eV/atom.
    """
    return total - sum(fraction * energy for fraction, energy in elements)
