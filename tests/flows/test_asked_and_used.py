"""`leadline status` and `leadline show` tell of jobs: asked for, used, held by their queue."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from told import COPPER

from leadline.surrogate.candidate import Candidate
from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.compute.attempt_files import attempt_folder
from leadline.tasks.compute.batch_job import Submission
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.recipes.static import Static
from leadline.tasks.recording import calculation_of, structure_record
from leadline.tasks.store.records import (
    CalculationState,
    Campaign,
    Proposal,
    ProposalState,
    Round,
)
from leadline.tasks.store.store import Store, open_store
from leadline.tasks.structures import structure_id

if TYPE_CHECKING:
    from tests.flows.conftest import Said

SPEC = {
    "name": "small",
    "objective": {"kind": "hull", "tolerance": 0.001, "references": {"kind": "computed"}},
}
ASKED = {
    "walltime": 1560.0,
    "memory": 8.4e9,
    "most_walltime": 43200.0,
    "most_memory": 64e9,
    "predicted_seconds": 1000.0,
    "predicted_memory": 4e9,
}


def queued(store: Store) -> str:
    """Store a campaign that asks for copper, and return its calculation."""
    engine, recipe = EmtEngine({}, EngineSite()), Static({})
    asked = structure_record(Candidate(structure_id(COPPER), COPPER, {"source": "test"}))
    wanted = calculation_of(asked.id, engine, recipe, engine.fingerprint(), "small")
    pick = Proposal("small", 0, 0, asked.id, {"share": "random", "words": "because"})
    store.create_campaign(Campaign("small", SPEC))
    store.commit_round(Round("small", 0, {"proposed": 1}), [pick], [asked])
    store.ensure_calculations([wanted])
    store.set_proposal("small", 0, 0, ProposalState.LINKED, calculation=wanted.id)
    return wanted.id


def test_what_was_asked_for_stands_beside_what_was_used(
    command: Callable[..., Said], store: Path
) -> None:
    with open_store(None, store) as opened:
        id = queued(opened)
        cut = Failure(FailureKind.REMOTE, "walltime", "it took too long")
        left = replace(
            Result(id, 1, converged=False, failure=cut),
            asked=ASKED,
            times={"wall": 1490.0},
            where={"job": "7"},
        )
        opened.claim(id, "me", reason="first attempt")
        opened.fail(id, 1, cut, CalculationState.CUT, left)
        opened.requeue(id)
        opened.claim(id, "me", reason="again with more walltime")
        used = {"memory": 4.2e9, "cores": 4.0}
        done = replace(left, attempt=2, converged=True, energy=-0.03, failure=None, used=used)
        opened.finish(id, 2, replace(done, where={"job": "8"}, times={"wall": 1630.0}))
    shown = command("show", "small", "Cu").out
    assert "asked for 26 min 00 s and 8.4 GB, predicted 16 min 40 s and 4.0 GB" in shown
    assert "used 24 min 50 s" in shown
    assert "used 27 min 10 s and 4.2 GB" in shown
    assert (
        "2 batch jobs asked for 52 min 00 s, of which engines ran for 52 min 00 s (100 %), and for "
        "8.4 GB on average, of which 4.2 GB (50 %)."
    ) in command("status", "small").out
    status = json.loads(command("status", "small", "--json").out)
    assert status["requested"]["jobs"] == 2
    assert status["requested"]["memory"] == 8.4e9


@pytest.fixture
def slurm_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm called big, whose listing stands in a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    for name, lines in {
        "squeue": f"cat {folder}/listing",
        "scontrol": "echo ClusterName=big",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (folder / name).chmod(0o755)
    return folder / "listing"


def test_a_held_job_is_mentioned_while_it_is_held(
    command: Callable[..., Said], store: Path, tmp_path: Path, slurm_of_a_line: Path
) -> None:
    queue, root = f"slurm/big/{getpass.getuser()}", tmp_path / "calculations"
    with open_store(None, store) as opened:
        id = queued(opened)
        opened.claim(id, "me", where={"folder": str(root / id)})
        directory = attempt_folder(root / id, 1)
        directory.mkdir(parents=True)
        Submission("slurm", "17", queue).note(directory)
    slurm_of_a_line.write_text("17|PENDING|JobHeldAdmin\n18|PENDING|JobHeldUser\n")
    assert "  batch job 17 is held: JobHeldAdmin\n" in command("status", "small").out
    assert json.loads(command("status", "small", "--json").out)["held_jobs"] == {
        "17": "JobHeldAdmin"
    }
    slurm_of_a_line.write_text("17|PENDING|Priority\n")
    assert "is held" not in command("status", "small").out
    Submission("slurm", "17", "slurm/other/me").note(directory)
    slurm_of_a_line.write_text("17|PENDING|JobHeldAdmin\n")
    assert "is held" not in command("status", "small").out
