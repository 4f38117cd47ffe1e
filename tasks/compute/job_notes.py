"""Which batch jobs with workers a driver has: written down, so that others find them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class JobNote:
    """That a driver has a job with a worker in a queue.

    Parameters
    ----------
    job, queue
        The job's id, and the queue that has it; None where that was not known.
    owner
        The driver, as its lease names it.
    """

    job: str
    queue: str | None
    owner: str

    def write(self, folder: Path) -> None:
        """Write it down, so that others find the job when the driver is dead."""
        self._file(folder).write_text(json.dumps(asdict(self)), encoding="utf-8")

    def remove(self, folder: Path) -> None:
        """Forget the job."""
        with suppress(OSError):
            self._file(folder).unlink()

    def _file(self, folder: Path) -> Path:
        return folder / f"job-{self.job}.json"


def job_notes(folder: Path) -> Iterator[JobNote]:
    """Yield what is written down of the jobs of all drivers."""
    for file in sorted(folder.glob("job-*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            read = json.loads(file.read_text(encoding="utf-8"))
            yield JobNote(str(read["job"]), read.get("queue"), str(read["owner"]))
