"""Quantities as people write them: radii such as `8/255`, sizes such as `4 MiB`."""

import re
from fractions import Fraction
from typing import Any

from edgerkd.core.errors import ConfigError
from edgerkd.core.text import printable

_SIZES = {"B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
_NUMBER = re.compile(r"\s*[+-]?(\d{1,40}/\d{1,40}|(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?)\s*")


LARGEST_RADIUS = 10_000
"""Farther apart than any two images in L2: those of 4096 x 4096 pixels in four channels lie within 8,192."""


FINEST = 10**9
"""Radii are whole parts of at most so many: of a float's last digits no image takes notice. Ours."""


class Radius(Fraction):
    """A perturbation radius in pixel units, kept exact: `8/255`, `0.1`; one in L-inf is 1 at most (`ThreatModel`).

    The nearest fraction with a denominator of at most FINEST, so that its text is read back as the same radius. Raises
    ConfigError for anything that is not a number from 0 to LARGEST_RADIUS, or is next to 0.
    """

    __slots__ = ()

    def __new__(cls, text: "str | Fraction | int") -> "Radius":
        shown = repr(printable(str(text), 40))
        try:
            if isinstance(text, str) and _NUMBER.fullmatch(text) is None:  # 1e-99999999 would take hours to work out
                raise ValueError
            value = Fraction(text)
        except (ValueError, ZeroDivisionError, TypeError) as e:
            raise ConfigError(f"radius {shown} is not a number: write it like 8/255 or 0.03") from e
        if not 0 <= value <= LARGEST_RADIUS:
            raise ConfigError(f"radius {shown} is outside 0 to {LARGEST_RADIUS}: write it like 8/255 or 0.03")
        near = value.limit_denominator(FINEST)
        if value and not near:
            raise ConfigError(f"radius {shown} is too small for an attack: write it like 8/255 or 0.03")
        return super().__new__(cls, near)

    @classmethod
    def from_float(cls, f: float) -> Fraction:
        """What a fraction is compared with a float by, which need not be a radius."""
        return Fraction(f)

    def __str__(self) -> str:
        """Over 255 where that is whole (`8/255`), as a decimal of at most four places (`0.3`), else the fraction.

        Above 1, where it is not of single pixels, the decimal is tried first: `3`.
        """
        of_255, of_10000 = Fraction(self) * 255, Fraction(self) * 10_000
        if of_255.denominator == 1 and self <= 1:
            return f"{of_255.numerator}/255"
        return f"{float(self):.8g}" if of_10000.denominator == 1 else super().__str__()

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> Any:  # Any: pydantic's own type
        """In files a radius is its text; only decoding (files/decode.py) asks for this."""
        from pydantic_core import core_schema

        text = core_schema.str_schema(strict=True)
        serialization = core_schema.to_string_ser_schema()
        return core_schema.no_info_after_validator_function(cls, text, serialization=serialization)


def parse_size(text: str) -> int:
    """Bytes in a size such as `4 MiB` or `512 kB`. Raises ConfigError, naming the units known."""
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([A-Za-z]{1,3})\s*", text)
    if match is None or match[2] not in _SIZES:
        raise ConfigError(f"size {printable(text, 40)!r} cannot be read: write a number and one of {', '.join(_SIZES)}")
    return round(Fraction(match[1]) * _SIZES[match[2]])


def format_size(size: int) -> str:
    """A size for people, three digits in the largest binary unit that leaves at least 1: `3.5 MiB`."""
    return _format(size, (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)), "B")


def format_count(count: int) -> str:
    """A count for people, three digits: `12.3 k`, `4.56 M`."""
    return _format(count, (("G", 10**9), ("M", 10**6), ("k", 10**3)), "").strip()


def duration(seconds: float) -> str:
    """A time for people, two digits or whole minutes: `4.2 s`, `18 s`, `7 minutes`, `2.5 hours`."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _format(value: int, units: tuple[tuple[str, int], ...], plain: str) -> str:
    for unit, scale in units:
        # Just below a unit three digits would round up to a thousand of the smaller one.
        if value >= scale * 0.9995:
            return f"{value / scale:.0f} {unit}" if value >= 999.5 * scale else f"{value / scale:.3g} {unit}"
    return f"{value} {plain}"
