"""Between files and the plain data of `core`: strict, and with every problem named at once.

pydantic stays in this module.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from edgerkd.core.errors import ArtefactError, ConfigError, problems_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def decode_toml(cls: type[T], path: Path) -> T:
    """The dataclass `cls` from a TOML file a person wrote.

    Raises ConfigError with all problems, each with its key; unknown keys name the nearest known.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from e
    try:
        return _adapter(cls).validate_json(json.dumps(data, default=str))
    except ValidationError as e:
        raise ConfigError(problems_text(path, _problems(cls, e))) from e


def decode_json(cls: type[T], path: Path) -> T:
    """The dataclass `cls` from a JSON file edgerkd wrote. Raises ArtefactError if it is not one."""
    try:
        return _adapter(cls).validate_json(path.read_bytes())
    except OSError as e:
        raise ArtefactError(f"{path}: cannot be read: {e.strerror}") from e
    except ValidationError as e:
        raise ArtefactError(problems_text(path, _problems(cls, e))) from e


def with_settings(record: T, settings: Mapping[str, Any], where: str) -> T:  # Any: whatever JSON holds
    """`record` with some fields set anew, as if its file said so. Raises ConfigError with all problems."""
    cls = type(record)
    try:
        return _adapter(cls).validate_json(json.dumps({**json.loads(encode_json(record)), **settings}))
    except ValidationError as e:
        raise ConfigError(problems_text(where, _problems(cls, e))) from e


def encode_json(value: Any) -> str:  # Any: whichever dataclass of core
    """A dataclass as indented JSON text, which `decode_json` reads back to an equal one."""
    return _adapter(type(value)).dump_json(value, indent=2).decode() + "\n"


@cache
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(cls)


def _problems(cls: type, error: ValidationError) -> list[str]:
    """One line a problem: `budget.parms: unknown key: did you mean params?`."""
    lines: list[str] = []
    for item in error.errors(include_url=False):
        where = [str(part) for part in item["loc"]]
        key = ".".join(where) or "(file)"
        if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            near = get_close_matches(where[-1], _keys(cls, where[:-1]), n=1, cutoff=0.5)
            lines.append(f"{key}: unknown key" + (f": did you mean {near[0]}?" if near else ": remove it"))
        elif item["type"] in ("missing", "missing_argument"):
            lines.append(f"{key}: missing")
        else:
            lines.append(f"{key}: {item['msg'].removeprefix('Value error, ')} (found {item['input']!r})")
    return lines


def _keys(cls: Any, path: list[str]) -> list[str]:  # Any: a dataclass, or whatever a field holds
    """The keys known at `path` below the dataclass `cls`."""
    for part in path:
        cls = get_type_hints(cls).get(part) if is_dataclass(cls) else None
    return [f.name for f in fields(cls)] if is_dataclass(cls) else []
