"""The check of gradients: right ones are believed, and each kind of wrong one is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.gradient_check import DISTANCES, POINTS, STAGES, check_gradients, coarse_signs
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.gradient_check import (
    ALARM,
    STRAY,
    allowed_disagreements,
    concordance,
    judge_gradients,
    mean_interval,
)
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from tests.curved import CLASSES, SHAPE, Curved, Rounded
from tests.zoo import LinearToy

EPS = 16 / 255
FLOATS = st.floats(-1e3, 1e3)
IMAGES = (np.random.default_rng(0).integers(0, 256, (200, *SHAPE)) / 255).astype(np.float32)


class Half(Curved):
    """As an fp16 engine: every product and sum is rounded."""

    def logits(self, images):
        half = np.float16
        hidden = np.maximum(images.reshape(len(images), -1).astype(half) @ self.first.astype(half), half(0))
        return (hidden @ self.second.astype(half)).astype(np.float32)


class Lying:
    """The engine of `right`, with a gradient of its own making."""

    def __init__(self, right, lie) -> None:
        self.right, self.lie, self.rng = right, lie, np.random.default_rng(2)

    def logits(self, images):
        return self.right.logits(images)

    def gradient(self, images, cotangent):
        used = []
        logits, gradient = self.right.gradient(images, lambda z: used.append(cotangent(z)) or used[-1])
        return logits, self.lie(images, gradient, used[-1], self.rng).astype(np.float32)


def inputs_of(images=IMAGES, *, norm="Linf", eps="16/255") -> AttackInputs:
    labels = Curved().logits(images).argmax(1)
    threat_model = ThreatModel(norm=norm, eps=Radius(eps))
    return AttackInputs(images=images, labels=labels, threat_model=threat_model, seed=0, index=np.arange(len(labels)))


def check(classifier, inputs=None, *, precision="fp32", seed=0, **more):
    generator = np.random.default_rng(seed)
    return check_gradients(classifier, inputs or inputs_of(), precision=precision, generator=generator, **more)


ENGINES = {"fp32": Curved(), "fp16": Half(), "int8": Rounded()}


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("precision", ENGINES)
def test_right_gradients_are_believed(precision, norm):
    """Catches distances too short for the engine's rounding, a lost factor of two, the wrong sign of a step."""
    inputs = inputs_of(norm=norm, eps="16/255" if norm == "Linf" else "0.5")
    found = [check(ENGINES[precision], inputs, precision=precision, seed=seed) for seed in range(20)]
    assert [each.failures for each in found if not each.ok] == []
    assert all(each.points == POINTS == each.agreeing + each.disagreeing + each.flat for each in found)


def noise(g, rng):
    return rng.normal(size=g.shape) * np.abs(g).mean(axis=(1, 2, 3), keepdims=True)


def only(rows, g, rng):
    """Right on these rows, noise on the others."""
    return np.where(rows[:, None, None, None], g, noise(g, rng))


def near(x, known):
    return (np.abs(x[:, None] - known[None]).max((2, 3, 4)) <= EPS * 1.01).any(1)


def at_surface(x):
    nearest = np.abs(x[:, None] - IMAGES[None]).max((2, 3, 4)).argmin(1)
    return np.median(np.abs(x - IMAGES[nearest]), axis=(1, 2, 3)) > 0.7 * EPS


LIES = {
    "zero": lambda x, g, c, rng: 0 * g,
    "noise": lambda x, g, c, rng: noise(g, rng),
    "noise too small to predict a change": lambda x, g, c, rng: noise(g, rng) * 1e-12,
    "sign flipped": lambda x, g, c, rng: -g,
    "of another image": lambda x, g, c, rng: np.roll(g, 1, axis=0),
    "right on 32 stored images": lambda x, g, c, rng: only(near(x, IMAGES[:32]), g, rng),
    "right on images of bytes": lambda x, g, c, rng: only(
        np.abs(x * 255 - np.rint(x * 255)).max((1, 2, 3)) < 0.01, g, rng
    ),
    "wrong where attacks go": lambda x, g, c, rng: only(~at_surface(x), g, rng),
    "right for one class": lambda x, g, c, rng: only(c.argmin(1) == 0, g, rng),
    "far too small": lambda x, g, c, rng: g / 1000,
    "drowned in noise": lambda x, g, c, rng: g + 4 * noise(g, rng),
    "wrong on half": lambda x, g, c, rng: only(rng.random(len(g)) < 0.5, g, rng),
}


