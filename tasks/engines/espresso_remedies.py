"""What is changed when pw.x fails for physical reasons: one rung an attempt, then the physics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.engine import PhysicsRemedy
from leadline.tasks.engines.espresso_settings import EspressoSettings
from leadline.tasks.engines.wider_smearing import first_smearing, wider_smearing

SMEARED_AWAY = frozenset({"scf-not-converged", "electrons", "needs-smearing"})
"""Reasons of failures that a wider smearing may cure."""
WIDEST = 0.06
"""Ry, to which the smearing is widened."""


def ladders(settings: EspressoSettings) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the rungs for each reason of a failure: path keys, from gentle to desperate."""
    beta, steps = settings.mixing_beta, 2 * settings.electron_maxstep
    gentle = {"mixing_beta": beta / 2, "electron_maxstep": steps}
    local = {**gentle, "mixing_mode": "local-TF", "mixing_beta": beta / 3}
    sturdy = {"diagonalization": "cg"}
    roomy = {"empty_bands": 2 * (settings.empty_bands or 0.25)}
    return {
        "scf-not-converged": [gentle, local, gentle | sturdy, gentle | sturdy | roomy],
        "diagonalization": [sturdy, {"diagonalization": "paro"}],
        "electrons": [gentle, gentle | sturdy],
        "too-few-bands": [roomy, {"empty_bands": 2 * roomy["empty_bands"]}],
        "symmetry": [{"nosym": True}],
        "restart-files": [{"restart": False}],
        "engine-crashed": [{"restart": False}, sturdy],
        # Numbers without sense come of an SCF that ran away.
        "not-finite": [gentle | sturdy],
        "output-unreadable": [gentle | sturdy],
        "absurd-energy": [gentle | sturdy],
    }


def physics_remedy(settings: EspressoSettings, failure: Failure) -> PhysicsRemedy | None:
    """Return the smearing that may let an SCF converge, as another calculation."""
    if failure.kind is not FailureKind.PHYSICS or failure.reason not in SMEARED_AWAY:
        return None
    if settings.smearing == "none":
        return first_smearing("marzari-vanderbilt", f"{settings.degauss:g} Ry")
    return wider_smearing("degauss", settings.degauss, WIDEST, "Ry")
