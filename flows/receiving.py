"""A spec that came through Prefect's API: refused in the words of the command line.

Whoever may start a run of a deployment may send any spec, so one that came this way
names no path but inside the folders that the machine opens to it: ``data_roots`` of
its profile, and what ``leadline serve`` was given on its own command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from prefect.runtime import deployment

from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import PATH_KEYS, spec_from, yaml_path
from leadline.tasks.compute.profile import load_profile
from leadline.tasks.errors import SpecError

ROOTS = "LEADLINE_DATA_ROOTS"
"""Variable with files and folders that runs of this process may read, too."""
WILD = frozenset("*?[")


def received(spec: CampaignSpec | Mapping[str, Any]) -> CampaignSpec:
    """Return the spec of this flow run, checked as the one of a campaign file is.

    Raises
    ------
    SpecError
        If a key is wrong, or a run of a deployment names a path that is not open to it.
    """
    checked = spec if isinstance(spec, CampaignSpec) else spec_from(spec, "the spec of this run")
    if deployment.id is not None:
        refuse_foreign_paths(checked, open_roots(checked.compute.profile))
    return checked


def open_roots(profile: str) -> list[Path]:
    """Return the files and folders that a spec from the API may name on this machine."""
    given = os.environ.get(ROOTS, "").split(os.pathsep)
    roots = [*load_profile(profile).data_roots, *(Path(each) for each in given if each)]
    return [each.resolve() for each in roots]


def refuse_foreign_paths(spec: CampaignSpec, roots: Iterable[Path]) -> None:
    """Refuse a spec that names a path outside of all roots.

    Raises
    ------
    SpecError
        With a line for each such path.
    """
    allowed = list(roots)
    lines = [
        f"  {where}: found {path!r}; allowed: an absolute path, without .., inside "
        + (" or ".join(map(str, allowed)) or "one of the machine's data_roots: it has none")
        for where, path in named_paths(spec)
        if not _is_open(Path(path), allowed)
    ]
    if lines:
        raise SpecError(
            "\n".join(
                [
                    "the spec of this run names paths that are not open to it:",
                    *lines,
                    "data_roots in the machine profile opens further folders; `leadline run` on "
                    "the machine itself reads any",
                ]
            )
        )


def opened_to(specs: Iterable[CampaignSpec]) -> str:
    """Return the value of the variable that opens what these specs name, and nothing else."""
    plain = {str(_plain(Path(path))) for spec in specs for _, path in named_paths(spec)}
    given = [each for each in os.environ.get(ROOTS, "").split(os.pathsep) if each]
    return os.pathsep.join([*given, *sorted(plain - set(given))])


def named_paths(spec: CampaignSpec) -> Iterator[tuple[str, str]]:
    """Yield each path that a spec names, after the place where it stands."""
    yield from _paths(spec.model_dump(mode="json"), ())


def _paths(value: Any, location: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _paths(item, (*location, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _paths(item, (*location, place))
    elif isinstance(value, str) and not PATH_KEYS.isdisjoint(map(str, location[-2:])):
        yield yaml_path(location), value


def _is_open(path: Path, roots: Iterable[Path]) -> bool:
    if not path.is_absolute() or ".." in path.parts:
        return False
    return any(_plain(path).resolve().is_relative_to(root) for root in roots)


def _plain(path: Path) -> Path:
    """Return what stands before the first part with a wildcard."""
    return Path(*takewhile(WILD.isdisjoint, path.parts))
