"""Where in a file a refused key stands, and what its place allows: pydantic knows it by types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Measure:
    """What a number is counted in, as metadata of its type.

    Parameters
    ----------
    unit
        That of a bare number, in a word.
    units
        Those that may stand behind a number.
    """

    unit: str
    units: tuple[str, ...]

    @property
    def words(self) -> str:
        """What may be written."""
        return f"a number in {self.unit}, or one with a unit of: {', '.join(self.units)}"


@dataclass(frozen=True)
class Place:
    """A place in a file.

    Parameters
    ----------
    path
        Keys and numbers that lead there, as a person writes them.
    section
        What the last key of the path stands in; None where that is no section of its own.
    field
        What the section knows of that key; None if nothing.
    kinds
        Kinds of which a section there may be, where there are several.
    """

    path: str = ""
    section: type[BaseModel] | None = None
    field: FieldInfo | None = None
    kinds: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        """Keys that are allowed beside the last one of the path."""
        return sorted(self.section.model_fields) if self.section else []

    @property
    def measure(self) -> Measure | None:
        """What the number there is counted in, or None."""
        if self.field is None:
            return None
        known = (*self.field.metadata, *_metadata(self.field.annotation))
        return next((each for each in known if isinstance(each, Measure)), None)


def place(model: type[BaseModel], location: Sequence[str | int]) -> Place:
    """Return the place that a location of pydantic's means in a file of ``model``.

    Where a section may be of several kinds, pydantic names the one that it took it for, and
    the file has no such key.
    """
    found: Place = Place()
    here: Any = model
    for part in location:
        sections = list(_sections(here))
        of_kind = [each for each in sections if len(sections) > 1 and part in _kinds(each)]
        if of_kind:
            here = of_kind[0]
            continue
        section = sections[0] if len(sections) == 1 and isinstance(part, str) else None
        field = section.model_fields.get(str(part)) if section else None
        step = f"[{part}]" if isinstance(part, int) else f".{part}"
        found = Place((found.path + step).removeprefix("."), section, field)
        here = field.annotation if field else _item(here)
    sections = list(_sections(here))
    kinds = tuple(kind for each in sections for kind in _kinds(each)) if len(sections) > 1 else ()
    return Place(found.path, found.section, found.field, kinds)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    for each in _alternatives(annotation):
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield what a value may be, without what is said about it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for each in get_args(annotation):
            yield from _alternatives(each)
    else:
        yield annotation


def _metadata(annotation: Any) -> Iterator[Any]:
    """Yield what is said about a value, or about one of the things that it may be."""
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
    elif get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _metadata(each)


def _kinds(section: type[BaseModel]) -> tuple[str, ...]:
    """Return the values of the key that tells a section from others."""
    kind = section.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()


def _item(annotation: Any) -> Any:
    """Return the type of what a list or a mapping holds; None where it is neither."""
    for each in _alternatives(annotation):
        inside = [of for of in get_args(each) if of is not Ellipsis]
        if inside and get_origin(each) is not Literal:
            return inside[-1]
    return None
