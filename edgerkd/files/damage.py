"""What reading a damaged file raises, whatever wrote it and whichever byte is wrong."""

import lzma
import struct
import tokenize
import zipfile
import zlib

DAMAGE = (
    OSError,
    ValueError,  # and with it UnicodeError and JSON's own
    TypeError,
    LookupError,  # KeyError and IndexError
    AttributeError,
    ArithmeticError,  # OverflowError in sizes that no machine has
    MemoryError,
    EOFError,
    RuntimeError,  # with RecursionError for deep nesting, and NotImplementedError for a compression that zip lacks
    SyntaxError,  # of an .npy header, which is a Python literal
    tokenize.TokenError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
"""Every reader catches this list and says what is wrong in its own words. `tests/device/test_paths.py` adds to it."""
