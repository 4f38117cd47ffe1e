"""How a program that computes for an engine is started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.errors import ConfigurationError

TIMES_ASKED = 3
"""How often a program is asked what it is, where signals end it meanwhile."""
ANSWER_SECONDS = 120.0
"""How long it has to answer."""
NOTHING: Mapping[str, str] = MappingProxyType({})


class BrokenOutputError(Exception):
    """A program ended without an error, and its output is no answer."""


def command_line(site: EngineSite, default: str) -> str:
    """Return the launcher of a machine and the program behind it."""
    return f"{site.launcher} {site.command or default}".strip().format(ranks=site.ranks)


def asked(
    command: Sequence[str],
    input: str = "",
    directory: str | None = None,
    environment: Mapping[str, str] = NOTHING,
) -> subprocess.CompletedProcess[str]:
    """Run a program that is to say what it is, and return what came of it.

    One that a signal ended says nothing of itself, and is asked again.

    Raises
    ------
    ConfigurationError
        If it does not end in time.
    OSError
        If it may not be run.
    """
    for _ in range(TIMES_ASKED):
        try:
            answer = subprocess.run(
                command,
                cwd=directory,
                input=input,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=ANSWER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(
                f"{' '.join(command)} was asked for its version, and did not end within "
                f"{ANSWER_SECONDS:.0f} s; see whether it runs here, or give its version in the "
                "machine profile"
            ) from None
        if answer.returncode >= 0:
            break
    return answer


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
