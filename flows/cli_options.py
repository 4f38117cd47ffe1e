"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

Name = Annotated[str, typer.Argument(help="Name of a campaign.", show_default=False)]
StoreFolder = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time
    typer.Option("--store", metavar="DIR", help="Folder of the embedded store [.leadline]."),
]


def use(store: Path | None) -> None:
    """Let ``--store`` name the folder for everything that this process opens."""
    if store is not None:
        os.environ["LEADLINE_STORE"] = str(store)
