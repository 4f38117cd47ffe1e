"""Formation energies, and reference energies of the elements fitted to labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadline.surrogate.errors import FitError

Array = NDArray[np.float64]

RIDGE = 1e-6


def formation_energies(
    energies_per_atom: ArrayLike, fractions: ArrayLike, reference: ArrayLike
) -> Array:
    """Return formation energies[n], eV/atom.

    Parameters
    ----------
    energies_per_atom
        Total energies over the number of atoms, float[n], eV/atom.
    fractions
        Atomic fractions, float[n, k]; rows sum to one.
    reference
        Energies of the k elements in their reference phases, float[k], eV/atom.

    Raises
    ------
    FitError
        If shapes do not match, or a number is not finite.
    """
    energies, shares = _checked(energies_per_atom, fractions)
    phases = np.asarray(reference, dtype=float)
    missing = np.flatnonzero(~np.isfinite(phases)) if phases.shape == shares.shape[1:] else None
    if missing is None or len(missing):
        raise FitError(
            f"reference energies have shape {phases.shape} with "
            f"{np.count_nonzero(~np.isfinite(phases))} not finite; "
            f"one finite number an element is needed, {shares.shape[1]} in all"
        )
    return np.asarray(energies - shares @ phases)


def fitted_references(energies_per_atom: ArrayLike, fractions: ArrayLike) -> Array:
    """Return reference energies[k] by ridge regression on labels, eV/atom.

    w = (AᵀA + 10⁻⁶ I)⁻¹ Aᵀ e over the fractions A, with e taken about its mean
    so that an element that no label holds gets the mean energy. They take out
    the spread between elements, and say nothing about a hull. Fit them on
    training labels alone.

    Raises
    ------
    FitError
        If there is no label, shapes do not match, or a number is not finite.
    """
    energies, shares = _checked(energies_per_atom, fractions)
    mean = energies.mean()
    gram = shares.T @ shares + RIDGE * np.eye(shares.shape[1])
    return np.asarray(mean + np.linalg.solve(gram, shares.T @ (energies - mean)))


def _checked(energies_per_atom: ArrayLike, fractions: ArrayLike) -> tuple[Array, Array]:
    energies = np.asarray(energies_per_atom, dtype=float)
    shares = np.asarray(fractions, dtype=float)
    if shares.ndim != 2 or energies.shape != shares.shape[:1] or not energies.size:
        raise FitError(
            f"energies have shape {energies.shape} and fractions {shares.shape}; "
            "energies[n] and fractions[n, k] with n at least 1 are needed"
        )
    if not (np.isfinite(energies).all() and np.isfinite(shares).all()):
        raise FitError(
            f"{np.count_nonzero(~np.isfinite(energies))} of {len(energies)} energies are not "
            "finite; leave out calculations without an energy"
        )
    return energies, shares
