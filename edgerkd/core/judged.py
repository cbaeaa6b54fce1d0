"""What became of each image that a verification judged: the counts that gates and rows are made of."""

from dataclasses import dataclass
from string import ascii_lowercase

from edgerkd.core.ranges import Amount, Count, Name
from edgerkd.core.record import Record
from edgerkd.core.sequential import Tally, share

WRONG, RIGHT = "-", "+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Record):
    """The images judged, of so many, in the order in which the verifier drew them.

    `images` are their places among the samples that there were to judge. `fates` and `host` are texts of one character
    an image, a text for each time that it was asked whether that is enough. A fate is `-` (wrong as it is), `a`, `b`,
    ... (right as it is, wrong first under the first row's attack, the second's, ...) or `+` (right under all). `host`
    says the same of the model that the host attacked, without telling by what: `-` or `+`; None where the host attacked
    nothing.
    """

    of: Count
    images: tuple[Amount, ...]
    fates: tuple[Name, ...]
    host: tuple[Name, ...] | None

    def __post_init__(self) -> None:
        if len(self.images) != self.n or self.n > self.of:
            raise ValueError(f"{len(self.images)} images and {self.n} fates, of {self.of}")
        if self.host is not None and [len(each) for each in self.host] != [len(each) for each in self.fates]:
            raise ValueError("there are not as many answers of the host as there are fates")
        odd = set("".join(self.fates)) - {WRONG, RIGHT, *ascii_lowercase} | set("".join(self.host or ())) - {
            WRONG,
            RIGHT,
        }
        if odd:
            raise ValueError(f"no such fate: {', '.join(sorted(odd))}")

    @property
    def n(self) -> int:
        return sum(map(len, self.fates))

    @property
    def clean(self) -> Tally:
        """Right as they are."""
        return share(self.n - "".join(self.fates).count(WRONG), self.n)

    def after(self, rows: int) -> Tally:
        """Right under the attacks of the first so many rows."""
        fooled = {WRONG, *ascii_lowercase[:rows]}
        return share(sum(fate not in fooled for fate in "".join(self.fates)), self.n)

    @property
    def robust(self) -> Tally:
        """Right under all attacks."""
        return share("".join(self.fates).count(RIGHT), self.n)

    def tally(self, gate: str) -> Tally | None:
        """The counts that a gate is about, by its name; None where they were not measured."""
        return {"clean_acc": self.clean, "robust_acc": self.robust, "retention": self.retention}[gate]

    @property
    def retention(self) -> Tally | None:
        """Right under all attacks, on the engine and on the host; None where the host attacked nothing."""
        if self.host is None:
            return None
        pairs = [
            (fate == RIGHT, held == RIGHT) for fate, held in zip("".join(self.fates), "".join(self.host), strict=True)
        ]
        return Tally(pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True)), paired=True)
