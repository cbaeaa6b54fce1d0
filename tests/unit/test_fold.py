"""Batch norms folded away."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from edgerkd.models.fold import folded
from tests.zoo import network

NORMS_LEFT = {"resnet": 0, "mobilenetv2": 0, "mobilenetv3": 0, "repvgg": 0, "preactresnet": 4}


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.mark.parametrize("family", NORMS_LEFT)
def test_a_folded_network_has_the_same_features_and_gradients(family):
    """Catches a norm folded into a convolution that others read as well, and a norm left where it could go."""
    net = network(family=family, blocks=(1, 2))
    other = folded(net)
    images = torch.rand(4, 1, 8, 8, requires_grad=True)
    own, theirs = net.features(images), other.features(images)
    assert_close(theirs.logits, own.logits, rtol=1e-4, atol=1e-5)
    assert_close(theirs.penultimate, own.penultimate, rtol=1e-4, atol=1e-5)
    for tap, folded_tap in zip(own.taps, theirs.taps, strict=True):
        assert_close(folded_tap, tap, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(features.logits.square().sum(), images)[0] for features in (own, theirs)]
    assert_close(*gradients, rtol=1e-3, atol=1e-5)
    assert norms(other) == NORMS_LEFT[family]


def test_the_network_itself_stays_as_it_is_and_random_numbers_as_well():
    """Catches a student that is folded for good by its first attack, and training that depends on folding."""
    net = network(seed=3).train()
    before, drawn = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    assert not folded(net).training
    assert net.training
    assert_close(torch.get_rng_state(), drawn)
    for name, value in net.state_dict().items():
        assert_close(value, before[name], rtol=0, atol=0)
