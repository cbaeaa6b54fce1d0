"""The pages of docs/guide as blocks of code, each with what an HTML comment before it says."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
GUIDE = REPOSITORY / "docs" / "guide"
PAGES = sorted(path.name for path in GUIDE.glob("*.md"))

_BLOCK = re.compile(
    r"^(?:<!-- guide: (?P<say>[^\n]+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_FILE, _NOT_RUN = "file ", "not run: "


@dataclass(frozen=True)
class Block:
    """`file` is what the reader saves it as; `skipped` is why the tests do not run it."""

    kind: str
    text: str
    file: str | None
    skipped: str | None

    @property
    def lines(self) -> list[str]:
        """The commands of a block of shell code, without comments and continued lines as one."""
        text = re.sub(r"\\\n\s*", "", self.text)
        return [line.partition("   #")[0].strip() for line in text.splitlines() if line.strip()]


def blocks_of(page: str) -> list[Block]:
    """All blocks of a page, in order."""
    found: list[Block] = []
    for match in _BLOCK.finditer((GUIDE / page).read_text()):
        say = match["say"] or ""
        assert not say or say.startswith((_FILE, _NOT_RUN)), f"{page}: {say}"
        file, skipped = (say.removeprefix(start) if say.startswith(start) else None for start in (_FILE, _NOT_RUN))
        found.append(Block(match["kind"], match["text"], file, skipped))
    return found


def saved_file(page: str, name: str) -> str:
    """The text of the block that a reader of the page saves as `name`."""
    (text,) = (block.text for block in blocks_of(page) if block.file == name)
    return text
