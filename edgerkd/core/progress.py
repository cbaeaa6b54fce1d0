"""How long work says how far it is, without knowing who listens."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int, str], None]
"""(units done so far, a few words on how it goes)"""


class Progress(Protocol):
    """Whoever shows progress."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """One stretch of `total` units."""
        ...

    def say(self, line: str) -> None:
        """What the user should know while the work goes on."""
        ...

    def log(self, line: str) -> None:
        """How far the work is, for whoever sees no stages."""
        ...


class Silent:
    """Nobody listens."""

    @contextmanager
    def stage(self, name: str, total: int) -> Generator[Advance, None, None]:
        """Show nothing."""
        yield lambda done, words: None

    def say(self, line: str) -> None:
        """Show nothing."""

    def log(self, line: str) -> None:
        """Show nothing."""
