"""Averages of weights."""

import pytest
import torch
from torch.testing import assert_close

from edgerkd.distill.averaging import WeightAverage, ema_share, swa_share
from tests.zoo import network


def moved(average: WeightAverage, start: torch.Tensor) -> float:
    return (average.network.linear.weight - start).mean().item()


def test_the_exponential_average_follows_the_weights():
    """Catches decay and its complement swapped, and a warm-up that never ends."""
    net = network()
    average = WeightAverage(net)
    start = average.network.linear.weight.clone()
    net.linear.weight.data.copy_(start + 1)
    for _ in range(100):
        average.update(net, ema_share(average.updates, 0.9))
    assert moved(average, start) == pytest.approx(1, abs=0.01)
    net.linear.weight.data.copy_(start + 2)
    average.update(net, ema_share(10_000, 0.9))
    assert moved(average, start) == pytest.approx(1.1, abs=0.01)


def test_the_equal_average_is_the_mean_of_its_points():
    """Catches a first point that counts twice, or weights that favour the last."""
    net = network()
    average = WeightAverage(net)
    start = average.network.linear.weight.clone()
    for offset in (1, 2, 6):
        net.linear.weight.data.copy_(start + offset)
        average.update(net, swa_share(average.updates))
    assert moved(average, start) == pytest.approx(3, abs=1e-5)


def test_batch_norm_statistics_are_those_of_the_averaged_weights():
    """Catches statistics averaged from other weights, which no network with these weights ever has."""
    average = WeightAverage(network(channels=1))
    average.network.bn.running_mean.fill_(99)
    images = torch.rand(32, 1, 8, 8)
    average.measure_batch_norm(images.split(16))
    mean, std = average.network.mean, average.network.std
    expected = average.network.conv((images - mean) / std).mean((0, 2, 3))
    assert_close(average.network.bn.running_mean, expected, rtol=1e-4, atol=1e-5)
    assert not average.network.training
