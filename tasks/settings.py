"""Settings that a person wrote, checked against a model: a refusal names its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from leadline.tasks.errors import SpecError

Model = TypeVar("Model", bound=BaseModel)


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
        lines = [_line(dict(item), model, path) for item in error.errors(include_url=False)]
        raise SpecError("\n".join(lines)) from None


def _line(item: Mapping[str, Any], model: type[BaseModel], path: str) -> str:
    where = ".".join([path, *(str(part) for part in item["loc"])])
    if item["type"] == "extra_forbidden":
        allowed = ", ".join(sorted(model.model_fields)) or "none"
        return f"{where}: unknown key; allowed here: {allowed}"
    if item["type"] == "missing":
        return f"{where}: this key is needed and was not given"
    reason = item["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}; found {item['input']!r}"
