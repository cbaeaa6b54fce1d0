"""PGD against torchattacks 3.5.1 and foolbox 3.3.4, bit by bit."""

import foolbox
import numpy as np
import pytest
import torch
import torchattacks
from torch.testing import assert_close

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.losses import cross_entropy
from edgerkd.attacks.pgd import ascend, pgd
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.models.classifier import TorchClassifier
from tests.zoo import network

EPS = 8 / 255


@pytest.mark.parametrize("steps", [1, 10])
def test_the_last_iterate_is_bit_identical_to_torchattacks_and_foolbox(steps):
    """Catches every difference in sign, step, projection or order. Peers: torchattacks 3.5.1, foolbox 3.3.4."""
    net = network(channels=3, mean=(0.4,) * 3, std=(0.3,) * 3)
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = net(images).argmax(1)
    *_, ours = ascend(
        TorchClassifier(net),
        images,
        images,
        cotangent=lambda z: cross_entropy(z, labels)[1],
        norm="Linf",
        eps=EPS,
        step_size=2 / 255,
        steps=steps,
    )
    theirs = torchattacks.PGD(net, eps=EPS, alpha=2 / 255, steps=steps, random_start=False)(images, labels)
    assert_close(ours, theirs, rtol=0, atol=0)
    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    peer = foolbox.attacks.LinfPGD(abs_stepsize=2 / 255, steps=steps, random_start=False)
    _, clipped, _ = peer(model, images, labels, epsilons=EPS)
    assert_close(ours, clipped, rtol=0, atol=0)
    inputs = AttackInputs(
        images=images,
        labels=labels,
        threat_model=ThreatModel(norm="Linf", eps=Radius("8/255")),
        seed=0,
        index=np.arange(len(labels)),
    )
    fooled = pgd(
        TorchClassifier(net),
        inputs,
        loss=cross_entropy,
        steps=steps,
        step_size=2 / 255,
        from_images=True,
    )
    # Ours keeps every image that any iterate fooled: at least as many as the last iterate alone.
    assert ((net(fooled).argmax(1) != labels) | (net(theirs).argmax(1) == labels)).all()
