"""Between files and the plain data of `core`: strict, and with every problem named at once.

What is checked here is checked for every file and every command: the schema's number, the types, ranges and lengths
that a record's fields name, and that no text holds what would deceive a reader. pydantic stays in this module.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from edgerkd.core.errors import ArtefactError, ConfigError, problems_text
from edgerkd.core.record import Record
from edgerkd.core.text import LONGEST_NAME, LONGEST_TEXT, printable, text_problem
from edgerkd.files.damage import DAMAGE
from edgerkd.files.paths import TEXT_LIMIT, MakeError, read_file, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T", bound=Record)
U = TypeVar("U", bound=Record)

_DEEPEST = 64  # levels of a JSON or TOML file; ours has six


def decode_toml(cls: type[T], path: Path) -> T:
    """The record `cls` from a TOML file a person wrote.

    Raises ConfigError with all problems, each with its key; unknown keys name the nearest known.
    """
    content = read_file(path, limit=TEXT_LIMIT)
    try:
        data = json.loads(json.dumps(tomllib.loads(content.decode()), default=str))
    except DAMAGE as e:
        raise ConfigError(f"{shown(path)}: not valid TOML: {_first_line(e)}") from e
    return _record(cls, data, path, ConfigError)


def decode_json(cls: type[T], path: Path) -> T:
    """The record `cls` from a JSON file edgerkd wrote. Raises ArtefactError if it is not one."""
    return _record(cls, _parsed(read_file(path, limit=TEXT_LIMIT, error=ArtefactError), path), path, ArtefactError)


def decode_lines(cls: type[T], path: Path) -> tuple[T, ...]:
    """A record a line, as `encode_line` wrote them. Raises ArtefactError for one that is none, naming it."""
    lines = read_file(path, limit=TEXT_LIMIT, error=ArtefactError).splitlines()
    return tuple(
        _record(cls, _parsed(line, where), where, ArtefactError)
        for line, where in ((line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))
    )


def with_settings(record: T, settings: Mapping[str, Any], where: str) -> T:  # Any: whatever JSON holds
    """`record` with some fields set anew, as if its file said so. Raises ConfigError with all problems."""
    cls = type(record)
    return _record(cls, {**json.loads(encode_json(record)), **settings}, where, ConfigError)


def with_two_settings(
    first: T,
    second: U,
    settings: Mapping[str, Any],  # Any: whatever JSON holds
    where: str,
    *,
    elsewhere: Mapping[str, str],
) -> tuple[T, U]:
    """Two records without a field in common, and without a SCHEMA, with some fields of either set anew.

    Raises ConfigError with all problems at once. A key that neither has is said to be what `elsewhere` says of it.
    """
    data = {**plain(first), **plain(second), **settings}
    found = _record(_both(type(first), type(second)), data, where, ConfigError, elsewhere)
    return _part(type(first), found), _part(type(second), found)


def decode_plain(cls: type[T], data: Any, where: object) -> T:  # Any: whatever JSON holds
    """The record that data of a file which is read already stand for. Raises ArtefactError if they do not."""
    return _record(cls, data, where, ArtefactError)


def plain(record: Record) -> dict[str, Any]:
    """A record as JSON's own types, without a schema number."""
    return _cleaned(_adapter(type(record)).dump_python(record, mode="json"))


