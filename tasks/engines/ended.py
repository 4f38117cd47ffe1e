"""What stays of an engine that was ended from outside, and could not tidy up itself."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from leadline.surrogate.errors import LeadlineError
from leadline.tasks.calculation import Request
from leadline.tasks.engines.aftermath import remove_scratch
from leadline.tasks.engines.compute import RAW
from leadline.tasks.engines.prerelax import FOLDER
from leadline.tasks.engines.requested import requested_engine, requested_prerelaxer


def tidy_after_end(request: Request, directory: Path) -> None:
    """Remove what ``keep`` does not want of a failed attempt, and scratch files in any case.

    Only once nothing of the engine is alive. Wave functions alone may be larger than
    all that a campaign keeps.
    """
    raw = directory / RAW
    if request.keep == "none":
        shutil.rmtree(raw, ignore_errors=True)
    with suppress(LeadlineError):  # an engine that cannot be set up has no scratch files
        remove_scratch(requested_engine(request), raw)
        if (cheap := requested_prerelaxer(request)) is not None:
            remove_scratch(cheap, raw / FOLDER)
