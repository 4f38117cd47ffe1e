"""Who uses this terminal, for records of what a person decided."""

from __future__ import annotations

import getpass
import os

from leadline.tasks.compute.processes import host


def person() -> str:
    """Return the user and the host."""
    try:
        return f"{getpass.getuser()} on {host()}"
    except (KeyError, OSError):  # a container may know no name for its user
        return f"user {os.getuid()} on {host()}"
