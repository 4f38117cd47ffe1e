"""How a program that computes for an engine is started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from leadline.tasks.engines.engine import EngineSite

NOTHING: Mapping[str, str] = MappingProxyType({})


class BrokenOutputError(Exception):
    """A program ended without an error, and its output is no answer."""


def command_line(site: EngineSite, default: str) -> str:
    """Return the launcher of a machine and the program behind it."""
    return f"{site.launcher} {site.command or default}".strip().format(ranks=site.ranks)


def run_program(
    command: Sequence[str],
    directory: Path,
    output: str,
    errors: str,
    threads: int,
    environment: Mapping[str, str] = NOTHING,
) -> None:
    """Run a program in ``directory``; it stays in the process group of its parent.

    Parameters
    ----------
    command
        The program and its arguments, one a word.
    directory
        Where it works.
    output, errors
        Names of the files there that take what it prints.
    threads
        OpenMP threads that it may use.
    environment
        Variables that it gets beside those of this process.

    Raises
    ------
    subprocess.CalledProcessError
        If its exit code is not 0.
    OSError
        If there is no such program, or it may not be run.
    """
    with (directory / output).open("wb") as out, (directory / errors).open("wb") as err:
        subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), **environment},
            check=True,
        )
