"""Settings that a person wrote, checked against a model: a refusal names its key."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from leadline.tasks.errors import SpecError
from leadline.tasks.places import Place, place

Model = TypeVar("Model", bound=BaseModel)

NOT_YAML = (
    yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    RecursionError,
)  # fmt: skip
"""What PyYAML raises: also for days and numbers that are none, endless numbers and nests."""
SHOWN = 60
"""Characters of a refused value that a message quotes."""
MOST_LINES = 20
"""Refused keys that one message names."""
MOST_VALUES = 100_000
"""In a file; the longest list that anybody wrote by hand is far shorter."""
DEEPEST = 30
"""Levels of keys and lists in a file."""
LARGEST = 2**63
"""Integers are smaller: a database keeps 64 bits."""
BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "more than",
    "less_than_equal": "at most",
    "less_than": "less than",
}
"""Bounds of numbers by pydantic's names, in words."""


class Named(BaseModel):
    """A part that a table resolves: its name, and the settings of what is named."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.__pydantic_extra__ or {})


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
        items = error.errors(include_url=False)
        lines = [refusal(dict(item), model, path) for item in items]
        raise SpecError("\n".join(lines)) from None


def few(lines: Sequence[str]) -> list[str]:
    """Return as many lines as a person reads, and how many more there are."""
    more = len(lines) - MOST_LINES
    return [*lines] if more <= 0 else [*lines[:MOST_LINES], f"and {more} more like these"]


def unkeepable(data: Any) -> str:
    """Return what of a file's data no record can hold, after its path; '' if there is nothing.

    YAML writes more than that: numbers without an end, halves of characters, and anchors
    in anchors, which grow without a bound or hold themselves.
    """
    left, waiting = MOST_VALUES, [("", 0, data)]
    while waiting:
        path, depth, value = waiting.pop()
        left -= 1
        if left < 0:
            return (
                f"holds more than {MOST_VALUES} values once its anchors (&) are put in; write "
                "out what is needed"
            )
        if problem := _problem(value, depth):
            return f"{path.removeprefix('.')}: {problem}" if path else problem
        waiting.extend((path + name, depth + 1, item) for name, item in _inside(value))
    return ""


def _inside(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(f".{key}", item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{place}]", item) for place, item in enumerate(value)]
    return []


def _problem(value: Any, depth: int) -> str:
    if depth > DEEPEST:
        return f"stands more than {DEEPEST} levels deep; nothing that is allowed does"
    if isinstance(value, int) and not -LARGEST < value < LARGEST:
        return f"found an integer of {value.bit_length()} bits; allowed: at most 63"
    if isinstance(value, float) and not math.isfinite(value):
        return f"found {value}; allowed: a finite number"
    if isinstance(value, str) and not _is_text(value):
        return f"found {shown(value)}; allowed: text of whole characters, none of them NUL"
    if isinstance(value, Mapping):
        bad = next((key for key in value if not _is_name(key)), None)
        if bad is not None or None in value:
            return f"found the key {shown(bad)}; allowed: printable text, in quotes if need be"
    return ""


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isprintable()


def _is_text(value: str) -> bool:
    return "\x00" not in value and not any("\ud800" <= each <= "\udfff" for each in value)


def refusal(item: Mapping[str, Any], model: type[BaseModel], path: str = "") -> str:
    """Return what pydantic refused as a line for a person: its path in the file, and why.

    Parameters
    ----------
    item
        One of ``ValidationError.errors()``.
    model
        What was to be made of the file.
    path
        What comes before each path.
    """
    found = place(model, item["loc"])
    where = ".".join(filter(None, [path, found.path]))
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        key, given = item["ctx"]["discriminator"].strip("'"), item["input"]
        kind = given.get(key) if isinstance(given, Mapping) else given
        return f"{where}.{key}: found {shown(kind)}; allowed: {', '.join(found.kinds)}"
    words = _in_words(item, found)
    return f"{where}: {words}" if where else words


def _in_words(item: Mapping[str, Any], found: Place) -> str:
    kind, value, message = item["type"], item.get("input"), str(item["msg"])
    if kind == "extra_forbidden":
        return _unknown(str(item["loc"][-1]), found.keys)
    if kind == "missing":
        return "this key is needed and was not given"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"found {shown(value)}; allowed: keys and values"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "too_short":
        return f"found {shown(value)}; allowed: at least {item['ctx']['min_length']}"
    if kind in BOUNDS and found.measure is not None:
        (bound,) = item["ctx"].values()
        unit, words = found.measure.unit, found.measure.words
        given = f"{value:g} {unit}" if isinstance(value, float | int) else shown(value)
        return f"found {given}; allowed: {BOUNDS[kind]} {bound:g} {unit} ({words})"
    if kind == "string_pattern_mismatch" and found.field and found.field.description:
        return f"found {shown(value)}; allowed: {found.field.description}"
    message = message.removeprefix("Input should be ").partition(", unable")[0]
    return f"found {shown(value)}; allowed: {message[:1].lower()}{message[1:]}"


def shown(value: Any) -> str:
    """Return a refused value as a message quotes it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an endless number, an endless nest
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _unknown(key: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(key, allowed, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown key{hint}; allowed here: {', '.join(allowed) or 'none'}"
