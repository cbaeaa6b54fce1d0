"""The rule that decides early: against closed forms, exact probabilities and simulation."""

from fractions import Fraction
from math import comb, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerkd.core.judged import Judged
from edgerkd.core.sequential import (
    ERROR,
    Tally,
    accuracy_anytime,
    against_at_least,
    against_at_most,
    bounds,
    images_needed,
    share,
    surely_missed,
    surely_reached,
)
from edgerkd.verify.evidence import LOOK
from tests import benches

REQUIRED = {"clean_acc": 0.9, "robust_acc": 0.5, "retention": 0.95}


def closed_form(hits: int, n: int, value: Fraction) -> float:
    """ln of Robbins' mixture with a uniform prior on (value, 1): an incomplete beta function, a binomial tail."""
    tail = sum(Fraction(comb(n + 1, k)) * value**k * (1 - value) ** (n + 1 - k) for k in range(hits + 1))
    beta = Fraction(1, (n + 1) * comb(n, hits))
    found = beta * tail / ((1 - value) * value**hits * (1 - value) ** (n - hits))
    return log(found.numerator) - log(found.denominator)


@pytest.mark.parametrize(("hits", "n"), [(1, 1), (0, 3), (34, 50), (30, 50), (92, 100), (160, 400), (250, 500)])
@pytest.mark.parametrize("value", [Fraction(1, 10), Fraction(1, 2), Fraction(4, 5)])
def test_betting_on_a_share_is_the_mixture_of_likelihood_ratios(hits, n, value):
    """Catches another capital process than the one whose validity is known: wrong stakes, signs or exponents."""
    gained = against_at_most(share(hits, n), float(value))
    assert max(gained, -1) == pytest.approx(max(closed_form(hits, n, value), -1), abs=0.02, rel=0.02)
    mirrored = closed_form(n - hits, n, 1 - value)
    gained = against_at_least(share(hits, n), float(value))
    assert max(gained, -1) == pytest.approx(max(mirrored, -1), abs=0.02, rel=0.02)


def chance_of_ever(refuted, value: float, n: int) -> float:
    """Exactly: how likely a share of exactly `value` is refuted at any of n looks."""
    alive, gone = {0: 1.0}, 0.0
    for images in range(1, n + 1):
        after: dict[int, float] = {}
        for hits, chance in alive.items():
            after[hits] = after.get(hits, 0.0) + chance * (1 - value)
            after[hits + 1] = after.get(hits + 1, 0.0) + chance * value
        out = {hits for hits in after if refuted(share(hits, images), value)}
        gone += sum(after[hits] for hits in out)
        alive = {hits: chance for hits, chance in after.items() if hits not in out}
    return gone


@pytest.mark.parametrize("value", [0.1, 0.5, 0.9])
def test_looking_after_every_image_is_wrong_at_most_as_often_as_is_said(value):
    """Catches an interval of a fixed sample looked at again and again: Wilson's is wrong in a tenth of all cases."""
    for refuted in (surely_reached, surely_missed):
        chance = chance_of_ever(
            lambda tally, at, refuted=refuted: refuted(tally, at + 1e-12 if refuted is surely_missed else at), value, 60
        )
        assert chance <= ERROR
    assert chance_of_ever(lambda tally, at: surely_missed(tally, at, gates=3), value, 60) <= ERROR / 3


PAIRS = st.tuples(*[st.integers(0, 200)] * 3)


@settings(max_examples=40)
@given(pairs=PAIRS, paired=st.booleans())
def test_an_interval_contains_the_estimate_and_widens_with_the_gates(pairs, paired):
    """Catches ends on the wrong side, and an error that is not shared."""
    tally = Tally(pairs[0], pairs[1] if paired else 0, pairs[2], paired=paired)
    low, high = bounds(tally)
    assert 0 <= low <= tally.value <= high or not pairs[0] + pairs[2]
    assert bounds(tally, gates=3)[0] == low
    assert bounds(tally, gates=3)[1] >= high


@settings(max_examples=40)
@given(hits=st.integers(0, 200), misses=st.integers(1, 200))
def test_one_more_right_answer_never_lowers_an_end(hits, misses):
    """Catches an interval that moves against its data."""
    before, after = (bounds(share(right, hits + misses)) for right in (hits, hits + 1))
    assert after[0] >= before[0]
    assert after[1] >= before[1]


@settings(max_examples=40)
@given(pairs=PAIRS, paired=st.booleans(), required=st.floats(0.01, 0.99), gates=st.integers(1, 3))
def test_the_interval_says_what_the_rule_decides(pairs, paired, required, gates):
    """Catches a verdict that the figures beside it contradict."""
    tally = Tally(pairs[0], pairs[1] if paired else 0, pairs[2], paired=paired)
    low, high = bounds(tally, gates=gates)
    if abs(low - required) > 1e-6 and pairs[0] + pairs[2]:
        assert surely_reached(tally, required) == (low >= required)
    if abs(high - required) > 1e-6 and pairs[0] + pairs[2]:
        assert surely_missed(tally, required, gates=gates) == (high < required)


