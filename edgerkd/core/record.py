"""The base of all plain data that is read from and written to files."""

from typing import ClassVar

from edgerkd.core.text import LONGEST_TEXT


class Record:
    """Decoding is strict: no unknown keys, no silent conversions, no NaN, no endless text (see files/decode.py).

    A record that is a file of its own has a `SCHEMA`: the number of its form, which stands in the file and which
    decoding checks before anything else.
    """

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
        "str_max_length": LONGEST_TEXT,
    }
    SCHEMA: ClassVar[int | None] = None
