"""Ranges of numbers as part of a field's type, which decoding (files/decode.py) checks."""

from dataclasses import dataclass
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


Count = Annotated[int, Within(1)]
Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0)]
Positive = Annotated[float, Within(0, above=True)]
