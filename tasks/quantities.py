"""Quantities that people write: a bare number in the unit named, or a string with a unit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from leadline.tasks.places import Measure
from leadline.tasks.settings import shown

_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*)?\s*")

ENERGY_PER_ATOM = {"eV/atom": 1.0, "meV/atom": 1e-3}
TIME = {"h": 1.0, "hours": 1.0, "min": 1 / 60, "minutes": 1 / 60, "s": 1 / 3600, "d": 24.0}
SECONDS = {unit: hours * 3600 for unit, hours in TIME.items()}
BYTES = {
    **{f"{prefix}B": 1000.0**power for power, prefix in enumerate(("", "k", "M", "G", "T"))},
    **{f"{prefix}iB": 1024.0**power for power, prefix in enumerate("KMGT", start=1)},
}


def quantity(unit: str, factors: Mapping[str, float]) -> Callable[[Any], float]:
    """Return a reader of numbers in ``unit`` and of strings in any unit of ``factors``."""
    allowed = Measure(unit, tuple(factors)).words

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"found {shown(value)}; allowed: {allowed}")
        number, factor = _split(value, factors)
        if number is None or factor is None or not math.isfinite(number * factor):
            raise ValueError(f"found {shown(value)}; allowed: {allowed}")
        return number * factor

    return read


def _split(value: float | str, factors: Mapping[str, float]) -> tuple[float | None, float | None]:
    if not isinstance(value, str):
        return float(value), 1.0
    match = _QUANTITY.fullmatch(value)
    if match is None:
        return None, None
    unit = (match[2] or "").strip()
    return float(match[1]), 1.0 if not unit else factors.get(unit)


def written_time(hours: float) -> str:
    """Return a time as a person writes it, to be read back as it was: ``20 s``, ``1.5 h``."""
    unit = next((each for each in ("h", "min") if hours >= TIME[each]), "s")
    return f"{hours / TIME[unit]:.12g} {unit}"


EnergyPerAtom = Annotated[
    float,
    BeforeValidator(quantity("eV/atom", ENERGY_PER_ATOM)),
    Measure("eV/atom", tuple(ENERGY_PER_ATOM)),
]
Hours = Annotated[float, BeforeValidator(quantity("hours", TIME)), Measure("hours", tuple(TIME))]
Seconds = Annotated[
    float, BeforeValidator(quantity("seconds", SECONDS)), Measure("seconds", tuple(SECONDS))
]
Bytes = Annotated[float, BeforeValidator(quantity("bytes", BYTES)), Measure("bytes", tuple(BYTES))]
