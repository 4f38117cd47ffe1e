"""Magnetic moments to start an SCF from."""

from __future__ import annotations

from collections.abc import Mapping

from ase import Atoms

from leadline.tasks.errors import ConfigurationError


def starting_moments(
    atoms: Atoms, start: Mapping[str, float] | None, key: str, value: object
) -> list[float] | None:
    """Return the moment of each atom in μB: the structure's own, else those of its elements.

    Parameters
    ----------
    atoms
        Their initial moments count where any is not zero.
    start
        Moments by element; None where the engine computes without spin.
    key, value
        Setting of the engine that would switch spin on, for the message.

    Raises
    ------
    ConfigurationError
        If the structure has moments, and the engine computes without spin.
    """
    moments = atoms.get_initial_magnetic_moments()
    if start is None:
        if moments.any():
            raise ConfigurationError(
                f"a structure has initial moments, and engine.{key} says to compute without spin; "
                f"set it to {value}"
            )
        return None
    if moments.any():
        return [float(moment) for moment in moments]
    return [start.get(symbol, 0.0) for symbol in atoms.symbols]
