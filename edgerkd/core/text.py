"""Text from files and names: what may be shown on a terminal or a page."""

import re
import unicodedata

LONGEST_NAME = 200
LONGEST_TEXT = 4000  # ours: the longest that edgerkd writes itself, a list of problems, has about 2,000

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what moves the cursor, turns the writing direction or cannot be encoded.
Source: Unicode 15.0, table 4-4; that such characters deceive a reader: CVE-2021-42574."""


def odd_characters(text: str) -> str:
    """The characters of `text` that must not be shown as they are, each once, in order."""
    return "".join(dict.fromkeys(c for c in text if unicodedata.category(c) in _UNSEEN))


def printable(text: str, longest: int = LONGEST_TEXT, *, keep: str = "") -> str:
    """The text with odd characters, but for those to `keep`, written as escapes, and cut after `longest` characters."""
    shown = "".join(_escaped(c) if c not in keep and unicodedata.category(c) in _UNSEEN else c for c in text[:longest])
    return shown if len(text) <= longest else f"{shown}... ({len(text):,} characters)"


def text_problem(text: str, longest: int = LONGEST_TEXT) -> str | None:
    """Why a text from a file is refused, or None."""
    if len(text) > longest:
        return f"is {len(text):,} characters long, and {longest:,} are allowed"
    if odd := odd_characters(text):
        return f"holds {printable(odd[:5])}, which could deceive whoever reads it on a terminal"
    return None


def one_line(text: str) -> str:
    """Text of several lines as one, for a record: lines are joined by `; `."""
    return printable("; ".join(part for line in text.splitlines() if (part := line.strip(" -\t"))))


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]


def is_sha256(text: str) -> bool:
    """Whether this is a SHA-256 as people write it: 64 hexadecimal digits, capital or not."""
    return re.fullmatch("[0-9a-fA-F]{64}", text) is not None
