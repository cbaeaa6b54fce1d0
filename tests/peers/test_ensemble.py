"""The standard ensemble against pyautoattack 0.2.0, attack by attack, on the same network and images."""

import logging

import numpy as np
import pytest
import torch
from pyautoattack import AutoAttack

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.suite import attacks_named
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.models.classifier import TorchClassifier
from tests.zoo import network

N = 80
SEEDS = {"apgd-ce": 3}  # of one, the random starts decide: over eight both leave 43 to 46 images, 44.75 on average


@pytest.fixture(scope="module")
def case():
    """Labels are the network's own answers, so that every image is right at first."""
    net = network(seed=3, widths=(8, 16), blocks=(1, 1), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    net.requires_grad_(False)
    images = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return net, images, net(images).argmax(1)


@pytest.mark.parametrize(("norm", "eps"), [("Linf", "20/255"), ("L2", "0.9")])
@pytest.mark.parametrize(
    "name",
    [
        "apgd-ce",
        "apgd-t",
        "fab-t",
        "square",
    ],
)
def test_an_attack_leaves_at_most_one_image_more_than_its_peer(case, name, norm, eps, monkeypatch):
    """Catches a weaker attack: a wrong step schedule, loss, target order, patch or projection."""
    monkeypatch.setattr(logging.root, "disabled", True)
    net, images, labels = case
    threat_model = ThreatModel(norm=norm, eps=Radius(eps))
    attack = attacks_named(name, classes=10)[0][0]
    peer = AutoAttack(net, norm=norm, eps=float(Radius(eps)), version="standard")
    peer.attacks_to_run = [name]
    robust, robust_peer = 0, 0
    seeds = SEEDS.get(name, 1)
    for seed in range(seeds):
        inputs = AttackInputs(images=images, labels=labels, threat_model=threat_model, seed=seed, index=np.arange(N))
        found = attack.run(TorchClassifier(net), inputs)
        peer.seed = seed
        theirs, *_ = peer.run_standard_evaluation(images, labels, batch_size=N)
        robust += int((net(found).argmax(1) == labels).sum())
        robust_peer += int((net(theirs).argmax(1) == labels).sum())
    assert robust <= robust_peer + seeds, f"{name} {norm}: ours {robust}, pyautoattack {robust_peer}, of {seeds * N}"
    assert robust_peer < seeds * N
