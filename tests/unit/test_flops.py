"""bench/distill.py: what a step is said to compute."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from edgerkd.models.cost import count_cost
from tests.zoo import network

BENCH = Path(__file__).parents[2] / "bench"
N = 4


@pytest.fixture(scope="module")
def distill() -> ModuleType:
    """The benchmark as a module; it finds its neighbours as it does when run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        spec = importlib.util.spec_from_file_location("distill", BENCH / "distill.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "distill", module)
        spec.loader.exec_module(module)
        return module


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
