"""Which images a verdict rests on, and who brought them."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.ranges import Amount, Count, Name, Sha256
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSamples(Record):
    """`n` images were judged, drawn from `of` that there are, by `seed`; None where the bundle chose them.

    `source` is who brought them. `repeated` were left out because they are copies of another one of these
    (verify/distinct.py), `stored` because they are copies of one that stands in the bundle, which its maker has seen.
    `sha256` is of the pixels and labels that are left.
    """

    source: Literal["bundle", "verifier"]
    data: Name
    n: Count
    of: Count
    repeated: Amount
    stored: Amount
    seed: Amount | None
    sha256: Sha256
