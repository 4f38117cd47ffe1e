"""Pseudopotential files of the UPF kind: what their headers say."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from leadline.tasks.errors import ConfigurationError

FUNCTIONALS = {
    "SLA PZ NOGX NOGC": "LDA",
    "PZ": "LDA",
    "LDA": "LDA",
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBE PBE": "PBE",
    "PBE": "PBE",
    "SLA PW PSX PSC": "PBESOL",
    "PBESOL": "PBESOL",
}
"""Ways to write one functional, long and short; others stand for themselves."""
HEADER_LINES_V1 = {
    "element": r"^ *(\S+) +Element *$",
    "kind": r"^ *(NC|US|PAW) ",
    "functional": r"^ *(\S+ +\S+ +\S+ +\S+) .*Exchange-Correlation functional",
    "valence": r"^ *(\S+) +Z valence",
    "ecutwfc": r"^ *(\S+) +\S+ +Suggested cutoff for wfc and rho",
    "ecutrho": r"^ *\S+ +(\S+) +Suggested cutoff for wfc and rho",
}
ATTRIBUTES_V2 = {
    "element": "element",
    "kind": "pseudo_type",
    "functional": "functional",
    "valence": "z_valence",
    "ecutwfc": "wfc_cutoff",
    "ecutrho": "rho_cutoff",
}


@dataclass(frozen=True)
class Pseudopotential:
    """One file and what it says about itself.

    Parameters
    ----------
    path, sha256
        The file, and the hash of its content.
    element
        Symbol of the element it stands for.
    functional
        Functional it was made with, e.g. ``PBE``, ``LDA``.
    kind
        ``NC``, ``US``, ``USPP`` or ``PAW``.
    valence
        Electrons that are treated, e.
    ecutwfc, ecutrho
        Least cutoffs that its author suggests, Ry; 0 where there is no word.
    """

    path: Path
    sha256: str
    element: str
    functional: str
    kind: str
    valence: float
    ecutwfc: float
    ecutrho: float


def content_of(path: Path) -> bytes:
    """Return what stands in a pseudopotential file; ConfigurationError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the pseudopotential {path} cannot be read: {error.strerror}; "
            "put the file there, or name another in engine.pseudopotentials"
        ) from error


def read_upf(path: Path) -> Pseudopotential:
    """Read the header of a UPF file, version 1 or 2.

    Raises
    ------
    ConfigurationError
        If the file is not there, or is no UPF file.
    """
    content = content_of(path)
    fields = _fields(content.decode(errors="replace"))
    try:
        functional = " ".join(fields["functional"].upper().split())
        return Pseudopotential(
            path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            element=fields["element"].strip().capitalize(),
            functional=FUNCTIONALS.get(functional, functional),
            kind=fields["kind"].strip().upper(),
            valence=_number(fields["valence"]),
            ecutwfc=_number(fields.get("ecutwfc", "0")),
            ecutrho=_number(fields.get("ecutrho", "0")),
        )
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"{path} is no UPF pseudopotential: no readable {error} in its header; "
            "convert it to UPF, or name another file"
        ) from error


def _fields(text: str) -> dict[str, str]:
    header = re.search(r"<PP_HEADER(.*?)(?:/>|</PP_HEADER>)", text, re.DOTALL)
    if header is None:
        return {}
    body = header.group(1).expandtabs()
    if body.startswith(">"):
        found = {name: re.search(line, body, re.M) for name, line in HEADER_LINES_V1.items()}
    else:
        found = {
            name: re.search(rf"\b{attribute}\s*=\s*[\"']([^\"']*)[\"']", body)
            for name, attribute in ATTRIBUTES_V2.items()
        }
    return {name: match.group(1) for name, match in found.items() if match}


def _number(text: str) -> float:
    number = float(text.strip().upper().replace("D", "E"))
    if not math.isfinite(number):
        raise ValueError(text.strip())
    return number
