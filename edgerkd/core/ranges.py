"""Ranges of numbers and lengths of texts as part of a field's type, which decoding (files/decode.py) checks."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from edgerkd.core.text import LONGEST_NAME


@dataclass(frozen=True, slots=True)
class Within:
    """A number from `low` to `high`; None means: no limit on that side. `low` itself is out with `above`."""

    low: float | None
    high: float | None = None
    above: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # Any: pydantic's own types
        """What pydantic asks of an annotation; only decoding does."""
        schema = handler(source)
        if schema["type"] == "float":
            schema = {**schema, "allow_inf_nan": False}
        if self.low is not None:
            schema = {**schema, "gt" if self.above else "ge": self.low}
        return schema if self.high is None else {**schema, "le": self.high}


@dataclass(frozen=True, slots=True)
class Length:
    """A text or a tuple of at least `least` and at most `most` characters or items."""

    least: int = 0
    most: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # Any: pydantic's own types
        """What pydantic asks of an annotation; only decoding does."""
        schema = {**handler(source), "min_length": self.least}
        return schema if self.most is None else {**schema, "max_length": self.most}


@dataclass(frozen=True, slots=True)
class Readable:
    """A text that `parse` takes; it raises ValueError for others."""

    parse: Callable[[str], object]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # Any: pydantic's own types
        """What pydantic asks of an annotation; only decoding does."""
        from pydantic_core import core_schema

        def check(text: str) -> str:
            self.parse(text)
            return text

        return core_schema.no_info_after_validator_function(check, handler(source))


@dataclass(frozen=True, slots=True)
class Ascending:
    """Numbers of which each is above the one before."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # Any: pydantic's own types
        """What pydantic asks of an annotation; only decoding does."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_ascending, handler(source))


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in pairwise(values)):
        raise ValueError("each value must be above the one before")
    return values


LARGEST = 2**53  # the largest whole number that a float, and so any JSON reader, holds exactly (IEEE 754)

Count = Annotated[int, Within(1, LARGEST)]
Amount = Annotated[int, Within(0, LARGEST)]
"""A count that may be 0."""
Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0)]
Positive = Annotated[float, Within(0, above=True)]
Name = Annotated[str, Length(1, LONGEST_NAME)]
Sha256 = Annotated[str, Length(64, 64)]
