"""What moves the weights."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.distill.muon import Muon, orthogonal
from edgerkd.distill.optimizer import Optimizer
from tests.zoo import network

FILTERS = "stages.0.0.conv1.weight"


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


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (32, 4, 1, 1), (8, 1, 3, 3)])
def test_muon_moves_weights_as_torchs_own_does(shape):
    """Catches another momentum, iteration, length or decay, and filters mixed with other axes of the weights."""
    torch.manual_seed(0)
    weights = nn.Parameter(torch.randn(shape).to(memory_format=torch.channels_last))
    matrix = nn.Parameter(weights.detach().flatten(1).clone())
    settings = {"lr": 0.1, "momentum": 0.7, "weight_decay": 0.5}
    own, torchs = Muon([weights], **settings), torch.optim.Muon([matrix], **settings)
    for _ in range(4):
        weights.grad = torch.randn(shape)
        matrix.grad = weights.grad.flatten(1).clone()
        own.step()
        torchs.step()
    assert_close(weights.detach().flatten(1), matrix.detach(), rtol=0, atol=5e-3)  # torch's iteration is in bf16


def test_the_iteration_makes_singular_values_alike():
    """Catches one that is left too early, a tall matrix turned the wrong way, and matrices mixed with each other."""
    torch.manual_seed(0)
    matrices = [scale * torch.randn(shape) for scale, shape in ((1, (40, 12)), (1e3, (12, 30)), (1e-3, (12, 12)))]
    matrices[0] *= torch.logspace(0, -1.5, 12)
    for matrix, found in zip(matrices, orthogonal([*matrices, torch.randn(5, 9)]), strict=False):
        values = torch.linalg.svdvals(found)
        assert values.max() < 1.3
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        large = s > 0.01 * matrix.norm()
        assert torch.linalg.vecdot(u[:, large].T @ found, vh[large]).min() > 0.6
        assert torch.linalg.vector_norm((found - u @ vh)[:, :], ord=float("inf")) < 0.4


def test_the_recipes_decay_reaches_muon():
    """Catches SGD's decay in its place."""
    plain, decayed = (moved_by(network(classes=3), weight_decay_muon=decay)[FILTERS] for decay in (0.0, 0.5))
    assert_close(decayed - plain, -0.05 * 0.5 * network(classes=3).state_dict()[FILTERS])


@pytest.mark.parametrize(("momentum", "goes_on"), [(0.9, True), (0.5, False)])
def test_the_recipes_momentum_reaches_muon(momentum, goes_on):
    """Catches a fixed one: after g, a gradient of -0.3 g turns the weights back only if the momentum is small."""
    student = network(classes=3)
    weights = student.get_parameter(FILTERS)
    optimizer = Optimizer(student, (), recipe(momentum=momentum, weight_decay_muon=0.0))
    optimizer.set_rates(1.0)
    gradient, places = torch.randn(weights.shape), [weights.detach().clone()]
    for share in (1.0, -0.3):
        weights.grad = share * gradient
        optimizer.step()
        places.append(weights.detach().clone())
    first, second = places[1] - places[0], places[2] - places[1]
    assert ((first * second).sum() > 0) == goes_on


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
