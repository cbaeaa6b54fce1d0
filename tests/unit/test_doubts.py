"""Scores that lead attacks away from errors, and models that know the images they are judged by."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.arrays import on_host
from edgerkd.attacks.doubts import descent, mixed, on_the_way
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


def ids(found):
    return [flag.id for flag in found]


@pytest.mark.parametrize("model", [Curved(), Curved(scale=8.0), Rounded()], ids=["plain", "sharp", "rounded"])
def test_honest_models_raise_no_doubt(model):
    """Catches a probe that sees its doubt everywhere."""
    inputs = inputs_for(model)
    assert ids(descent(model, inputs)) == []
    assert ids(on_the_way(model, inputs)) == []
    assert ids(mixed(model, inputs, partners_of(inputs.labels))) == []


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
    for found in (descent(model, inputs), on_the_way(model, inputs), mixed(model, inputs, images.flip(0))):
        assert ids(found) == []