@pytest.mark.parametrize("precision", ENGINES)
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused(lie, precision):
    """Catches a check that looks where this lie is none, or that can be talked out of an answer."""
    found = [check(Lying(ENGINES[precision], LIES[lie]), precision=precision, seed=seed) for seed in range(5)]
    assert [each.ok for each in found] == [False] * 5
    assert all(each.failures for each in found)


def test_what_is_left_out_is_seen_by_random_directions():
    """Catches a check along the twin's own direction only: there, a part of the gradient predicts its slope rightly."""

    def smallest(x, g, c, rng):
        size = np.abs(g)
        return np.where(size <= np.median(size, axis=(1, 2, 3), keepdims=True), g, 0)

    assert check(Lying(Curved(), smallest)).failures == ("correlation",)


def test_saturated_logits_are_no_lie():
    """Catches points asked about a loss whose weights are all zero: cross-entropy's, where the softmax rounds to 1."""
    found = check(Curved(scale=1e4))
    assert (found.ok, found.flat) == (True, 0)


@pytest.mark.parametrize("lie", ["zero", "sign flipped"])
def test_an_engine_that_never_moves_cannot_be_told(lie):
    """Catches a pass for want of anything to compare."""

    class Constant(Curved):
        def logits(self, images):
            return np.tile(np.arange(CLASSES, dtype=np.float32), (len(images), 1))

    flat = check(Lying(Constant(), lambda x, g, c, rng: 0 * g))
    assert (flat.flat, flat.failures, flat.ok) == (POINTS, ("flat",), False)
    assert (flat.correlation, flat.low, flat.high) == (0, -1, 1)
    assert "disagreeing" in check(Constant()).failures


def test_a_few_images_give_as_many_points():
    """Catches a check of five points, which proves nothing, and one that fails for want of images."""
    found = check(Curved(), inputs_of(IMAGES[:5]))
    assert (found.points, found.ok) == (POINTS, True)