def test_a_share_18_points_from_its_gate_takes_a_fifth_of_500_images():
    """Catches a rule that is valid and needs everything: the aim of issue 13."""
    for required in (0.3, 0.4, 0.5, 0.6, 0.7):
        assert surely_reached(share(round(100 * required) + 18, 100), required)
    assert surely_missed(share(32, 109), 0.5, gates=3)
    assert not surely_reached(share(52, 100), 0.5)


def test_what_would_settle_it_is_the_first_number_that_does():
    """Catches a number made up, and one for what no number settles."""
    tally = share(30, 50)
    found = images_needed(tally, 50, 0.5)
    assert found is not None
    assert surely_reached(tally.times(found / 50), 0.5)
    assert not surely_reached(tally.times((found - 1) / 50), 0.5)
    assert images_needed(share(45, 50), 50, 0.5) == 50
    assert images_needed(share(25, 50), 50, 0.5) is None
    more_gates = images_needed(share(20, 50), 50, 0.5, gates=3)
    assert more_gates is not None
    assert more_gates > (images_needed(share(20, 50), 50, 0.5) or 0)


def test_an_accuracy_that_holds_at_any_time_is_wider_than_a_fixed_samples():
    """Catches Wilson's interval under another name."""
    found = accuracy_anytime([True] * 70 + [False] * 30)
    assert (found.value, found.n) == (0.7, 100)
    assert 0.5 < found.low < 0.58
    assert 0.81 < found.high < 0.88
    assert accuracy_anytime([]) == accuracy_anytime(iter(()))


@pytest.fixture(scope="module")
def bench():
    return benches.bench("sequential")


@pytest.mark.parametrize(
    ("chances", "wrong"),
    [
        ((0.50, 0.0, 0.0, 0.39, 0.11), "pass"),  # clean 89 %
        ((0.48, 0.005, 0.0, 0.505, 0.01), "pass"),  # robust 48.5 %
        ((0.65, 0.0, 0.05, 0.29, 0.01), "pass"),  # retention 93 %
        ((0.50, 0.0, 0.025, 0.375, 0.10), "fail"),  # all are met, hardly
    ],
    ids=["clean", "robust", "retention", "all-met"],
)
def test_engines_beside_their_gates_are_hardly_ever_judged_wrong(bench, chances, wrong):
    """Catches false passes and fails above 1 %: of 500 engines 11 or more would be wrong with a chance of 1 %."""
    engine = bench.Engine(chances=chances, required=REQUIRED)
    assert engine.met == (wrong == "fail")
    verdicts, _ = bench.simulate(engine, 400, 500, np.random.default_rng(0))
    assert verdicts.count(wrong) <= 10


def test_engines_far_from_their_gates_are_judged_early(bench):
    """Catches a rule that never decides, which is never wrong."""
    poor = bench.Engine(chances=(0.2, 0.0, 0.4, 0.39, 0.01), required=REQUIRED)
    verdicts, images = bench.simulate(poor, 400, 50, np.random.default_rng(0))
    assert (set(verdicts), np.median(images)) == ({"fail"}, LOOK)
    good = bench.Engine(chances=(0.97, 0.02, 0.0, 0.005, 0.005), required=REQUIRED)
    verdicts, images = bench.simulate(good, 400, 50, np.random.default_rng(0))
    assert verdicts.count("pass") >= 48
    assert np.median(images) <= 250


JUDGED = Judged(of=9, images=(8, 1, 5, 2, 7), fates=("+-a", "b+"), host=("+-+", "-+"))


def test_what_became_of_images_gives_all_counts():
    """Catches rows, gates and pairs that do not belong together."""
    assert JUDGED.n == 5
    assert JUDGED.clean == share(4, 5)
    assert [JUDGED.after(rows) for rows in range(3)] == [share(4, 5), share(3, 5), share(2, 5)]
    assert JUDGED.robust == JUDGED.tally("robust_acc") == share(2, 5)
    assert JUDGED.retention == Tally(2, 0, 1, paired=True)
    assert Judged(of=9, images=(0,), fates=("+",), host=None).tally("retention") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": (1, 2)}, "2 images and 5 fates"),
        ({"of": 4}, "of 4"),
        ({"host": ("+-+",)}, "not as many answers"),
        ({"fates": ("+-?", "b+")}, r"no such fate: \?"),
    ],
)
def test_counts_that_contradict_each_other_are_refused(changes, message):
    """Catches a report whose images, fates and host's answers are not of the same images."""
    given_ = {"of": 9, "images": JUDGED.images, "fates": JUDGED.fates, "host": JUDGED.host}
    with pytest.raises(ValueError, match=message):
        Judged(**{**given_, **changes})
