"""Ranges of numbers as part of a field's type, which decoding (files/decode.py) checks."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any


@dataclass(frozen=True, slots=True)
class Within:
    """A number from `low` to `high`; None means: no limit on that side. `low` itself is out with `above`."""

    low: int
    high: int | None = None
    above: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:  # Any: pydantic's own types
        """What pydantic asks of an annotation; only decoding does."""
        schema = {**handler(source), "gt" if self.above else "ge": self.low}
        if schema["type"] == "float":
            schema["allow_inf_nan"] = False
        return schema if self.high is None else {**schema, "le": self.high}


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


Count = Annotated[int, Within(1)]
Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0)]
Positive = Annotated[float, Within(0, above=True)]
