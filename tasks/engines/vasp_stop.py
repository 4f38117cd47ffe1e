"""VASP ends by itself where a file asks it to: at the next SCF step, before its time is up.

What it leaves is no answer, and its files look like one: ``vasprun.xml`` shows fewer
SCF steps than were allowed, as after convergence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from leadline.tasks.beside import beside
from leadline.tasks.engines.program_end import text_of

STOPCAR = "STOPCAR"
ABORT = "LABORT = .TRUE.\n"
AGAIN = 5.0
"""Seconds after which the file is written again: VASP deletes one that it finds at its start."""
WORDS = ("soft stop encountered", "hard stop encountered")
"""What VASP prints where it found one."""
CONVERGED = "aborting loop because EDIFF is reached"
"""What OUTCAR says of an SCF that ended as it should."""


class StoppedError(Exception):
    """VASP ended before its SCF converged, because it was asked to."""


@contextmanager
def stopped_in_time(directory: Path, seconds: float | None) -> Iterator[Event]:
    """Ask the run in a folder to end once its time is up; give what is set when it was asked.

    Parameters
    ----------
    directory
        Where VASP runs.
    seconds
        From now; None is never.
    """
    file, asked = directory / STOPCAR, Event()

    def watch(over: Event) -> None:
        pause = seconds
        while not over.wait(pause):
            asked.set()
            pause = AGAIN
            with suppress(OSError):
                file.write_text(ABORT)

    file.unlink(missing_ok=True)
    try:
        with beside("vasp-stop", watch):
            yield asked
    finally:
        file.unlink(missing_ok=True)


def refuse_stopped(directory: Path, output: str, outcar: str, *, asked: bool) -> None:
    """Raise StoppedError where a run ended because it was asked to, and not by itself."""
    found = text_of(directory / output), text_of(directory / outcar)
    told = asked or any(words in text for words in WORDS for text in found)
    if told and CONVERGED not in found[1]:
        raise StoppedError(
            f"VASP was asked to end by {STOPCAR} before its SCF converged: its time was up"
        )
