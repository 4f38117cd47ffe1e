"""One calculation as a batch job of its own: the request and the answer are files.

Run by the script of a job as ``python -m leadline.tasks.compute.batch_job FOLDER --name N``,
the folder being that of the calculation, N the number of the attempt. No driver need be there.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from leadline.tasks.compute.attempt_files import attempt_folder, write_whole
from leadline.tasks.compute.worker import ends_in, run_calculation
from leadline.tasks.engines.compute import job_age

REQUEST, JOB = "request.json", "job.json"
"""What the driver asks for, and which job runs it, in the folder of the attempt."""


@dataclass(frozen=True)
class Submission:
    """That an attempt was submitted as a batch job.

    Parameters
    ----------
    system, job
        Name of the batch system, and the job's id.
    queue
        The queue that has the job, as ``BatchQueue.name``; None where it is not known.
    """

    system: str
    job: str
    queue: str | None = None

    def note(self, directory: Path) -> None:
        """Write it into the folder of the attempt."""
        write_whole(directory / JOB, json.dumps(asdict(self)))


def options(words: Sequence[str]) -> Namespace:
    """Read what dask-jobqueue puts on the command line, and what we add."""
    parser = ArgumentParser(prog="leadline.tasks.compute.batch_job")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", type=int)
    for name in ("walltime", "margin"):
        parser.add_argument(f"--{name}", type=float)
    return parser.parse_known_args(words)[0]


def submitted(folder: Path, attempt: int) -> Submission | None:
    """Return as which job an attempt was submitted, or None."""
    try:
        found = json.loads((attempt_folder(folder, attempt) / JOB).read_text(encoding="utf-8"))
        queue = found.get("queue")
        return Submission(str(found["system"]), str(found["job"]), queue and str(queue))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def asked_for(folder: Path, attempt: int) -> dict[str, float]:
    """Return what the job of an attempt asked for, as its request says; or nothing."""
    try:
        request = json.loads((attempt_folder(folder, attempt) / REQUEST).read_text("utf-8"))
        return {str(name): float(value) for name, value in request["asked"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def run(folder: Path, attempt: int) -> str:
    """Run an attempt from its request; return why no engine was started, if none was.

    The answer stands in the attempt's folder.
    """
    file = attempt_folder(folder, attempt) / REQUEST
    answer = run_calculation(json.loads(file.read_text(encoding="utf-8")))
    return answer.get("refused", "")


if __name__ == "__main__":
    given = options(sys.argv[1:])
    ends_in(given.walltime - given.margin - job_age())
    sys.exit(run(given.folder, given.name) or None)
