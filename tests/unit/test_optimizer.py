"""What moves the weights."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.distill.optimizer import Optimizer
from edgerkd.models.fold import folded
from tests.zoo import network


def recipe(**changes) -> Recipe:
    threat_model = ThreatModel(norm="Linf", eps=Radius("8/255"))
    return Recipe(method="standard", threat_model=threat_model, epochs=1, **changes)


def moved_by(student: nn.Module, share: float = 1.0, **changes) -> dict[str, torch.Tensor]:
    """How far one step moves each parameter."""
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    optimizer = Optimizer(student, (), recipe(**changes))
    optimizer.set_rates(share)
    student(torch.rand(8, *student.architecture.image_shape)).square().sum().backward()
    optimizer.step()
    return {name: p.detach() - before[name] for name, p in student.named_parameters()}


def test_muon_moves_a_convolution_along_a_direction_whose_singular_values_are_about_one():
    """Catches SGD in its place, filters mixed with other axes, and a gradient in another order than its weights."""
    student = network(classes=3)
    step = moved_by(student, lr_muon=0.1, weight_decay_muon=0.0)["stages.0.0.conv1.weight"] / 0.1
    values = torch.linalg.svdvals(step.flatten(1))
    assert values.min() > 0.5
    assert values.max() < 1.3  # the iteration's own range, with bf16 rounding
    gradient = student.stages[0][0].conv1.weight.grad
    assert (step * gradient).sum() < -0.5 * step.norm() * gradient.norm() / len(step) ** 0.5


def test_only_whole_convolutions_are_moved_by_muon():
    """Catches batch norms, the classifier and depthwise filters in it: each has a fitting step of SGD's length."""
    student = network(classes=3, family="mobilenetv2")
    moved = moved_by(student, momentum=0.5, lr=0.01, weight_decay=0.0)
    grouped = {f"{name}.weight" for name, m in student.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    assert grouped
    for name, p in student.named_parameters():
        by_sgd = torch.allclose(moved[name], -0.01 * 1.5 * p.grad, atol=1e-7)  # noqa: TID251  a question, no assertion
        assert by_sgd == (p.ndim < 4 or name in grouped), name


def test_with_sgd_every_parameter_is_moved_by_it():
    """Catches a setting that goes nowhere."""
    student = network(classes=3)
    moved = moved_by(student, optimizer="sgd", momentum=0.5, lr=0.01, weight_decay=0.0)
    for name, p in student.named_parameters():
        assert_close(moved[name], -0.01 * 1.5 * p.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_a_rate_of_nothing_moves_nothing(optimizer):
    """Catches an optimiser that the schedule does not reach."""
    for name, step in moved_by(network(classes=3), share=0.0, optimizer=optimizer).items():
        assert not step.any(), name


def test_muons_matrices_share_the_weights_memory():
    """Catches a copy that is moved in the network's place, unseen: folding reads the weights themselves."""
    student = network(classes=3)
    images = torch.rand(2, *student.architecture.image_shape)
    before = folded(student)(images)
    moved_by(student)
    assert (folded(student)(images) - before).abs().max() > 1e-3
