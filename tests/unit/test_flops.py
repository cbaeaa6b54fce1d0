"""bench/distill.py: what a step is said to compute, and what it is held against."""

import argparse
from types import ModuleType

import pytest
import torch

from edgerkd.models.cost import count_cost
from tests.benches import bench
from tests.zoo import network

N = 4


@pytest.fixture(scope="module")
def distill() -> ModuleType:
    return bench("distill")


def test_a_passs_flops_are_those_that_its_docstring_says(distill):
    """Catches MACs counted as one FLOP, backward passes left out, and a gradient counted that nobody asked for."""
    net = network(widths=(8, 16), blocks=(1, 1), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3).train()
    images = torch.rand(N, *net.architecture.image_shape)
    forward = 2 * N * count_cost(net.architecture)[0].macs
    first = next(layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d))
    stem = 2 * N * first.weight.numel() * images.shape[2] * images.shape[3]
    assert distill.flops_of(lambda: net(images)) == forward
    assert distill.flops_of(lambda: net(images).sum().backward()) == 3 * forward - stem
    net.requires_grad_(False)
    moving = images.requires_grad_()
    assert distill.flops_of(lambda: torch.autograd.grad(net(moving).sum(), moving)) == 2 * forward


def test_loading_can_be_told_from_the_step(distill, monkeypatch):
    """Catches a ratio that is of the loading alone, and loaders that take the step's own core."""
    for cores, workers in ((1, 0), (2, 0), (3, 2), (16, 2)):
        monkeypatch.setattr(distill, "usable_cores", lambda cores=cores: cores)
        assert distill.workers() == workers
    data = distill.random_data(4)
    teacher = distill.network_for(data, "resnet", (8,), 1).eval()
    given = argparse.Namespace(batch=4, rounds=3, workers=0, student_widths=(8,), student_blocks=1)
    found = distill.compare(data, distill.RANDOM_THREAT, teacher, "mixacm", 1e9, given)
    assert found["ratio"] > found["ratio_without_loading"] > 0
    assert found["workers"] == 0
