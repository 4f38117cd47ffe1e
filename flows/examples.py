"""Campaign files to start from: the ones that ship under deploy/campaigns."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from leadline.tasks.errors import InputError

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


FOLDER = files("leadline.deploy") / "campaigns"


def example_names() -> list[str]:
    """Return the names of the examples."""
    names = (each.name for each in FOLDER.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def write_example(name: str, example: str, folder: Path) -> Path:
    """Write ``NAME.yaml`` from an example, and return its path.

    Raises
    ------
    InputError
        If the name or the example is not allowed, or the file is there already.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"a campaign cannot be called {name!r}; allowed are lower-case letters, digits and "
            "dashes, up to 63 of them, the first no dash"
        )
    known = example_names()
    if example not in known:
        raise InputError(f"there is no example {example!r}; there are: {', '.join(known)}")
    path = folder / f"{name}.yaml"
    original = (FOLDER / f"{example}.yaml").read_text(encoding="utf-8")
    text = original.replace(f"{example}.yaml", f"{name}.yaml")
    text = re.sub(r"^name: .*$", f"name: {name}", text, count=1, flags=re.MULTILINE)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path.name} is there already; nothing was changed") from None
    return path
