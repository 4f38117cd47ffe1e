"""Descriptors by name. A new one is a file here and a line in this table."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from leadline.surrogate.descriptors.descriptor import Descriptor
from leadline.surrogate.errors import DescriptorError

DESCRIPTORS = {
    "composition": "leadline.surrogate.descriptors.composition:CompositionDescriptor",
    "soap": "leadline.surrogate.descriptors.soap:SoapDescriptor",
    "pair-correlations": (
        "leadline.surrogate.descriptors.pair_correlations:PairCorrelationsDescriptor"
    ),
}
GROUP = "leadline.descriptors"


def descriptor_names() -> list[str]:
    """Return the names that a campaign may give, ``auto`` and those of installed packages too."""
    return ["auto", *DESCRIPTORS, *(point.name for point in entry_points(group=GROUP))]


def descriptor(name: str, elements: Sequence[str], **settings: Any) -> Descriptor:
    """Return the descriptor called `name` for these elements.

    Names are those of DESCRIPTORS and of installed packages with an entry
    point in the group ``leadline.descriptors``. ``auto`` is not among them: it
    looks at the candidates, by :func:`leadline.surrogate.descriptors.auto.choose`.

    Raises
    ------
    DescriptorError
        If the name or a setting is not known.
    """
    outside = {point.name: point for point in entry_points(group=GROUP)}
    if name in DESCRIPTORS:
        module, _, attribute = DESCRIPTORS[name].partition(":")
        make = getattr(import_module(module), attribute)
    elif name in outside:
        make = outside[name].load()
    else:
        known = ", ".join(sorted(descriptor_names()))
        raise DescriptorError(f"there is no descriptor {name!r}; known are {known}")
    try:
        return cast("Descriptor", make(tuple(sorted(elements)), **settings))
    except TypeError as error:
        raise DescriptorError(
            f"descriptor {name} does not accept these settings: {error}"
        ) from error
