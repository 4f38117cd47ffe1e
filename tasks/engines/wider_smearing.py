"""The remedy of an SCF that finds no rest at the Fermi level, whatever code runs it."""

from __future__ import annotations

from leadline.tasks.engines.engine import PhysicsRemedy


def first_smearing(smearing: str, width: str) -> PhysicsRemedy:
    """Smear occupations that are fixed: ``smearing``, by the engine's ``width`` in words."""
    return PhysicsRemedy(
        {"smearing": smearing},
        f"occupations are fixed, which suits insulators alone; smeared by {width} they let the "
        "SCF of a metal converge",
    )


def wider_smearing(key: str, width: float, widest: float, unit: str) -> PhysicsRemedy | None:
    """Smear by twice the width.

    Parameters
    ----------
    key, width
        The setting and its value.
    widest
        Past it the entropy of the electrons is no small correction any more: None then.
    unit
        Of ``width`` and ``widest``.
    """
    if 2 * width > widest:
        return None
    return PhysicsRemedy(
        {key: 2 * width},
        f"occupations smeared by {2 * width:g} {unit} in place of {width:g} calm an SCF whose "
        "states change places at the Fermi level",
    )
