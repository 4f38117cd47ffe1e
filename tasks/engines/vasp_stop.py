"""VASP ends by itself where a file asks it to: at the next SCF step, before its time is up.

What it leaves is no answer, and its files look like one: ``vasprun.xml`` shows fewer
SCF steps than were allowed, as after convergence.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

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


class Stop:
    """Asks the run in a folder to end once its time is up.

    Parameters
    ----------
    directory
        Where VASP runs.
    seconds
        From now; None is never.
    """

    def __init__(self, directory: Path, seconds: float | None) -> None:
        self.asked = False
        """Whether VASP was asked to end."""
        self._file, self._seconds, self._over = directory / STOPCAR, seconds, Event()
        self._thread = Thread(target=self._watch, name="vasp-stop", daemon=True)

    def __enter__(self) -> Stop:
        self._file.unlink(missing_ok=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._file.unlink(missing_ok=True)

    def _watch(self) -> None:
        pause = self._seconds
        while not self._over.wait(pause):
            self.asked, pause = True, AGAIN
            with suppress(OSError):
                self._file.write_text(ABORT)


def refuse_stopped(directory: Path, output: str, outcar: str, *, asked: bool) -> None:
    """Raise StoppedError where a run ended because it was asked to, and not by itself."""
    found = text_of(directory / output), text_of(directory / outcar)
    told = asked or any(words in text for words in WORDS for text in found)
    if told and CONVERGED not in found[1]:
        raise StoppedError(
            f"VASP was asked to end by {STOPCAR} before its SCF converged: its time was up"
        )
