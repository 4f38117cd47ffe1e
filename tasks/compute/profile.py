"""The profile of a machine: its cluster, its engines, its folders.

A profile lives on the machine and a campaign file only names it, so no campaign
file holds a command or a folder of the machine. Looked for, in this order, as
``NAME.yaml`` in the folder that ``LEADLINE_PROFILES`` names, in
``~/.config/leadline/profiles``, and among those that come with leadline.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from leadline.tasks.compute.queue_settings import QueueCluster
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.errors import ProfileError, SpecError
from leadline.tasks.settings import NOT_YAML, few, shown, unkeepable, validated

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalCluster(_Strict):
    """Workers on this machine, opened for a run and closed with it."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, ge=1)
    """Calculations at a time; None takes one for each core that may be used."""
    dashboard: str | None = "127.0.0.1:0"
    """Address of the Dask dashboard; port 0 takes a free one; None shows none."""
    scratch: Path | None = None
    """Folder for the workers' own files; None takes the system's temporary folder."""


class SchedulerCluster(_Strict):
    """A Dask scheduler that already runs; its workers outlive a run."""

    kind: Literal["scheduler"]
    address: str = Field(pattern=r"^(tls|tcp)://[^/\s]+:\d+$")
    """For example ``tls://node17:8786``."""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout: float = Field(default=10.0, gt=0)
    """Seconds to wait for the scheduler, and for its first worker."""

    @model_validator(mode="after")
    def _certificates_with_tls(self) -> Self:
        given = (self.ca, self.certificate, self.key)
        if self.address.startswith("tls") and None in given:
            raise ValueError("a tls:// address needs ca, certificate and key")
        if self.address.startswith("tcp") and any(given):
            raise ValueError("ca, certificate and key need a tls:// address")
        return self


AnyCluster = LocalCluster | SchedulerCluster | QueueCluster


class LargerCells(_Strict):
    """Where the calculations of larger cells run."""

    above: int = Field(ge=1)
    """It takes cells of more atoms than this."""
    cluster: Annotated[AnyCluster, Field(discriminator="kind")]


class Profile(_Strict):
    """What leadline knows of a machine."""

    name: str
    cluster: Annotated[AnyCluster, Field(discriminator="kind")] = LocalCluster()
    larger: tuple[LargerCells, ...] = ()
    """Further clusters, for larger cells, from small to large."""
    engines: Mapping[str, EngineSite] = Field(default_factory=dict)
    """Command, launcher, ranks and folders, by the engine's name."""
    calculations: Path | None = None
    """Folder that driver and workers share; None takes one under the store's folder."""
    data_roots: tuple[Path, ...] = ()
    """Folders that a campaign sent through an API may read."""
    time_limit: float | None = Field(default=None, gt=0)
    """Seconds after which a calculation is ended, or None."""
    dask: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of Dask by their dotted names, e.g. ``distributed.comm.timeouts.connect: 60s``."""

    @field_validator("calculations", "data_roots", mode="after")
    @classmethod
    def _absolute(cls, value: Path | tuple[Path, ...] | None) -> Path | tuple[Path, ...] | None:
        paths = value if isinstance(value, tuple) else (value,) if value else ()
        relative = [str(path) for path in paths if not path.is_absolute()]
        if relative:
            raise ValueError(f"a profile needs absolute paths, not {', '.join(relative)}")
        return value

    @field_validator("larger", mode="after")
    @classmethod
    def _from_small_to_large(cls, value: tuple[LargerCells, ...]) -> tuple[LargerCells, ...]:
        bounds = [each.above for each in value]
        if bounds != sorted(set(bounds)):
            raise ValueError(f"found bounds {bounds}; allowed: `above` rising from one to the next")
        return value

    def site(self, engine: str, cluster: AnyCluster | None = None) -> EngineSite:
        """Return what the profile says of an engine; the engine's defaults where nothing.

        Ranks and threads are those of a calculation on the batch system, unless the
        engine has its own. ``cluster`` is one of the profile's; None takes the first.
        """
        site, cluster = self.engines.get(engine, EngineSite()), cluster or self.cluster
        if not isinstance(cluster, QueueCluster):
            return site
        need = cluster.resources
        asked = {"ranks": need.ranks, "threads": need.threads}
        return site.model_copy(
            update={key: asked[key] for key in asked.keys() - site.model_fields_set}
        )

    def nodes(self, engine: str, sites: int) -> float:
        """Return how many nodes a calculation of so many atoms takes up.

        On a batch system those of its job; elsewhere the share of this machine's cores
        that the profile gives to one calculation.
        """
        larger = [each.cluster for each in self.larger if sites > each.above]
        cluster = larger[-1] if larger else self.cluster
        if isinstance(cluster, QueueCluster):
            return float(cluster.resources.nodes)
        site = self.site(engine, cluster)
        return site.ranks * site.threads / (os.cpu_count() or 1)

    @property
    def outlives_driver(self) -> bool:
        """True if engines go on when the driver ends."""
        clusters = (self.cluster, *(each.cluster for each in self.larger))
        return all(_outlives_driver(each) for each in clusters)


def _outlives_driver(cluster: AnyCluster) -> bool:
    jobs = isinstance(cluster, QueueCluster) and cluster.way == "jobs"
    return jobs or isinstance(cluster, SchedulerCluster)


def load_profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises
    ------
    ProfileError
        If there is none, or the file is no YAML, or a key or value is not
        allowed; the message names file and key.
    """
    found = next((folder for folder in _folders() if _has(folder, name)), None)
    if found is None:
        looked = ", ".join(str(folder) for folder in _folders())
        raise ProfileError(
            f"no machine profile is called {name!r}; found are: {', '.join(profile_names())}. "
            f"Looked in {looked}; write {name}.yaml into the first of these"
        )
    file = found / f"{name}.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file} cannot be read: {error}") from None
    return _parsed(name, text, str(file))


def profile_names() -> list[str]:
    """Return the names of all profiles that can be loaded."""
    stems = {
        entry.name.removesuffix(".yaml")
        for folder in _folders()
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }
    return sorted(stem for stem in stems if NAME.fullmatch(stem))


def _parsed(name: str, text: str, file: str) -> Profile:
    try:
        plain = yaml.safe_load(text) or {}
    except NOT_YAML as error:
        raise ProfileError(f"{file} is not YAML: {error}") from None
    if not isinstance(plain, dict):
        raise ProfileError(f"{file}: a profile is a mapping of keys, found {shown(plain)}")
    if problem := unkeepable(plain):
        raise ProfileError(f"{file}: {problem}")
    if "name" in plain:
        raise ProfileError(f"{file}: name: the file's name is the profile's; remove this key")
    try:
        return validated(Profile, {**plain, "name": name}, file)
    except SpecError as error:
        raise ProfileError("\n".join(few(str(error).splitlines()))) from None


def _folders() -> Iterator[Path | Traversable]:
    if named := os.environ.get("LEADLINE_PROFILES"):
        yield Path(named).expanduser()
    yield Path("~/.config/leadline/profiles").expanduser()
    yield files("leadline.deploy") / "profiles"


def _has(folder: Path | Traversable, name: str) -> bool:
    return NAME.fullmatch(name) is not None and (folder / f"{name}.yaml").is_file()
