"""Words for the ids that reports store."""

import math
from string import Formatter

import pytest

from edgerkd.attacks.flag_kinds import KINDS, OUTSIDE_RANGE, QUERIES_GO_FURTHER
from edgerkd.attacks.suite import ATTACKS, ENSEMBLES, FACTS, attacks_named, descriptions
from edgerkd.attacks.words import flag_words, title_of
from edgerkd.core.customary import COLOUR, CUSTOMARY, customary_for
from edgerkd.core.flag import Flag
from edgerkd.data.known import KNOWN
from edgerkd.files.decode import decode_json, encode_json


@pytest.mark.parametrize(
    ("attack", "title"),
    [
        ("pgd-20-ce", "PGD-20 CE"),
        ("pgd-40-features", "PGD-40 features"),
        ("square:300", "Square, 300 queries"),
        ("apgd-ce:25", "APGD-CE, 25 steps"),
        ("of-another-version", "of-another-version"),
        ("another:7", "another:7"),
    ],
)
def test_an_attacks_title_is_made_of_its_id(attack, title):
    """Catches a budget that is lost or counts the wrong thing, and a crash over a report of another version."""
    assert title_of(attack) == title


def test_an_attack_with_another_budget_has_the_title_that_its_id_is_shown_by():
    """Catches two titles for one attack."""
    other = ATTACKS["square"].with_budget(300, ATTACKS["square"].run)
    assert (other.id, other.title) == ("square:300", title_of("square:300"))


def test_each_attack_is_described_and_each_ensemble_is_made_of_attacks():
    """Catches an id twice, an ensemble of nothing, and a name that two things have."""
    assert len({attack.title for attack in FACTS.values()}) == len(FACTS)
    assert not set(ENSEMBLES) & set(FACTS)
    assert set(descriptions()) == {*ENSEMBLES, *ATTACKS}
    assert all(attack.sources and len(attack.description) > 10 for attack in FACTS.values())
    assert {"fgsm", "noise", "pgd-kl"} == {attack.id for attack in ATTACKS.values() if attack.evidence == "none"}
    for name in descriptions():
        assert attacks_named(name, classes=10)[0]
    assert [each.id for each in attacks_named("autoattack", classes=10)[0]] == ["apgd-ce", "apgd-t", "fab-t", "square"]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.id)
def test_a_flag_is_worded_from_its_facts_alone(kind):
    """Catches a template that asks for what its probe never tells."""
    names = {name for _, name, _, _ in Formatter().parse(kind.words) if name}
    assert names
    words = flag_words(kind.raised(**dict.fromkeys(names, 7)))
    assert words.startswith(f"{kind.title}: " if kind.title else words[:1])
    assert "7" in words
    assert "{" not in words


def test_words_have_titles_of_attacks_and_numbers_that_json_lacks(tmp_path):
    """Catches an id shown to a reader, and a report that cannot be written for images that are NaN."""
    assert flag_words(QUERIES_GO_FURTHER.raised(attack="square:300", fooled=3, n=9)).startswith(
        "query attack beats white-box: Square, 300 queries, which sees no gradient, fools 3 of 9 images"
    )
    found = OUTSIDE_RANGE.raised(out=1, n=2, low=math.nan, high=math.inf)
    (tmp_path / "flag.json").write_text(encode_json(found))
    assert decode_json(Flag, tmp_path / "flag.json") == found
    assert "reaching nan to inf" in flag_words(found)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (Flag(id="of-another-version", facts={"n": 3}), "of-another-version, n 3"),
        (Flag(id="zero-gradients", facts={"n": 3}), "zero-gradients, n 3"),
        (Flag(id="randomised-output", facts={"calls": 1, "spread": "x", "size": 2}), "randomised-output, calls 1, "),
    ],
)
def test_a_flag_that_is_not_understood_is_shown_as_it_is_stored(flag, words):
    """Catches a doubt that disappears, and a page that cannot be made."""
    assert flag_words(flag).startswith(words)


def test_every_known_data_set_has_a_customary_threat_model():
    """Catches a data set that is known and whose radius a user must guess, and grey images that get one."""
    assert set(CUSTOMARY) == set(KNOWN)
    assert customary_for("mnist", channels=1) is CUSTOMARY["mnist"]
    assert customary_for("mine", channels=3) is COLOUR
    assert customary_for("mine", channels=1) is None
