"""Where in its run a step is, and what its method asked of that: a step that asked the same can be repeated."""


class Moment:
    """A share of the run, 0 to 1, of which a method asks whether it is past another, or its very value."""

    def __init__(self, progress: float) -> None:
        self._progress = progress
        self._answers: dict[float, bool] = {}
        self._told = False

    def past(self, share: float) -> bool:
        """Whether this share of the run is over."""
        self._answers[share] = self._progress >= share
        return self._answers[share]

    def progress(self) -> float:
        """The share itself. No step at another one is like a step that asks for it."""
        self._told = True
        return self._progress

    def like(self, progress: float) -> bool:
        """Whether all that was asked would be answered alike at this share."""
        return not self._told and all((progress >= share) == past for share, past in self._answers.items())
