"""Settings that a person wrote, checked against a model: a refusal names its key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from leadline.tasks.errors import SpecError

Model = TypeVar("Model", bound=BaseModel)

NOT_YAML = (yaml.YAMLError, ValueError, TypeError, RecursionError)
"""What PyYAML raises: also for days that are none, endless numbers and nests."""
SHOWN = 60
"""Characters of a refused value that a message quotes."""


def validated(model: type[Model], settings: Mapping[str, Any], path: str) -> Model:
    """Return the settings as an instance of ``model``.

    Raises
    ------
    SpecError
        If a key is unknown, missing, or its value is not allowed. Each line
        starts with the key's path under ``path`` and says what was found.
    """
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        lines = [
            ".".join([path, *(str(part) for part in item["loc"])])
            + f": {in_words(dict(item), model.model_fields)}"
            for item in error.errors(include_url=False)
        ]
        raise SpecError("\n".join(lines)) from None


def in_words(item: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Return what pydantic refused, as a person reads it.

    Parameters
    ----------
    item
        One of ``ValidationError.errors()``.
    keys
        Keys that are allowed where it was found.
    """
    if item["type"] == "extra_forbidden":
        return _unknown(str(item["loc"][-1]), sorted(keys))
    if item["type"] == "missing":
        return "this key is needed and was not given"
    if item["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return f"found {shown(item['input'])}; allowed: keys and values"
    message = str(item["msg"])
    if item["type"] == "value_error":
        return message.removeprefix("Value error, ")
    if item["type"] == "too_short":
        return f"found {shown(item['input'])}; allowed: at least {item['ctx']['min_length']}"
    message = message.removeprefix("Input should be ").partition(", unable")[0]
    return f"found {shown(item['input'])}; allowed: {message[:1].lower()}{message[1:]}"


def shown(value: Any) -> str:
    """Return a refused value as a message quotes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _unknown(key: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(key, allowed, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown key{hint}; allowed here: {', '.join(allowed) or 'none'}"
