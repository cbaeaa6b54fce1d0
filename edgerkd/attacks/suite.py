"""Attacks and ensembles by name. A new attack is a file beside this one with it in its ATTACKS, and a line here."""

from importlib import import_module

from edgerkd.attacks.attack import Attack, AttackFacts
from edgerkd.attacks.flag_kinds import OVER_REPORTS, TOO_FEW_CLASSES
from edgerkd.core.errors import UnknownNameError
from edgerkd.core.flag import Flag

FILES = (
    "pgd",
    "apgd",
    "fab",
    "square",
    "noise",
    "features",
    "replay",
)

_FOUND: tuple[AttackFacts, ...] = tuple(
    attack for file in FILES for attack in import_module(f"edgerkd.attacks.{file}").ATTACKS
)
FACTS: dict[str, AttackFacts] = {attack.id: attack for attack in _FOUND}
"""All that a report can name."""
ATTACKS: dict[str, Attack] = {attack.id: attack for attack in _FOUND if isinstance(attack, Attack)}
"""All that a classifier alone is enough for, which a user can ask for."""

ENSEMBLES: dict[str, tuple[str, ...]] = {
    # Two losses, for each is blind where the other sees: CE where logits saturate, the margin on its plateaus.
    "pgd": ("pgd-20-ce", "pgd-20-margin"),
    "apgd": ("apgd-ce", "apgd-t"),
    # What the host and `verify` take: of 397 digits three targets leave as many as nine; not compared elsewhere. Ours.
    "apgd-square": ("apgd-ce", "apgd-t3", "square:500"),
    # The standard one. Source: Croce and Hein 2020, arXiv 2003.01690, section 5.
    "autoattack": ("apgd-ce", "apgd-t", "fab-t", "square"),
}

DEFAULT = "apgd-square"
"""Of a verification, and so of what the host measures for it."""
FULL = {"apgd-t3": "apgd-t", "square:500": "square"}
"""What stands in for the shorter ones where everything is to be run."""


def attacks_of(name: str) -> tuple[Attack, ...]:
    """The attacks a user's word stands for, in the order they run.

    Raises UnknownNameError, which says what each known one is.
    """
    if name not in ATTACKS and name not in ENSEMBLES:
        raise UnknownNameError("attack", name, words=descriptions())
    return tuple(ATTACKS[each] for each in ENSEMBLES.get(name, (name,)))


def attacks_named(name: str, *, classes: int, full: bool = False) -> tuple[tuple[Attack, ...], tuple[Flag, ...]]:
    """The same, each at its full length if `full`, and notices about them. Raises UnknownNameError."""
    found = attacks_of(name)
    if full:
        found = tuple(ATTACKS[FULL.get(attack.id, attack.id)] for attack in found)
    notices: list[Flag] = []
    needed = max(attack.least_classes for attack in found)
    if classes < needed:
        notices.append(TOO_FEW_CLASSES.raised(needed=needed, classes=classes))
    if all(attack.evidence != "good" for attack in found):
        notices.append(OVER_REPORTS.raised(name=name))
    return found, tuple(notices)


def descriptions() -> dict[str, str]:
    """What each name stands for that a user can type: ensembles first."""
    ensembles = {
        name: f"{', '.join(ATTACKS[each].title for each in found)}; the worst case of each image"
        for name, found in ENSEMBLES.items()
    }
    return {**ensembles, **{attack.id: attack.description for attack in ATTACKS.values()}}
