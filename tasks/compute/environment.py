"""What a worker and its engines may know of the driver's environment."""

from __future__ import annotations

import re
from collections.abc import Mapping


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a worker and its engines may know: no way to Prefect or to a database.

    They need none, and an engine that prints its environment, as launchers of MPI do
    when they fail, would leave the passwords in its raw files.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PREFECT_") and not re.match(r"mongodb(\+srv)?://", value)
    }
