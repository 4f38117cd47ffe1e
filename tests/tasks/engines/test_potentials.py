"""Foundation potentials: what they say of themselves, and what they are not asked."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.engines.potentials import foundation
from leadline.tasks.engines.potentials.chgnet import ChgnetEngine
from leadline.tasks.engines.potentials.foundation import FoundationPotential
from leadline.tasks.engines.potentials.sevennet import SevennetEngine
from leadline.tasks.errors import ConfigurationError

ENGINES = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            find_spec(kind.package) is None, reason=f"needs the extra {kind.name}"
        ),
        id=kind.name,
    )
    for kind in (ChgnetEngine, SevennetEngine)
]


@pytest.mark.parametrize("kind", ENGINES)
def test_a_potential_says_that_it_is_no_dft(kind: type[FoundationPotential]) -> None:
    engine = kind({}, EngineSite())
    (note,) = engine.check(frozenset({"Na", "Cl"}))
    assert "a trained potential and no DFT" in note
    assert "no DFT" in engine.version()


@pytest.mark.parametrize("kind", ENGINES)
def test_every_model_that_can_be_named_has_its_weights_in_the_wheel(
    kind: type[FoundationPotential],
) -> None:
    prints = {kind({"model": model}, EngineSite()).fingerprint() for model in kind.weights}
    assert len(prints) == len(kind.weights)


@pytest.mark.parametrize("kind", [ChgnetEngine, SevennetEngine])
def test_a_machine_without_the_package_says_what_to_install(
    kind: type[FoundationPotential], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(foundation, "version", missing)
    with pytest.raises(ConfigurationError, match=rf"leadline\[{kind.name}\]"):
        kind({}, EngineSite()).check(frozenset({"Na"}))


def test_a_gpu_that_is_not_there_is_configuration() -> None:
    error = RuntimeError("Found no NVIDIA driver: Torch not compiled with CUDA enabled")
    found = ChgnetEngine({}, EngineSite()).classify(error, Path())
    assert (found.kind, found.reason) == ("configuration", "no-gpu")
