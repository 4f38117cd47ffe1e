"""The warning with which torch answers an import of gpytorch: not a person's to mend."""

from __future__ import annotations

import os
import warnings

# linear_operator, under gpytorch, scripts a function on import; torch 2.15 deprecates that
PYTHONWARNINGS = "ignore::FutureWarning:torch.jit._script"
"""Value of the environment variable of that name that keeps it from a terminal."""


def quiet_torch() -> None:
    """Leave it unsaid in this process, and in those that it starts."""
    warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated")
    os.environ.setdefault("PYTHONWARNINGS", PYTHONWARNINGS)
