"""What an expert would question in the settings of a DFT calculation, whatever code runs it."""

from __future__ import annotations

from collections.abc import Iterator

from pymatgen.core import Element

from leadline.tasks.engines.k_mesh import MeshSettings

MAGNETIC = frozenset(
    {"Cr", "Mn", "Fe", "Co", "Ni"}
    | {"Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm"}
)
"""Elements whose metals or common compounds have moments."""
COARSE = 0.4
"""1/Å with the factor 2π; metals want half of it."""


def doubts_of_spin(elements: frozenset[str], magnetic: bool, remedy: str) -> Iterator[str]:
    """Question a calculation without spin where moments are to be expected."""
    found = sorted(elements & MAGNETIC)
    if found and not magnetic:
        yield (
            f"{', '.join(found)} mostly have moments, and no spin is computed: their energies "
            f"come out too high, and a hull with them wrong; set {remedy}"
        )


def doubts_of_smearing(elements: frozenset[str], smeared: bool, remedy: str) -> Iterator[str]:
    """Question fixed occupations where everything is a metal."""
    if elements and not smeared and all(Element(each).is_metal for each in elements):
        yield (
            f"{', '.join(sorted(elements))} are metals, and occupations are fixed: the SCF will "
            f"hardly converge, and to a wrong energy; set {remedy}"
        )


def doubts_of_mesh(settings: MeshSettings) -> Iterator[str]:
    """Question a coarse mesh of k-points, and one mesh for cells of all sizes."""
    if settings.kspacing is not None and settings.kspacing > COARSE:
        yield (
            f"kspacing {settings.kspacing:g} 1/Å is coarse: compounds are mostly converged at 0.3, "
            "metals at 0.2"
        )
    if settings.kpts is not None:
        yield (
            "kpts is one mesh for cells of every size, whose energies are then converged unlike; "
            "kspacing keeps the density"
        )
