"""Which epoch's weights are kept: of those as robust as any, within what validation images can tell, the most accurate.

Robust accuracies on a thousand validation images are apart by chance, and the highest of many epochs is the luckiest as
well. Near the end of a run clean accuracy still rises by points while robust accuracy stays: an epoch chosen by the
latter alone gives that away for nothing.
"""

from dataclasses import dataclass, replace
from math import sqrt

SLACK = 0.5
"""Standard errors of the highest robust accuracy that the epoch kept may lie below it. Ours (measured/kept-epoch.md).
That what is within one standard error of the best may count as equal: Breiman et al. 1984, section 3.4.3."""


def least_robust(most: float, n: int, *, errors: float = SLACK) -> float:
    """The robust accuracy that lies so many standard errors below `most`, which `n` images were found to have."""
    return most - errors * sqrt(most * (1 - most) / n)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEpoch:
    """An epoch, counted from 1, with its accuracies on `n` validation images; `most` is the highest robust one so far.

    Of methods that are not judged under attack `robust` is their clean accuracy, and `clean` is 0.
    """

    n: int
    epoch: int = 0
    robust: float = -1.0
    clean: float = -1.0
    most: float = 0.0

    def after(self, epoch: int, *, robust: float, clean: float) -> "KeptEpoch":
        """What is kept once another epoch has ended: never one that is further below `most` than `SLACK` allows.

        Of two that are near it the more accurate one, of equal ones the later, for its learning rate is lower.
        """
        most = max(self.most, robust)
        least = least_robust(most, self.n)
        better = (clean, robust) >= (self.clean, self.robust)
        if robust >= least and (better or self.robust < least):
            return replace(self, epoch=epoch, robust=robust, clean=clean, most=most)
        return replace(self, most=most)
