"""Where everything of one campaign is, and what its processes are given."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml
from database import Database
from plan import HERE, PW_FAULTS
from slurm_here import Slurm
from small_disk import SmallDisk

from leadline.tasks.calculation import Result
from leadline.tasks.compute.attempt_files import Running, read_result, turns

PLUGINS = Path(__file__).parents[1] / "plugins" / "moody_emt"
STAND_IN = Path(__file__).parents[1] / "plugins" / "stand_in_pw"
LINE = re.compile(r'\{"event"[^{}]*\}')
TOKEN = "LEADLINE_CHAOS"
"""Environment variable that all processes of one stage share."""


@dataclass
class Layout:
    """The folders and the environment of a campaign.

    Parameters
    ----------
    folder
        Where everything is, but for a shared Prefect server.
    campaign
        Content of the campaign file.
    prefect
        Variables that name the Prefect server, or the home of one for itself.
    database
        What keeps the records; None where a file does.
    slurm
        The queue in whose jobs calculations run, if they do.
    disk
        A small disk, mounted in the folder, if there is one.
    on_disk
        What of the campaign is on that disk: its ``store``, or its ``calculations`` alone.
    """

    folder: Path
    campaign: Mapping[str, Any]
    prefect: Mapping[str, str]
    database: Database | None = None
    slurm: Slurm | None = None
    disk: SmallDisk | None = None
    on_disk: str = ""
    token: str = field(default_factory=lambda: token_hex(8))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir()
        (self.folder / "profiles").mkdir()
        self.add_profile(HERE, {"kind": "local", "dashboard": None})
        (self.folder / "pw-faults.json").write_text(json.dumps(dict(PW_FAULTS)))
        self.file.write_text(yaml.safe_dump(dict(self.campaign)))

    def add_profile(self, name: str, cluster: Mapping[str, object]) -> None:
        """Write the profile of a machine whose calculations run on a cluster."""
        site = {
            "command": f"{sys.executable} {STAND_IN / 'stand_in_pw.py'}",
            "pseudopotentials": str(STAND_IN / "pseudo"),
        }
        profile: dict[str, object] = {"cluster": dict(cluster), "engines": {"espresso": site}}
        if self.on_disk == "calculations":
            profile["calculations"] = str(self.calculations)
        (self.folder / "profiles" / f"{name}.yaml").write_text(yaml.safe_dump(profile))

    @property
    def file(self) -> Path:
        return self.folder / "chaos.yaml"

    @property
    def store(self) -> Path:
        disk = self.disk.path if self.disk and self.on_disk == "store" else self.folder
        return disk / "store"

    @property
    def has_store(self) -> bool:
        return self.database is not None or (self.store / "store.sqlite").exists()

    @property
    def calculations(self) -> Path:
        disk = self.disk.path if self.disk and self.on_disk == "calculations" else self.store
        return disk / "calculations"

    @property
    def environment(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "COV_"))}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # each start would compile all of leadline
        paths = [str(PLUGINS), kept.get("PYTHONPATH")]
        return {
            **kept,
            **self.prefect,
            **(self.slurm.variables if self.slurm else {}),
            TOKEN: self.token,
            "LEADLINE_STORE": str(self.store),
            **({"LEADLINE_MONGODB_URI": self.database.uri} if self.database else {}),
            "LEADLINE_PROFILES": str(self.folder / "profiles"),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "STAND_IN_PW": str(self.folder / "pw-faults.json"),
            "PYTHONFAULTHANDLER": "1",
            "TMPDIR": str(self.folder / "tmp"),
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
        }

    def engine_log(self) -> list[dict[str, Any]]:
        """Return the lines of the engines' own log, but for what a full disk has cut short."""
        file = self.calculations / "engines.log"
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in LINE.findall(text)]

    def attempts(self) -> Iterator[tuple[Path, Running]]:
        """Return the folder of a calculation and who ran it, for each attempt."""
        for folder in sorted(self.calculations.glob("*/turns")):
            for running in turns(folder.parent):
                yield folder.parent, running

    def finished(self) -> Iterator[tuple[Path, Result]]:
        """Return the folder of a calculation and its result, for each complete one."""
        for folder, running in self.attempts():
            result = read_result(folder, running.attempt)
            if result is not None and result.complete:
                yield folder, result
