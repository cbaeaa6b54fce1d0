"""Two verifications side by side, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgerkd.core.comparison import Paired
from edgerkd.core.ranges import Amount, Name
from edgerkd.core.record import Record
from edgerkd.core.verification import VerifyReport

Kind = Literal["verdict", "gate", "limit"]
Difference = Literal["threat model", "attacks", "seed", "images"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Record):
    """Something that was judged otherwise: the verdict, or a gate or limit by name; None where it was not asked."""

    kind: Kind
    name: Name
    first: Name | None
    second: Name | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyComparison(Record):
    """`clean` and `robust` pair the `common` images, those that both judged; None where there are none.

    `changes` were judged otherwise, `unlike` is what was not alike in how they were made.
    """

    SCHEMA = 1

    first: VerifyReport
    second: VerifyReport
    common: Amount
    clean: Paired | None
    robust: Paired | None
    changes: tuple[Change, ...]
    unlike: tuple[Difference, ...]


def changes_of(first: VerifyReport, second: VerifyReport) -> tuple[Change, ...]:
    """Whatever was judged otherwise, the verdict first."""
    found = [] if first.verdict == second.verdict else [_change("verdict", "verdict", first.verdict, second.verdict)]
    gates = [{gate.gate: gate.verdict for gate in each.gates} for each in (first, second)]
    limits = [{limit.limit: _judged(limit.ok) for limit in each.budget} for each in (first, second)]
    return (*found, *_changed("gate", *gates), *_changed("limit", *limits))


def differences_of(first: VerifyReport, second: VerifyReport, *, same_images: bool) -> tuple[Difference, ...]:
    """What was not alike in how two verifications were made."""
    alike: dict[Difference, bool] = {
        "threat model": first.threat_model == second.threat_model,
        "attacks": [row.attack for row in first.rows] == [row.attack for row in second.rows],
        "seed": first.seed == second.seed,
        "images": same_images,
    }
    return tuple(name for name, same in alike.items() if not same)


def _changed(kind: Kind, one: Mapping[str, str], other: Mapping[str, str]) -> list[Change]:
    names = dict.fromkeys((*one, *other))
    pairs = {name: (one.get(name), other.get(name)) for name in names}
    return [_change(kind, name, before, after) for name, (before, after) in pairs.items() if before != after]


def _change(kind: Kind, name: str, first: str | None, second: str | None) -> Change:
    return Change(kind=kind, name=name, first=first, second=second)


def _judged(ok: bool | None) -> str:
    return "not judged" if ok is None else "within" if ok else "exceeded"
