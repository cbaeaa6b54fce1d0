"""The base of all plain data that is read from and written to files."""

from typing import ClassVar


class Record:
    """Decoding is strict: no unknown keys, no silent conversions (see files/decode.py)."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
