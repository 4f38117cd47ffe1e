"""VASP's pseudopotentials: where POTCAR files lie, and what their headers say.

They are licensed: their content goes into the input of a run alone, and their hash
into the fingerprint.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leadline.tasks.errors import ConfigurationError

FOLDERS = {
    "PBE": "POT_GGA_PAW_PBE",
    "PBE_52": "POT_GGA_PAW_PBE_52",
    "PBE_54": "POT_GGA_PAW_PBE_54",
    "PBE_64": "POT_PAW_PBE_64",
    "LDA": "POT_LDA_PAW",
    "LDA_52": "POT_LDA_PAW_52",
    "LDA_54": "POT_LDA_PAW_54",
    "LDA_64": "POT_LDA_PAW_64",
}
"""Folder of each release of potentials, as ``pmg config -p`` lays them out."""
OPENERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress,
}  # fmt: skip


@dataclass(frozen=True)
class Potcar:
    """One POTCAR and what it says about itself.

    Parameters
    ----------
    path, sha256
        The file, and the hash of its content, whatever it is compressed with.
    element
        Symbol of the element it stands for.
    functional
        VASP's two letters for it (LEXCH), e.g. ``PE``, ``CA``.
    valence
        Electrons that are treated, e.
    enmax
        Least cutoff that its author suggests, eV.
    """

    path: Path
    sha256: str
    element: str
    functional: str
    valence: float
    enmax: float


def potcar_path(folder: Path, release: str, symbol: str) -> Path:
    """Return the file of ``symbol`` in a folder laid out as pymatgen's PMG_VASP_PSP_DIR.

    Raises
    ------
    ConfigurationError
        If it is not there; the message lists those of the same element.
    """
    place = folder / FOLDERS[release]
    for stem in (place / f"POTCAR.{symbol}", place / symbol / "POTCAR"):
        for ending in OPENERS:
            if (path := stem.with_name(stem.name + ending)).is_file():
                return path
    there = ", ".join(_symbols_of(place, symbol.split("_")[0])) or "none for that element"
    raise ConfigurationError(
        f"there is no POTCAR.{symbol} and no {symbol}/POTCAR in {place}; those that are there: "
        f"{there}. Name one in engine.user_potcar_settings, or the folder that holds "
        f"{FOLDERS[release]} in engines.vasp.pseudopotentials of the machine profile"
    )


def read_bytes(path: Path) -> bytes:
    """Return the content of a POTCAR, decompressed; ConfigurationError if it has none."""
    try:
        content = path.read_bytes()
        return OPENERS[path.suffix if path.suffix in OPENERS else ""](content)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}; put a whole POTCAR there"
        ) from error


def read_potcar(path: Path) -> Potcar:
    """Read the header of a POTCAR.

    Raises
    ------
    ConfigurationError
        If it is no POTCAR.
    """
    content = read_bytes(path)
    header = content[:20_000].decode(errors="replace")
    try:
        return Potcar(
            path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            element=_word(r"VRHFIN\s*=\s*([A-Za-z]+)", header).capitalize(),
            functional=_word(r"LEXCH\s*=\s*(\S+)", header).upper(),
            valence=float(_word(r"ZVAL\s*=\s*([\d.]+)", header)),
            enmax=float(_word(r"ENMAX\s*=\s*([\d.]+)", header)),
        )
    except ValueError as error:
        raise ConfigurationError(
            f"{path} is no POTCAR: {error}; put the file of VASP's distribution there"
        ) from error


def _word(pattern: str, header: str) -> str:
    match = re.search(pattern, header)
    if match is None:
        raise ValueError(f"its header has no {pattern.partition(chr(92))[0]}")
    return match.group(1)


def _symbols_of(place: Path, element: str) -> list[str]:
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    symbols = {name.removeprefix("POTCAR.").partition(".")[0] for name in names}
    return sorted(symbol for symbol in symbols if symbol.split("_")[0] == element)
