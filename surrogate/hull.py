"""Convex hulls of energy over composition, for any number of elements.

A hull is kept as its facets' chemical potentials: the energy of the hull at a
composition x is the highest of the facets' values mu @ x, since each facet is a
supporting plane of a convex function. Up to four elements share one qhull. With
more, a composition is compared with the phases of its own chemical system alone,
which is exact: no phase with a further element can take part in its decomposition.
Where qhull cannot serve, a linear programme decides, one composition at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, QhullError

from leadline.surrogate.errors import HullError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

ONE_QHULL = 4
"""Up to this number of elements, all compositions share one qhull."""
LARGEST_QHULL = 6
"""Chemical systems of more elements are decided by linear programming."""
BLOCK = 65_536
"""Compositions compared with all facets at a time, which bounds the memory."""
ABSENT = 1e-9
"""An atomic fraction below this is zero."""
VERTICAL = 1e-9
"""Facets whose unit normal has a smaller energy part are the hull's side walls."""


@dataclass(frozen=True)
class Hull:
    """The lower convex hull of n phases over k elements.

    Parameters
    ----------
    fractions
        Atomic fractions, float64[n, k]; each element has a row of its own.
    energies
        Energies per atom, float64[n], in eV/atom; of formation or total.
    """

    fractions: Floats
    energies: Floats
    _planes: dict[tuple[int, ...], Floats | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def from_energies(cls, fractions: ArrayLike, energies: ArrayLike) -> Hull:
        """Return the hull of phases; several may share a composition.

        Raises
        ------
        HullError
            If shapes disagree, a number is not finite, a row does not sum to one,
            or an element that occurs has no phase of its own.
        """
        x = np.atleast_2d(np.asarray(fractions, dtype=np.float64))
        e = np.asarray(energies, dtype=np.float64)
        _check(x, e)
        return cls(x, e)

    @cached_property
    def vertices(self) -> Indices:
        """Rows that are corners of the hull: one for each composition, the lowest."""
        rows = self._lowest_on_hull
        return np.array([row for row in rows if self._is_corner(int(row), rows)], dtype=np.int64)

    @cached_property
    def _lowest_on_hull(self) -> Indices:
        """The corners, and what lies on the flat between them, one row a composition."""
        on_hull = np.flatnonzero(self.above(self.fractions, self.energies) <= 1e-9)
        lowest = on_hull[np.argsort(self.energies[on_hull], kind="stable")]
        _, first = np.unique(np.round(self.fractions[lowest], 9), axis=0, return_index=True)
        return np.sort(lowest[first])

    def energy_at(self, fractions: ArrayLike) -> Floats:
        """Return the hull's energy at m compositions, float64[m], in eV/atom."""
        x = np.atleast_2d(np.asarray(fractions, dtype=np.float64))
        if x.shape[1] != self.fractions.shape[1]:
            raise HullError(
                f"the hull has {self.fractions.shape[1]} elements and the compositions asked for "
                f"have {x.shape[1]}; give one fraction for each element of the hull"
            )
        energies = np.empty(len(x))
        for system, rows in chemical_systems(x):
            energies[rows] = self._system_energy(system, x[rows])
        return energies

    def above(self, fractions: ArrayLike, energies: ArrayLike) -> Floats:
        """Return energies above the hull, float64[m], in eV/atom; negative means below."""
        return np.asarray(energies, dtype=np.float64) - self.energy_at(fractions)

    def _system_energy(self, system: tuple[int, ...], x: Floats) -> Floats:
        columns = np.array(system)
        if system not in self._planes:
            members = _within(self.fractions, system)
            self._planes[system] = _chemical_potentials(
                self.fractions[np.ix_(members, columns)], self.energies[members]
            )
        planes = self._planes[system]
        if planes is not None:
            blocks = np.array_split(x[:, columns], 1 + len(x) // BLOCK)
            return np.concatenate([(block @ planes.T).max(axis=1) for block in blocks])
        members = _within(self.fractions, system)
        known = self.fractions[np.ix_(members, columns)]
        return np.array([_decomposed(known, self.energies[members], row[columns]) for row in x])

    def _is_corner(self, row: int, rows: Indices) -> bool:
        """Tell whether a phase on the hull is no mixture of the others on it."""
        x = self.fractions[row]
        if (x > ABSENT).sum() == 1:
            return True
        others = rows[(rows != row) & _within_mask(self.fractions[rows], x > ABSENT)]
        mixed = _decomposed(self.fractions[others], self.energies[others], x)
        return bool(mixed > self.energies[row] + 1e-9)


def energies_above_hull(fractions: ArrayLike, energies: ArrayLike) -> Floats:
    """Return each phase's energy above the hull of all, float64[n], in eV/atom, >= 0."""
    hull = Hull.from_energies(fractions, energies)
    return np.maximum(hull.above(hull.fractions, hull.energies), 0.0)


def stable_in_samples(
    hull: Hull, fractions: Floats, samples: Floats, tolerance: float
) -> NDArray[np.bool_]:
    """Tell which candidates each joint sample puts within tolerance of the final hull.

    Each joint sample of the candidates' energies, united with the known phases,
    has a hull of its own; the mean over the samples is each candidate's probability
    to be stable. Candidates that a sample puts above the known hull cannot lower it,
    and are left out of the sample's hull, which changes nothing.

    Parameters
    ----------
    hull
        Hull of the known phases.
    fractions
        Atomic fractions of the candidates, float64[n, k].
    samples
        Joint posterior samples of the energies, float64[s, n], in eV/atom.
    tolerance
        In eV/atom, >= 0.

    Returns
    -------
    bool[s, n].
    """
    rows = hull._lowest_on_hull
    known, lowest = hull.fractions[rows], hull.energies[rows]
    ceiling = hull.energy_at(fractions)
    stable = np.zeros(samples.shape, dtype=bool)
    for row, sample in enumerate(samples):
        near = np.flatnonzero(sample <= ceiling + tolerance)
        below = near[sample[near] < ceiling[near]]
        lowered = Hull(
            np.vstack([known, fractions[below]]), np.concatenate([lowest, sample[below]])
        )
        stable[row, near] = lowered.above(fractions[near], sample[near]) <= tolerance + 1e-12
    return stable


def chemical_systems(fractions: Floats) -> Iterator[tuple[tuple[int, ...], Indices]]:
    """Yield (columns, rows): compositions that one hull serves.

    Up to :data:`ONE_QHULL` elements that is all of them; with more, those whose
    elements are the same.
    """
    if fractions.shape[1] <= ONE_QHULL:
        yield tuple(range(fractions.shape[1])), np.arange(len(fractions))
        return
    if not len(fractions):
        return
    present, inverse, counts = np.unique(
        fractions > ABSENT, axis=0, return_inverse=True, return_counts=True
    )
    grouped = np.split(np.argsort(inverse.ravel(), kind="stable"), np.cumsum(counts)[:-1])
    for row, members in zip(present, grouped, strict=True):
        yield tuple(np.flatnonzero(row).tolist()), members


def _chemical_potentials(x: Floats, e: Floats) -> Floats | None:
    """Return the lower facets' chemical potentials [f, k]; None if qhull cannot serve.

    An apex above the elements makes the point set full-dimensional always, and
    phases above the line between the elements cannot be on the hull.
    """
    k = x.shape[1]
    elements = np.array([e[x[:, i] > 1 - ABSENT].min() for i in range(k)])
    depth = e - x @ elements
    below = depth < 0
    scale = -depth.min()
    if k == 1 or scale <= 1e-13:
        return elements[None, :]
    if k > LARGEST_QHULL:
        return None
    apex = np.full((1, k), 1 / k)
    points = np.vstack([np.eye(k), x[below], apex])[:, 1:]
    heights = np.concatenate([np.zeros(k), depth[below] / scale, [1.0]])
    try:
        equations = ConvexHull(np.column_stack([points, heights])).equations
    except QhullError:
        return None
    lower = equations[equations[:, k - 1] < -VERTICAL]
    slopes = -lower[:, : k - 1] / lower[:, k - 1 : k]
    first = -lower[:, k:] / lower[:, k - 1 : k]
    return np.asarray(elements + scale * np.hstack([first, slopes + first]))


def _decomposed(x: Floats, e: Floats, target: Floats) -> float:
    """Return the lowest energy of a mixture of phases with the composition asked for."""
    answer = linprog(e, A_eq=x.T, b_eq=target, bounds=(0, None), method="highs")
    return float("inf") if answer.fun is None else float(answer.fun)


def _within(fractions: Floats, system: tuple[int, ...]) -> Indices:
    allowed = np.zeros(fractions.shape[1], dtype=bool)
    allowed[list(system)] = True
    return np.flatnonzero(_within_mask(fractions, allowed))


def _within_mask(fractions: Floats, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(~(fractions[:, ~allowed] > ABSENT).any(axis=1))


def _check(x: Floats, e: Floats) -> None:
    if x.ndim != 2 or e.shape != (len(x),) or not len(x):
        raise HullError(
            "a hull needs fractions[n, k] and energies[n] with n >= 1; "
            f"found {x.shape} and {e.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(e).all()):
        raise HullError("a hull needs finite numbers; drop what was not computed")
    if (x < -ABSENT).any() or np.abs(x.sum(axis=1) - 1).max() > 1e-6:
        raise HullError("atomic fractions are at least zero and each row sums to one")
    missing = [
        i for i in range(x.shape[1]) if (x[:, i] > ABSENT).any() and x[:, i].max() < 1 - ABSENT
    ]
    if missing:
        raise HullError(
            f"no phase of the pure element in column(s) {missing}: the hull ends nowhere; "
            "compute the elements first, or give their energies as references"
        )
