"""What a program gives to the Python API, checked as the command line checks its flags: one ConfigError by its name."""

import operator
from numbers import Real
from pathlib import Path
from typing import Any

from edgerkd.core.errors import ConfigError
from edgerkd.core.text import is_sha256


def whole(value: Any, name: str, *, least: int = 0) -> int:
    """A whole number, `least` or more; NumPy's as well, and no boolean."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ConfigError(f"{name}: {value!r}, and it is a whole number from {least}")
    return number


def share(value: Any, name: str) -> float | None:
    """A share from 0 to 1, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ConfigError(f"{name}: {value!r} is no share from 0 to 1")
    return float(value)


def several(values: Any, name: str) -> tuple[Any, ...]:
    """Several texts or paths; a single one is not taken letter by letter."""
    if isinstance(values, str | bytes | Path) or not hasattr(values, "__iter__"):
        raise ConfigError(f"{name}: {values!r} is one, and several are expected: write [{values!r}]")
    return tuple(values)


def text(value: Any, name: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ConfigError(f"{name}: {value!r} is no text")
    return value


def digest(value: str | None, name: str) -> str | None:
    """A SHA-256 in hexadecimal digits, or None."""
    if value is not None and not is_sha256(text(value, name)):
        raise ConfigError(f"{name}: {value[:80]!r}, and a SHA-256 has 64 hexadecimal digits")
    return value
