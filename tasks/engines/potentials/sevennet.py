"""SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)): energies as of PBE with U."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from ase.calculators.calculator import BaseCalculator

from leadline.tasks.engines.potentials.foundation import FoundationPotential, FoundationSettings


class SevennetSettings(FoundationSettings):
    """Settings of ``sevennet``: models whose weights are in the wheel, none is fetched."""

    model: Literal["7net-0", "7net-l3i5"] = "7net-0"
    """Weights; ``7net-l3i5`` is truer, and slower by a factor of about four."""


class SevennetEngine(FoundationPotential):
    """SevenNet, an equivariant network trained on relaxations of the Materials Project."""

    name: ClassVar[str] = "sevennet"
    package: ClassVar[str] = "sevenn"
    weights: ClassVar[dict[str, str]] = {
        "7net-0": "pretrained_potentials/SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
        "7net-l3i5": "pretrained_potentials/SevenNet_l3i5/checkpoint_l3i5.pth",
    }
    Settings: ClassVar[type[SevennetSettings]] = SevennetSettings
    settings: SevennetSettings

    def load(self, checkpoint: Path) -> BaseCalculator:
        """Return SevenNet's calculator."""
        from sevenn.calculator import SevenNetCalculator

        found: BaseCalculator = SevenNetCalculator(
            model=str(checkpoint), device=self.settings.device
        )
        return found