def encode_json(record: Record) -> str:
    """A record as indented JSON text, which `decode_json` reads back to an equal one."""
    return json.dumps(_document(record), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def encode_line(record: Record) -> str:
    """A record as one line, for `decode_lines`."""
    return json.dumps(_document(record), allow_nan=False, ensure_ascii=False) + "\n"


def _document(record: Record) -> Any:  # Any: JSON's own types
    schema = {} if record.SCHEMA is None else {"schema": record.SCHEMA}
    return {**schema, **plain(record)}


def _cleaned(data: Any) -> Any:
    """The same, its texts as decoding will accept them: an error's message may hold anything."""
    if isinstance(data, str):
        return printable(data, LONGEST_TEXT - 50)
    if isinstance(data, list):
        return [_cleaned(item) for item in data]
    if isinstance(data, dict):
        return {_cleaned(key): _cleaned(value) for key, value in data.items()}
    return data


def _parsed(content: bytes, where: object) -> Any:
    try:
        return json.loads(content, parse_constant=_refuse)
    except DAMAGE as e:
        raise ArtefactError(f"{shown(str(where))}: not valid JSON: {_first_line(e)}") from e


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _record(
    cls: type[T], data: Any, where: object, error: MakeError, elsewhere: Mapping[str, str] = MappingProxyType({})
) -> T:
    """The record that parsed JSON holds. `where` begins every message; `elsewhere` knows keys that are not of `cls`."""
    name = shown(str(where))
    if problems := list(_odd_texts(data, ())):
        raise error(problems_text(name, problems[:10]))
    if cls.SCHEMA is not None and isinstance(data, dict):
        found = data.pop("schema", None)
        if type(found) is not int or found != cls.SCHEMA:
            if found is None:
                raise error(
                    f"{name}: has no schema number, as whatever edgerkd reads has, and this edgerkd reads schema "
                    f"{cls.SCHEMA}: is it another file than you meant?"
                )
            raise error(
                f"{name}: is of schema {printable(repr(found), 20)}, and this edgerkd reads schema {cls.SCHEMA}: "
                "create it again with this version."
            )
        if data and len(data.keys() & set(_keys(cls, []))) * 2 < len(data):
            raise error(f"{name}: few of its keys are those that edgerkd looks for: is it another file than you meant?")
    try:
        # Through text, for only JSON input may give lists for tuples and still be read strictly.
        return _adapter(cls).validate_json(json.dumps(data))
    except ValidationError as e:
        problems = _problems(cls, e, elsewhere)
        raise error(problems_text(name, problems[:10], of=len(problems))) from e
    except DAMAGE as e:
        raise error(f"{name}: {_first_line(e)}") from e


def _odd_texts(data: Any, where: tuple[str, ...]) -> Iterator[str]:
    """Every key and text that must not reach a terminal or page."""
    if len(where) > _DEEPEST:
        yield f"{'.'.join(where[:3])}...: nested more than {_DEEPEST} levels deep"
    elif isinstance(data, str) and (problem := text_problem(data)) is not None:
        yield f"{'.'.join(where) or '(file)'}: {problem}"
    elif isinstance(data, list):
        for number, item in enumerate(data):
            yield from _odd_texts(item, (*where, str(number)))
    elif isinstance(data, dict):
        for key, value in data.items():
            if (problem := text_problem(key, LONGEST_NAME)) is not None:
                yield f"{'.'.join((*where, printable(key, 40)))}: the key {problem}"
            else:
                yield from _odd_texts(value, (*where, key))


def _first_line(e: Exception) -> str:
    return printable(str(e).partition("\n")[0] or type(e).__name__, LONGEST_NAME)


def _part(cls: type[T], found: Record) -> T:
    """Those of a record's fields that are of `cls`."""
    names = [f.name for f in fields(cls)]  # pyright: ignore[reportArgumentType]  every Record is a dataclass
    return cls(**{name: getattr(found, name) for name in names})


@cache
def _both(first: type, second: type) -> type[Record]:
    """A record of the fields of both."""
    hints = [(f.name, get_type_hints(cls, include_extras=True)[f.name]) for cls in (first, second) for f in fields(cls)]
    return make_dataclass("Settings", hints, bases=(Record,), frozen=True, kw_only=True)


@cache
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(cls)


_MISSING = ("missing", "missing_argument")
_WORDS = {
    "too_short": "at least {min_length} entries are needed",
    "too_long": "at most {max_length} entries are allowed",
    "string_too_short": "at least {min_length} characters are needed",
    "string_too_long": "at most {max_length} characters are allowed",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing", "int_parsing_size"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    "string_type": "must be text",
    "bool_type": "must be true or false",
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
    **dict.fromkeys(("dict_type", "dataclass_type", "dataclass_exact_type", "model_type"), "must be a table"),
}
"""pydantic's kinds of errors in plain words. Source of the kinds: pydantic's page on validation errors."""


def _problems(cls: type, error: ValidationError, elsewhere: Mapping[str, str]) -> list[str]:
    """One line a problem: `budget.parms: unknown key: did you mean params?`; what is missing comes last."""
    lines: list[str] = []
    for item in sorted(error.errors(include_url=False), key=lambda item: item["type"] in _MISSING):
        where = [str(part) for part in item["loc"]]
        key = ".".join(where) or "(file)"
        if item["type"] in ("unexpected_keyword_argument", "extra_forbidden") and key in elsewhere:
            lines.append(f"{key}: {elsewhere[key]}")
        elif item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            near = get_close_matches(where[-1], _keys(cls, where[:-1]), n=1, cutoff=0.5)
            lines.append(f"{key}: unknown key" + (f": did you mean {near[0]}?" if near else ": remove it"))
        elif item["type"] in _MISSING:
            lines.append(f"{key}: missing")
        else:
            found = printable(repr(item["input"]), LONGEST_NAME // 2)
            said = _WORDS.get(item["type"], "{msg}").format(
                **item.get("ctx", {}), msg=item["msg"].removeprefix("Value error, ")
            )
            lines.append(f"{key}: {said} (found {found})")
    return lines


def _keys(cls: Any, path: list[str]) -> list[str]:  # Any: a dataclass, or whatever a field holds
    """The keys known at `path` below the dataclass `cls`."""
    for part in path:
        cls = get_type_hints(cls).get(part) if is_dataclass(cls) else None
    return [f.name for f in fields(cls)] if is_dataclass(cls) else []
