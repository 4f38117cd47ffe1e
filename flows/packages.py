"""Versions of the code that a campaign ran with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "leadline",
    "ase",
    "botorch",
    "dask",
    "distributed",
    "dscribe",
    "gpytorch",
    "mongoengine",
    "numpy",
    "prefect",
    "pymatgen",
    "scipy",
    "torch",
)


def package_versions() -> dict[str, str]:
    """Return the versions of what decides results, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
