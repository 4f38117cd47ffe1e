"""CHGNet (Deng et al., Nature Machine Intelligence 5, 1031 (2023)): energies as of PBE with U."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from ase.calculators.calculator import BaseCalculator

from leadline.tasks.engines.potentials.foundation import FoundationPotential, FoundationSettings


class ChgnetSettings(FoundationSettings):
    """Settings of ``chgnet``."""

    model: Literal["0.3.0", "0.2.0", "r2scan"] = "0.3.0"
    """Weights: of the Materials Project's PBE and PBE+U, or carried over to r2SCAN."""


class ChgnetEngine(FoundationPotential):
    """CHGNet, trained on relaxations of the Materials Project; it gives moments, too."""

    name: ClassVar[str] = "chgnet"
    package: ClassVar[str] = "chgnet"
    weights: ClassVar[dict[str, str]] = {
        "0.3.0": "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
        "0.2.0": "pretrained/0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
        "r2scan": "pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
    }
    Settings: ClassVar[type[ChgnetSettings]] = ChgnetSettings
    settings: ChgnetSettings

    def load(self, checkpoint: Path) -> BaseCalculator:
        """Return CHGNet's calculator."""
        from chgnet.model.dynamics import CHGNetCalculator
        from chgnet.model.model import CHGNet

        device = self.settings.device
        model = CHGNet.load(model_name=self.model, use_device=device, verbose=False)
        found: BaseCalculator = CHGNetCalculator(model=model, use_device=device)
        return found
