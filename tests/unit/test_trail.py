"""Where attacks went, looked at again: nothing is found on honest engines, and each kind of blind attack is."""

import numpy as np
import pytest

from edgerkd.attacks import flags
from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import assess, joined
from edgerkd.attacks.gradient_check import POINTS, check_gradients, shown_precision
from edgerkd.attacks.suite import attacks_of
from edgerkd.attacks.trail import Watched, check_trail
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.core.variant import PARITY
from tests.curved import SHAPE, Curved, Rounded

EPS = 16 / 255
IMAGES = (np.random.default_rng(0).integers(60, 190, (96, *SHAPE)) / 255).astype(np.float32)
EDGED = IMAGES * (np.arange(8) > 1)


class Lying(Curved):
    def __init__(self, lie) -> None:
        super().__init__()
        self.lie = lie

    def gradient(self, images, cotangent):
        used = []
        logits, gradient = super().gradient(images, lambda z: used.append(cotangent(z)) or used[-1])
        wrong = np.random.default_rng(0).normal(size=gradient.shape) * np.abs(gradient).mean()
        return logits, np.where(self.lie(images, logits, used[-1])[:, None, None, None], wrong, gradient).astype("f4")


def at_surface(images, logits, cotangent):
    moved = np.abs(images[:, None] - IMAGES[None])
    nearest = moved.max((2, 3, 4)).argmin(1)
    return (moved[np.arange(len(images)), nearest] > 0.9 * EPS).mean((1, 2, 3)) > 0.3


def for_cross_entropy(images, logits, cotangent):
    return (np.abs(cotangent) > 1e-6).sum(1) > 2


def near_the_boundary(images, logits, cotangent):
    return np.ptp(np.sort(logits, axis=1)[:, -2:], axis=1) < 0.7


class Counting(Curved):
    """Another one at every other call."""

    calls = 0

    def logits(self, images):
        self.calls += 1
        return super().logits(images) * (1 + 0.1 * (self.calls % 2))


class Sociable(Curved):
    """Another one for four images and more."""

    def logits(self, images):
        return super().logits(images) * (1.1 if len(images) > 3 else 1)


class Shy(Curved):
    """Another one for fewer than four images whose black edge is black and which it does not know."""

    def logits(self, images):
        quiet = (images[..., :2] < 1 / 510).all((1, 2, 3)) & (len(images) < 4)
        known = (np.abs(images[:, None] - EDGED[None]).max((2, 3, 4)) < 1 / 255).any(1)
        return np.where((quiet & ~known)[:, None], super().logits(images)[:, ::-1], super().logits(images))


class ForCameras(Curved):
    """Another one where all pixels are whole 255ths."""

    def logits(self, images):
        whole = np.abs(images * 255 - np.rint(images * 255)).max((1, 2, 3)) < 0.01
        return np.where(whole[:, None], super().logits(images)[:, ::-1], super().logits(images))


class Shrinking(Curved):
    """Its logits are multiplied by the exponential of a sum of pixels, which attacks can move by a factor of e^16."""

    def scale(self, images):
        return np.exp(8 * (images - 0.5).sum((1, 2, 3)) / (64 * EPS))[:, None].astype(np.float32)

    def logits(self, images):
        return super().logits(images) * self.scale(images)

    def gradient(self, images, cotangent):
        plain, scale = super().logits(images), self.scale(images)
        weights = cotangent(plain * scale)
        _, inner = Curved.gradient(_Plain(self), images, lambda _: weights * scale)
        outer = (weights * plain * scale).sum(1) * 8 / (64 * EPS)
        return plain * scale, (inner + outer[:, None, None, None]).astype(np.float32)


class _Plain(Curved):
    def __init__(self, of) -> None:
        self.first, self.second = of.first, of.second


def inputs_for(classifier, images=IMAGES) -> AttackInputs:
    labels = classifier.logits(images).argmax(1)
    threat_model = ThreatModel(norm="Linf", eps=Radius("16/255"))
    return AttackInputs(images=images, labels=labels, threat_model=threat_model, seed=0, index=np.arange(len(labels)))


def flags_of(classifier, *, precision="fp32", seed=0, images=IMAGES) -> set[str]:
    inputs = inputs_for(classifier, images)
    watched = Watched(classifier, generator=np.random.default_rng(seed))
    joined(assess(watched, attacks_of("pgd"), inputs, chunk=64))
    assert watched.asked is not None
    assert len(watched.asked.points) == POINTS
    found = check_trail(
        classifier,
        inputs,
        watched.asked,
        clean=classifier.logits(IMAGES),
        precision=precision,
        share=PARITY[precision].logit_share,
        generator=np.random.default_rng(seed),
    )
    return {flag.id for flag in found}


