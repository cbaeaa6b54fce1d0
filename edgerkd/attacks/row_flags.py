"""Signs that attacks were blind which their rows alone show: who reads a report can look for these again."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from edgerkd.attacks.flag_kinds import NOISE_FOOLS, QUERIES_GO_FURTHER
from edgerkd.attacks.looks import too_many
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag

LOWERS = 0.002  # by how much queries may lower what white-box attacks leave: 0.2 points; AutoAttack, flags_doc.md


def flags_of_rows(rows: Sequence[Row], clean: int) -> tuple[Flag, ...]:
    """All that `rows` show, each the worst case so far, of attacks on images of which so many are right as they are.

    Of each kind the first alone.
    """
    return first_of_each((*by_queries(rows), *by_noise(rows, clean)))


def first_of_each(flags: Sequence[Flag]) -> tuple[Flag, ...]:
    """The first of each kind."""
    return tuple({flag.id: flag for flag in reversed(flags)}.values())


def by_queries(rows: Sequence[Row]) -> Iterator[Flag]:
    """A flag for each query attack that still lowers what the white-box attacks before it left.

    Source of the threshold: AutoAttack, flags_doc.md.
    """
    for number, (before, row) in enumerate(pairwise(rows), 1):
        n = row.robust_acc.n
        fooled = before.robust_acc.hits - row.robust_acc.hits
        white_box = any(earlier.source == "direct" for earlier in rows[:number])
        if white_box and row.source == "query" and too_many(fooled, n, LOWERS):
            yield QUERIES_GO_FURTHER.raised(attack=row.attack, fooled=fooled, n=n)


def by_noise(rows: Sequence[Row], clean: int) -> Iterator[Flag]:
    """A flag where random points alone, of which there is a row, fool as many images as all other attacks; ours."""
    places = [number for number, row in enumerate(rows) if row.source == "noise"]
    if not places or len(rows) == 1:
        return
    before = clean if places[0] == 0 else rows[places[0] - 1].robust_acc.hits
    noise = before - rows[places[0]].robust_acc.hits
    others = clean - rows[-1].robust_acc.hits - noise
    if noise >= 2 and noise >= others:
        yield NOISE_FOOLS.raised(noise=noise, n=rows[0].robust_acc.n, attacks=others)
