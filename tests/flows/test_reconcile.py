"""`leadline reconcile` after real crashes: in plain words, beside others, twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.reconcile_rules import RULES
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    import subprocess

    from tests.flows.conftest import Run, Said, WriteFile

    Command = Callable[..., Said]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_the_readme_is_the_table_of_rules(command: Command) -> None:
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", README, re.M)
    for rule in RULES.values():
        assert (rule.difference, rule.proof, rule.done) in rows
    shown = command("reconcile", "--rules").out
    assert [name for name, rule in RULES.items() if name not in shown or rule.done not in shown] == []


def test_where_there_is_no_store_none_is_made(command: Command, store: Path) -> None:
    said = command("reconcile")
    assert (said.code, "there is no store in" in said.err) == (2, True)
    assert not store.exists()