@pytest.mark.parametrize(("classifier", "precision"), [(Curved, "fp32"), (Rounded, "int8")])
def test_nothing_is_found_where_attacks_saw_what_there_is(classifier, precision):
    """Catches thresholds that an honest engine meets now and then."""
    assert [flags_of(classifier(), precision=precision, seed=seed) for seed in range(10)] == [set()] * 10


@pytest.mark.parametrize("lie", [at_surface, for_cross_entropy, near_the_boundary])
def test_a_twin_that_lies_on_the_way_is_found(lie):
    """Catches a look at the first points alone, at one loss, or far from where attacks end."""
    assert "gradients-astray-in-the-attack" in flags_of(Lying(lie))


@pytest.mark.parametrize(
    ("classifier", "flag"),
    [
        (Counting, "other-answers-later"),
        (Sociable, "other-answers-later"),
        (ForCameras, "other-answers-on-whole-pixels"),
        (Shrinking, "logits-rescaled"),
    ],
)
def test_an_engine_that_is_another_one_in_the_attack_is_found(classifier, flag):
    """Catches an attack on what never answers alone, or never sees a picture, and one that only moved a scale."""
    assert flag in flags_of(classifier())


def test_an_engine_that_is_another_one_alone_where_attacks_leave_black_black_is_found():
    """Catches a comparison of small batches on the attacks' own points and on known images alone."""
    assert flags_of(Curved(), images=EDGED.astype(np.float32)) == set()
    assert "other-answers-later" in flags_of(Shy(), images=EDGED.astype(np.float32))


def test_every_point_is_as_likely_to_be_kept():
    """Catches the first, or the last, that are always kept; and points at which the loss asked nothing."""
    images = np.arange(1000, dtype=np.float32)[:, None, None, None] * np.ones(SHAPE, np.float32)
    kept = []
    for seed in range(40):
        watched = Watched(Curved(), generator=np.random.default_rng(seed), points=20)
        for rows in np.split(np.arange(1000), [300, 301, 700]):
            watched.gradient(images[rows], lambda z, rows=rows: np.ones_like(z) * (rows % 2)[:, None])
        assert watched.asked is not None
        kept.append(watched.asked.points[:, 0, 0, 0])
        assert watched.asked.logits == pytest.approx(Curved().logits(watched.asked.points), rel=1e-5)
    found = np.concatenate(kept)
    assert len(found) == 40 * 20
    assert set(found % 2) == {1}
    assert found.mean() == pytest.approx(500, abs=4 * 289 / np.sqrt(800))


@pytest.mark.parametrize(
    ("classifier", "says", "shown"),
    [(Curved, "int8", "fp32"), (Curved, "fp16", "fp32"), (Rounded, "int8", "int8"), (Rounded, "fp32", "fp32")],
)
def test_an_engine_that_does_not_round_is_judged_as_float32(classifier, says, shown):
    """Catches an int8 that is only said, by whose thresholds a blurred gradient passes."""
    model = classifier()
    found = shown_precision(model, inputs_for(model), says, generator=np.random.default_rng(0))
    assert found == shown


def test_a_blurred_gradient_passes_as_int8_alone():
    """Catches the reason for the test above gone: then the check of what is shown can go, too."""

    class Blurred(Curved):
        def gradient(self, images, cotangent):
            logits, gradient = super().gradient(images, cotangent)
            return logits, gradient.reshape(-1, 1, 2, 4, 2, 4).mean((3, 5)).repeat(4, 2).repeat(4, 3)

    model = Blurred()
    ok = [
        check_gradients(model, inputs_for(model), precision=p, generator=np.random.default_rng(0)).ok
        for p in ("fp32", "int8")
    ]
    assert ok == [False, True]


class WeakNearby(Curved):
    """The answer to the nearest known image, whatever is asked, but close to one."""

    def logits(self, images):
        moved = np.abs(images[:, None] - IMAGES[None, :12]).max((2, 3, 4))
        known = super().logits(IMAGES[moved.argmin(1)])
        return np.where(moved.min(1)[:, None] < 0.6 * EPS, super().logits(images), known)


def test_a_smaller_radius_that_goes_further_is_said(monkeypatch):
    """Catches an engine that is robust at the surface of the ball, where attacks go, and weak close to its images."""
    monkeypatch.setattr(flags, "QUERIES", 5)
    model, honest = WeakNearby(), Curved()
    inputs = inputs_for(model, IMAGES[:12])
    found = flags.raise_flags(model, inputs, held=np.ones(12, np.bool_))
    assert "smaller-radius-fools-more" in {flag.id for flag in found}
    held = joined(assess(honest, attacks_of("pgd"), inputs, chunk=12)).robust
    assert "smaller-radius-fools-more" not in {flag.id for flag in flags.raise_flags(honest, inputs, held=held)}
