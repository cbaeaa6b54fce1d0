"""What is shown for the ids that reports store: titles of attacks, sentences of flags. Ours."""

from edgerkd.attacks.flag_kinds import KINDS
from edgerkd.attacks.suite import FACTS
from edgerkd.core.flag import Fact, Flag


def title_of(attack: str) -> str:
    """What is shown for an attack's id, with the budget or the origin that the id names; an unknown one as it is."""
    known, colon, budget = attack.partition(":")
    if known not in FACTS:
        return attack
    if not colon:
        return FACTS[known].title
    return f"transfer from {budget}" if known == "transfer" else f"{FACTS[known].title}, {budget} {FACTS[known].unit}"


def flag_words(flag: Flag) -> str:
    """A flag as a sentence. One of a kind, or with facts, that this version does not know is shown as it is stored."""
    kind = KINDS.get(flag.id)
    if kind is not None:
        try:
            found = kind.words.format(**{name: _shown(name, value) for name, value in flag.facts.items()})
        except (KeyError, ValueError):
            pass
        else:
            return f"{kind.title}: {found}" if kind.title else found
    return ", ".join([flag.id, *(f"{name} {value}" for name, value in flag.facts.items())])


def _shown(name: str, value: Fact) -> Fact:
    """An attack by its title, and the number that was kept as text, for JSON has none for it."""
    if isinstance(value, str):
        return float(value) if value in ("nan", "inf", "-inf") else title_of(value) if name == "attack" else value
    return value
