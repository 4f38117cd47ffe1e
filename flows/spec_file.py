"""Campaign files: read, changed by ``--set``, and refused in plain words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from leadline.flows import spec
from leadline.flows.spec import FORMAT, CampaignSpec
from leadline.tasks.errors import SpecError
from leadline.tasks.places import place
from leadline.tasks.settings import NOT_YAML, few, refusal, shown, unkeepable

DATA = "${LEADLINE_DATA}"
PATH_KEYS = frozenset({"path", "paths", "parent"})
"""Keys that name files or folders, or hold a list of them, wherever they stand."""
SECRET_SCHEMES = ("mongodb://", "mongodb+srv://")


def read_spec(
    file: Path, changes: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> CampaignSpec:
    """Return the campaign that a file describes.

    Parameters
    ----------
    file
        Campaign file; relative paths in it start from its folder.
    changes
        ``key.path=value`` pairs, values in YAML, applied over the file.
    environment
        Where ``LEADLINE_DATA`` is looked up; without it, ``data`` in the
        working folder.

    Raises
    ------
    SpecError
        With a line for each key that is wrong.
    """
    data = _parsed(file)
    for change in changes:
        _apply(data, change)
    if problem := unkeepable(data):
        raise SpecError(f"{file}: {problem}")
    _refuse_secrets(data, ())  # before any other line shows a value
    root = Path((environment or {}).get("LEADLINE_DATA", "data")).resolve()
    data = {key: _placed(value, root, file.resolve().parent, (key,)) for key, value in data.items()}
    return spec_from(data, str(file))


def spec_from(data: Mapping[str, Any], origin: str) -> CampaignSpec:
    """Return the campaign that plain data describe; ``origin`` names them in errors."""
    version = data.get("leadline", FORMAT)
    if version != FORMAT:
        raise SpecError(
            f"{origin}: leadline: is {shown(version)}; this version of leadline reads format "
            f"{FORMAT}. Install the version that wrote it, or start from `leadline init`"
        )
    if problem := unkeepable(data):  # before anything walks through what may have no end
        raise SpecError(f"{origin} cannot be used:\n  {problem}")
    _refuse_secrets(data, ())
    try:
        return CampaignSpec.model_validate(data)
    except ValidationError as error:
        lines = [line for item in error.errors(include_url=False) for line in _lines(item)]
        raise SpecError("\n".join([f"{origin} cannot be used:", *few(lines)])) from None


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key may stand once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(
            f"there is no campaign file {file}; `leadline init NAME` writes one"
        ) from None
    except IsADirectoryError:
        raise SpecError(f"{file} is a folder; name the campaign file in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file} cannot be read: {error}") from None
    try:
        data = yaml.load(text, Loader=_UniqueKeys)  # a SafeLoader: plain values alone
    except NOT_YAML as error:
        raise SpecError(f"{file} is not YAML: {_yaml_words(error, text)}") from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise SpecError(
            f"{file} holds {type(data).__name__}, not keys and values; "
            "`leadline init NAME` writes an example"
        )
    return data


def _yaml_words(error: Exception, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    where = f"line {mark.line + 1}, column {mark.column + 1}"
    if "\t" in line:
        return f"{where}: a tab; YAML indents with spaces alone"
    return f"{where}: {getattr(error, 'problem', None) or error}"


def _apply(data: dict[str, Any], change: str) -> None:
    path, value = key_and_value(change, "--set ")
    keys = path.split(".")
    place: Any = data
    for key in keys[:-1]:
        place = _inside(place, key, change)
    if isinstance(place, list):
        place[_index(place, keys[-1], change)] = value
    elif isinstance(place, dict):
        place[keys[-1]] = value
    else:
        raise SpecError(f"--set {change}: {'.'.join(keys[:-1])} holds no keys")


def key_and_value(change: str, option: str = "") -> tuple[str, Any]:
    """Return the path of a key and its value, which a person wrote as ``key.path=value``.

    ``option`` comes before the change in errors.
    """
    path, separator, text = change.partition("=")
    if not separator or not all(path.split(".")):
        raise SpecError(f"{option}{change}: must be key.path=value, e.g. stop.calculations=50")
    try:
        return path, yaml.safe_load(text)
    except NOT_YAML:
        raise SpecError(f"{option}{path}: the value {shown(text)} is not YAML") from None


def _inside(place: Any, key: str, change: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, key, change)]
    if not isinstance(place, dict):
        raise SpecError(f"--set {change}: {key} stands in something that holds no keys")
    return place.setdefault(key, {})


def _index(place: list[Any], key: str, change: str) -> int:
    if not key.isdigit() or int(key) >= len(place):
        raise SpecError(f"--set {change}: {key} is no index of a list of {len(place)}")
    return int(key)


def _placed(value: Any, data: Path, base: Path, location: tuple[str | int, ...]) -> Any:
    """Expand the data folder, and let paths start from the file's folder."""
    if isinstance(value, dict):
        return {
            name: _placed(item, data, base, (*location, str(name))) for name, item in value.items()
        }
    if isinstance(value, list):
        return [_placed(item, data, base, (*location, place)) for place, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if "${" in value.replace(DATA, ""):
        raise SpecError(
            f"{yaml_path(location)}: found {shown(value)}; {DATA} is the only variable that is "
            "expanded"
        )
    expanded = value.replace(DATA, str(data))
    names_path = not PATH_KEYS.isdisjoint(map(str, location[-2:]))
    return str(base / _at_home(expanded, location)) if names_path else expanded


def _refuse_secrets(value: Any, location: tuple[str | int, ...]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_secrets(item, (*location, str(key)))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _refuse_secrets(item, (*location, place))
    elif isinstance(value, str) and value.startswith(SECRET_SCHEMES):
        raise SpecError(
            f"{yaml_path(location)}: found a database URI (not shown here); specs are stored and "
            "shown. Set LEADLINE_MONGODB_URI, or name a variable or secret block in store.uri_from"
        )


def _at_home(text: str, location: tuple[str | int, ...]) -> Path:
    """Let ``~`` stand for the folder of a person who has one."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise SpecError(
            f"{yaml_path(location)}: found {shown(text)}; nobody of that name has a home folder "
            "here. Write the path out"
        ) from None


def _lines(item: Any) -> Iterable[str]:
    if item["type"] == spec.REFUSED:
        path = place(CampaignSpec, item["loc"]).path
        return [f"  {path}{line}" for line in item["msg"].splitlines()]
    return [f"  {refusal(item, CampaignSpec)}"]


def yaml_path(location: Iterable[str | int]) -> str:
    """Return a location in plain data as a person writes it."""
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(steps).removeprefix(".")


def file_digest(file: Path) -> str:
    """Return sha256 of a campaign file as it lies on the disk."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
