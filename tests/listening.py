"""A listener of progress, for tests."""

from edgerkd.core.progress import Silent


class Listening(Silent):
    """Remembers what was said, and how far the work was."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.logged: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def log(self, line: str) -> None:
        self.logged.append(line)
