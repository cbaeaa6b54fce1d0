"""Scores that lead attacks away from errors, and models that know the images they are judged by."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.arrays import on_host
from edgerkd.attacks.doubts import descent, mixed, on_the_way, plain_changes
from edgerkd.attacks.flags import check_within
from edgerkd.attacks.looks import fooled_by_pgd
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.models.classifier import TorchClassifier
from tests.curved import SHAPE, Curved, Rounded

EPS = Radius("16/255")
IMAGES = np.random.default_rng(0).random((48, *SHAPE), np.float32)


def inputs_for(model, images=IMAGES):
    labels = np.asarray(on_host(model.logits(images)).argmax(1))
    threat_model = ThreatModel(norm="Linf", eps=EPS)
    return AttackInputs(images=images, labels=labels, threat_model=threat_model, seed=0, index=np.arange(len(images)))


def partners_of(labels):
    """The next image of the class, or the image itself."""
    rows = [np.flatnonzero(labels == label) for label in labels]
    return IMAGES[[own[(list(own).index(row) + 1) % len(own)] for row, own in enumerate(rows)]]


class UpsideDown(Curved):
    """The same answers, and the surer the nearer it is to another one; its gradient is its own."""

    def logits(self, images):
        return self._turned(super().logits(images))

    def gradient(self, images, cotangent):
        turned = []

        def own(z):
            turned.append(self._turned(z))
            best, second = self._best(z)
            slope = (cotangent(turned[0]) * (1 - best)).sum(1, keepdims=True)
            return (slope * (best - second)).astype(np.float32)

        _, gradient = super().gradient(images, own)
        return turned[0], gradient

    def _turned(self, z):
        best, second = self._best(z)
        margin = (z * (best - second)).sum(1, keepdims=True)
        return ((best - 1) * (30 - margin)).astype(np.float32)

    @staticmethod
    def _best(z):
        order = np.argsort(z, axis=1)
        eye = np.eye(z.shape[1], dtype=np.float32)
        return eye[order[:, -1]], eye[order[:, -2]]


class Knowing(Curved):
    """Answers as on the nearest known image within one and a half radii, and beyond by itself."""

    def logits(self, images):
        away = np.abs(images[:, None] - IMAGES[None]).max((2, 3, 4))
        known = super().logits(IMAGES[away.argmin(1)])
        return np.where(away.min(1)[:, None] < 1.5 * float(EPS), known, super().logits(images))


class Hazy(Curved):
    """Robust, as a table is, and wrong wherever every pixel is brighter, or darker, than in any image."""

    def __init__(self, *, side):
        super().__init__()
        self.side = side

    def logits(self, images):
        z = super().logits(_nearest(images))
        low, high = images.min((1, 2, 3)), images.max((1, 2, 3))
        there = low > 20 / 255 if self.side > 0 else high < 235 / 255
        return np.where(there[:, None], -z, z)


class WeakOnPart(Curved):
    """Robust, as a table is, unless the dark pixels, or the bright ones, are as they were."""

    def __init__(self, *, leaves):
        super().__init__()
        self.leaves = leaves

    def logits(self, images):
        near = _nearest(images)
        still = near < 1 / 10 if self.leaves == "dark" else near > 9 / 10
        weak = ((images == near) | ~still).all((1, 2, 3))
        return np.where(weak[:, None], super().logits(images), super().logits(near))


def _nearest(images):
    return IMAGES[np.abs(images[:, None] - IMAGES[None]).max((2, 3, 4)).argmin(1)]


def ids(found):
    return [flag.id for flag in found]


@pytest.mark.parametrize("model", [Curved(), Curved(scale=8.0), Rounded()], ids=["plain", "sharp", "rounded"])
def test_honest_models_raise_no_doubt(model):
    """Catches a probe that sees its doubt everywhere."""
    inputs = inputs_for(model)
    assert ids(descent(model, inputs)) == []
    assert ids(on_the_way(model, inputs)) == []
    assert ids(mixed(model, inputs, partners_of(inputs.labels))) == []
    held = ~fooled_by_pgd(model, inputs, eps=inputs.eps, steps=20)
    assert ids(plain_changes(model, inputs, held)) == []


def test_scores_turned_upside_down_are_seen_with_right_gradients_and_without():
    """Catches attacks that walk away from the errors, believed because the gradients are right."""
    model = UpsideDown()
    inputs = inputs_for(model)
    assert (inputs.labels == Curved().logits(IMAGES).argmax(1)).all()
    assert ids(descent(model, inputs)) == ["descent-fools"]
    (flag,) = on_the_way(model, inputs)
    assert flag.id == "surer-near-errors"
    assert flag.facts["surer"] > 0.9 * flag.facts["n"]


def test_the_way_asks_for_no_gradient():
    """Catches a probe that a twin could deceive."""
    model = UpsideDown()
    inputs = inputs_for(model)
    model.gradient = None
    assert ids(on_the_way(model, inputs)) == ["surer-near-errors"]


def test_a_model_that_knows_its_images_is_seen():
    """Catches a table of the very images that are judged, of whatever width."""
    model = Knowing()
    inputs = inputs_for(model)
    assert ids(mixed(model, inputs, partners_of(inputs.labels))) == ["knows-these-images"]
    assert ids(mixed(model, inputs, None)) == []
    assert ids(mixed(model, inputs, IMAGES)) == [], "an image mixed with itself is no other"


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (Hazy(side=1), "all pixels brighter"),
        (Hazy(side=-1), "all pixels darker"),
        (WeakOnPart(leaves="dark"), "PGD that leaves dark pixels alone"),
        (WeakOnPart(leaves="bright"), "PGD that leaves bright pixels alone"),
    ],
    ids=["haze", "shade", "dark", "bright"],
)
def test_a_model_that_is_weak_where_no_attack_goes_is_seen(model, what):
    """Catches a side, or a part of the image, that is never tried; and a doubt about images that attacks fooled."""
    inputs = inputs_for(model)
    everywhere = np.ones(len(IMAGES), np.bool_)
    (flag,) = plain_changes(model, inputs, everywhere)
    assert (flag.id, flag.facts["what"]) == ("plain-changes-fool", what)
    assert ids(plain_changes(model, inputs, ~everywhere)) == []
    assert ids(plain_changes(model, inputs, None)) == []


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_plain_changes_stay_within_the_ball_and_the_range(norm):
    """Catches a model called weak by images that no attack may make."""
    seen = []

    class Watched(Curved):
        def logits(self, images):
            seen.append(np.array(images))
            return super().logits(images)

    model = Watched()
    inputs = replace(inputs_for(model), threat_model=ThreatModel(norm=norm, eps=EPS))
    assert ids(plain_changes(model, inputs, np.ones(len(IMAGES), np.bool_))) in ([], ["plain-changes-fool"])
    assert len(seen) > 4
    assert all(check_within(images, inputs) == () for images in seen)


def test_images_of_one_class_have_no_way_to_another():
    """Catches a crash where there is nothing to ask."""
    model = Curved()
    inputs = inputs_for(model)
    one = np.flatnonzero(inputs.labels == inputs.labels[0])
    alone = replace(inputs, images=IMAGES[one], labels=inputs.labels[one], index=one)
    assert ids(on_the_way(model, alone)) == []


def test_the_probes_take_torchs_arrays():
    """Catches NumPy where the classifier lives on a device."""
    torch.manual_seed(0)
    model = TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)))
    images = torch.from_numpy(IMAGES)
    labels = model.logits(images).argmax(1)
    inputs = replace(inputs_for(Curved()), images=images, labels=labels)
    held = ~fooled_by_pgd(model, inputs, eps=inputs.eps, steps=20)
    for found in (
        descent(model, inputs),
        on_the_way(model, inputs),
        mixed(model, inputs, images.flip(0)),
        plain_changes(model, inputs, held),
    ):
        assert ids(found) == []
