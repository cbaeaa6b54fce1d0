"""The plain question: McNemar's test against published and counted values, and its words."""

from dataclasses import replace
from itertools import product

import pytest

from edgerkd.attacks.flag_kinds import OTHER_INPUT
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.comparison import mcnemar_exact
from edgerkd.core.plain import LayerDifference, ModelComparison, PlainAnswer
from edgerkd.report.plain import plain_lines


@pytest.mark.parametrize("alone", list(product(range(6), range(6))))
def test_the_test_counts_coins(alone):
    """Catches one side counted, ties counted twice, and a p-value above 1: every sequence of coins is tried."""
    n, least = sum(alone), min(alone)
    as_uneven = sum(min(sum(coins), n - sum(coins)) <= least for coins in product((0, 1), repeat=n))
    assert mcnemar_exact(*alone) == pytest.approx(as_uneven / 2**n)


def test_published_values():
    """Catches a one-sided value. Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13:91, with 1 and 7."""
    assert mcnemar_exact(1, 7) == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar_exact(0, 0) == 1.0


RIGHT = accuracy_from_correct([True] * 90 + [False] * 10)
SAME = PlainAnswer(
    engine_acc=RIGHT,
    classes=(),
    model=ModelComparison(model_acc=RIGHT, engine_alone=0, model_alone=0, same_answer=1.0, chance=1.0),
    causes=(),
    layer=None,
)


def test_a_difference_is_said_with_its_cause_and_its_layer():
    """Catches an engine that differs from its model and reads like one that does not."""
    assert plain_lines(SAME)[1].endswith("and every answer is the same")
    other = replace(
        SAME,
        model=ModelComparison(
            model_acc=RIGHT, engine_alone=1, model_alone=19, same_answer=0.8, chance=mcnemar_exact(1, 19)
        ),
        causes=(OTHER_INPUT.raised(way="inverted"),),
        layer=LayerDifference(layer="/conv/Conv", kind="Conv", place=1, of=9, share=0.5),
    )
    said = "\n".join(plain_lines(other))
    for words in ("they differ", "p = 4e-05", "given images inverted", "/conv/Conv (Conv, 1 of 9)"):
        assert words in said
    near = replace(
        other, model=ModelComparison(model_acc=RIGHT, engine_alone=1, model_alone=2, same_answer=0.9, chance=1.0)
    )
    assert "no difference is shown" in plain_lines(near)[1]
