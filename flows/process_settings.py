"""Settings of this process while a run lasts.

Prefect reads its settings once, on import: changing the environment later changes
nothing until they are read again, and ``prefect.settings.temporary_settings`` changes
them for the calling thread alone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prefect.context import refresh_global_settings_context

from leadline.flows.loopback_server import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def process_settings(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for every thread of this process and what it starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    refresh_global_settings_context()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        refresh_global_settings_context()


def defaults(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of the variables that the environment does not set."""
    return {name: value for name, value in variables.items() if name not in os.environ}


def no_proxy() -> dict[str, str]:
    """Return variables that keep requests to loopback from the proxy that clusters often set."""
    names = [name for name in ("NO_PROXY", "no_proxy") if os.environ.get(name)] or ["NO_PROXY"]
    return {name: ",".join(filter(None, [os.environ.get(name), HOST])) for name in names}
