"""Where a campaign's records are: a MongoDB server, or the folder next to the user."""

from __future__ import annotations

import os
from pathlib import Path

from leadline.flows.spec import StoreSpec
from leadline.tasks.errors import InputError
from leadline.tasks.store.patience import Patience
from leadline.tasks.store.store import Store, open_store

URI = "LEADLINE_MONGODB_URI"
FOLDER = "LEADLINE_STORE"
DEFAULT = Path(".leadline")


def open_for(
    spec: StoreSpec | None = None, *, write: bool = True, patience: Patience | None = None
) -> Store:
    """Open the store: ``store.uri_from``, else ``LEADLINE_MONGODB_URI``, else a folder.

    The folder is ``LEADLINE_STORE`` (what ``--store`` sets), or ``.leadline`` of the
    working folder. ``patience`` is how the open store waits for a server that goes away.

    Raises
    ------
    InputError
        If ``store.uri_from`` names neither a variable nor a secret block.
    """
    folder = store_folder()
    uri = secret(spec.uri_from) if spec and spec.uri_from else os.environ.get(URI)
    return open_store(uri, folder, write=write, patience=patience)


def store_folder() -> Path:
    """Return the folder of the embedded store, of artefacts and of calculations."""
    return Path(os.environ.get(FOLDER) or DEFAULT).resolve()


def secret(name: str) -> str:
    """Return the URI that an environment variable or a Prefect secret block holds."""
    if value := os.environ.get(name):
        return value
    try:
        from prefect.blocks.system import Secret

        return str(Secret.load(name).get())  # type: ignore[union-attr]
    except Exception:
        raise InputError(
            f"store.uri_from: names {name!r}, which is neither a set environment variable nor a "
            "Prefect secret block that can be read; set the variable or create the block"
        ) from None