def test_the_generator_decides_everything():
    """Catches points that are fixed, which a twin could know, and randomness from elsewhere."""
    one, again, other = (check(Rounded(), precision="int8", seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_torch_and_numpy_give_the_same():
    """Catches an array that is left in its library."""
    weight = np.random.default_rng(0).normal(size=(64, CLASSES)).astype(np.float32)
    inputs = inputs_of()
    tensors = replace(inputs, images=torch.from_numpy(IMAGES), labels=torch.from_numpy(inputs.labels))
    on_numpy, on_torch = check(LinearToy(weight), inputs), check(LinearToy(torch.from_numpy(weight)), tensors)
    assert on_torch.agreeing == on_numpy.agreeing == POINTS
    assert on_torch.correlation == pytest.approx(on_numpy.correlation, abs=1e-3)


@pytest.mark.parametrize("precision", ENGINES)
def test_the_cost_is_what_it_says(precision):
    """Catches passes that nobody counted, calls above one batch, points that are no images, stages left unsaid."""
    calls, seen, stages = {"logits": 0, "gradient": 0}, [], []

    class Counted(Curved):
        def logits(self, images):
            seen.append(images)
            return super().logits(images)

        def gradient(self, images, cotangent):
            calls["gradient"] += len(images)
            calls["logits"] -= len(images)
            return super().gradient(images, cotangent)

    check(Counted(), precision=precision, after=lambda done, what: stages.append(done))
    calls["logits"] += sum(map(len, seen))
    steps = {"fp32": 8, "fp16": 10, "int8": 12}[precision]
    assert calls == {"logits": steps * POINTS, "gradient": POINTS * 3 // 2}
    assert max(map(len, seen)) == POINTS
    assert all(x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1 for x in seen)
    assert stages == list(range(1, STAGES + 1))


def test_what_cannot_be_checked_is_an_error():
    """Catches thresholds of another precision used in silence, and a division by a radius of 0."""
    with pytest.raises(UnknownNameError, match="bf16"):
        check(Curved(), precision="bf16")
    with pytest.raises(ConfigError, match="radius is 0"):
        check(Curved(), inputs_of(eps="0"))


def test_the_distances_rise():
    """Catches an order in which the longest good distance is the shortest."""
    assert all(list(each) == sorted(each) for each in DISTANCES.values())


@pytest.mark.parametrize(("norm", "size"), [("Linf", 1.0), ("L2", 1 / math.sqrt(64))])
def test_random_directions_are_coarse_signs_of_length_one(norm, size):
    """Catches directions of another length, the same ones for every point, and noise of single pixels."""
    found = coarse_signs((40, *SHAPE), norm, np.random.default_rng(0))
    assert np.abs(found) == pytest.approx(size)
    assert len(np.unique(found.reshape(40, -1), axis=0)) > 30
    assert (np.diff(np.sign(found), axis=3) != 0).any((1, 2)).sum(1).max() <= 3


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=9))
def test_concordance_is_a_correlation(pairs):
    """Catches a range beyond -1 to 1, sides that are not exchangeable, a sign that does not follow."""
    p, m = (list(each) for each in zip(*pairs, strict=True))
    value = concordance(p, m)
    assert -1 <= value <= 1
    assert value == concordance(m, p)
    assert concordance([-each for each in p], m) == pytest.approx(-value)


@given(st.floats(1e-3, 1e3), st.floats(0.01, 100))
def test_concordance_of_sizes_that_differ(value, scale):
    """Catches a plain correlation, which does not see the size. The closed form is 2 s / (1 + s^2)."""
    assert concordance([value, -value], [scale * value, -scale * value]) == pytest.approx(2 * scale / (1 + scale**2))


@given(st.integers(0, 300), st.sampled_from(sorted(STRAY)))
def test_the_count_allowed_is_the_least_that_keeps_the_alarm_rare(n, precision):
    """Catches an off-by-one, and a normal approximation where counts are small."""
    stray = STRAY[precision]
    chances = [math.comb(n, k) * stray**k * (1 - stray) ** (n - k) for k in range(n + 1)]
    allowed = allowed_disagreements(n, stray=stray)
    assert sum(chances[allowed + 1 :]) <= ALARM + 1e-12
    assert allowed == 0 or sum(chances[allowed:]) > ALARM - 1e-12


@given(st.lists(st.floats(-1, 1), max_size=70))
def test_the_interval_holds_the_mean(values):
    """Catches an interval outside -1 to 1, or beside its mean; one value, or none, says nothing about the spread."""
    mean, low, high = mean_interval(values)
    assert -1 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    if len(values) < 2:
        assert (low, high) == (-1, 1)


@given(st.integers(0, 64), st.integers(0, 64), st.floats(-1, 1), st.sampled_from(sorted(STRAY)))
def test_ok_is_the_absence_of_failures(wrong, flat, random, precision):
    """Catches two rules that drift apart, and flat points that count as agreement."""
    found = judge_gradients(
        steepest=[-1.0] * wrong + [1.0] * (64 - wrong),
        random=[random] * 64,
        flat=[True] * flat + [False] * (64 - flat),
        precision=precision,
    )
    assert found.ok == (found.failures == ())
    assert found.agreeing + found.disagreeing + found.flat == 64
    assert found.disagreeing == max(0, wrong - flat)
