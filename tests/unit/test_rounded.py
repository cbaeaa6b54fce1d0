"""A network that rounds where its int8 graph does, and is trained like that."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch.testing import assert_close

from edgerkd.core.errors import ExportError
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.optimizer import Optimizer
from edgerkd.distill.quantization_aware import recipe_for_rounded, train_rounded
from edgerkd.graphs.precision.int8 import Rounding, layers, quantized, rounding_of
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.models.build import build
from edgerkd.models.fold import folded
from edgerkd.models.network import Network
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.models.rounded import RoundedNetwork
from edgerkd.verify.graph import graph_logits
from tests.runs import opened, write_data
from tests.zoo import THREAT, architecture, network

FAMILIES = ("resnet", "preactresnet", "mobilenetv2", "mobilenetv3", "repvgg")
IMAGES = np.random.default_rng(0).random((48, 3, 32, 32), np.float32)


def moved(family: str) -> Network:
    """A network whose batch norms have seen images."""
    torch.manual_seed(0)
    found = build(architecture(family, channels=3, height=32, width=32)).train()
    for _ in range(3):
        found(torch.rand(32, 3, 32, 32))
    return found.eval()


def rounded(net: Network, placement: str) -> tuple[RoundedNetwork, bytes, Rounding]:
    graph = onnx_from_network(net)
    ranges, keep = find_ranges(graph, [IMAGES]), layers(graph)[-1:]
    rounding = rounding_of(graph, ranges, placement=placement, keep=keep)
    return RoundedNetwork(net, graph, rounding), quantized(graph, ranges, placement=placement, keep=keep), rounding


@pytest.mark.parametrize("placement", ["signed", "unsigned"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_answers_what_the_int8_graph_does(family, placement):
    """Catches a tensor or a layer that is rounded in one of the two alone, or to other numbers."""
    net = moved(family)
    found, graph, _ = rounded(net, placement)
    answers, exact = graph_logits(graph, IMAGES), net(torch.from_numpy(IMAGES)).detach().numpy()
    with torch.no_grad():
        own = found(torch.from_numpy(IMAGES)).numpy()
    assert np.square(own - answers).mean() < 0.2 * np.square(exact - answers).mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_trained_is_what_is_exported(family):
    """Catches weights that are lost on the way back, and a batch norm that is folded twice."""
    net = moved(family)
    found, _, rounding = rounded(net, "signed")
    images = torch.from_numpy(IMAGES)
    assert_close(found.unrounded()(images), net(images), rtol=0, atol=1e-5)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in found.parameters():
            weight.mul_(1 + 0.1 * torch.randn(weight.shape, generator=generator))
    graph = onnx_from_network(found.unrounded())
    again = RoundedNetwork(found.unrounded(), graph, rounding)
    lost, learned = again(images) - found(images), found(images) - net(images)
    assert lost.square().mean() < 0.02 * learned.square().mean()


def test_the_gradient_stops_outside_the_representable_range():
    """Catches straight-through everywhere: what is clipped would seem to matter."""
    net = network(seed=1, channels=3, height=32, width=32)
    graph = onnx_from_network(net)
    darker = find_ranges(graph, [IMAGES / 4])
    found = RoundedNetwork(net, graph, rounding_of(graph, darker, placement="signed", keep=layers(graph)[-1:]))
    clipped = next(module for name, module in found.named_modules() if name.endswith("rounded_1"))
    most = clipped.scale.scale * 127
    inputs = torch.tensor([0.0, 0.4, 0.9, 1.1, 3.0]) * most
    inputs.requires_grad_()
    clipped(inputs).sum().backward()
    assert inputs.grad.tolist() == [1, 1, 1, 0, 0]
    for _, weight in found.named_parameters():
        assert weight.requires_grad
    found(torch.from_numpy(IMAGES)).square().sum().backward()
    assert all(weight.grad is not None for weight in found.parameters())


def test_it_is_not_folded_and_can_be_copied():
    """Catches an attack in training on a network without roundings, and an average of weights that shares them."""
    found, _, _ = rounded(moved("preactresnet"), "signed")
    assert folded(found) is found
    images = torch.from_numpy(IMAGES[:4])
    before = found.eval()(images)
    copied = copy.deepcopy(found)
    assert_close(copied.eval()(images), before, rtol=0, atol=0)
    with torch.no_grad():
        for weight in copied.parameters():
            weight.zero_()
    assert_close(found(images), before, rtol=0, atol=0)


def test_muon_moves_the_weights_that_rounded_ones_are_made_of():
    """Catches a step on the rounded weight, which is made anew from the old one each time."""
    found, _, _ = rounded(moved("resnet"), "signed")
    recipe = recipe_for(METHODS["pgd-at"], THREAT, epochs=1)
    optimizer = Optimizer(found.train(), (), recipe)
    optimizer.set_rates(1.0)
    before = {name: weight.clone() for name, weight in found.named_parameters()}
    found(torch.from_numpy(IMAGES)).square().sum().backward()
    optimizer.step()
    still = [name for name, weight in found.named_parameters() if (weight - before[name]).abs().max() == 0]
    assert still == []


def test_a_graph_of_another_network_is_refused():
    """Catches a student trained with another one's roundings."""
    net = moved("resnet")
    graph = onnx_from_network(net)
    rounding = rounding_of(graph, find_ranges(graph, [IMAGES]), placement="signed")
    with pytest.raises(ExportError, match="no step with the values of"):
        RoundedNetwork(network(seed=4, channels=3, height=32, width=32), graph, rounding)


@pytest.mark.parametrize("trained_before", [True, False])
def test_training_moves_the_float32_weights_and_leaves_the_student_as_it_was(tmp_path, trained_before):
    """Catches a student changed in place, a training that changes nothing, and one that is longer than is said."""
    write_data(tmp_path / "bars.npz")
    data = opened(tmp_path)
    net, teacher = network(seed=2, classes=3), network(family="preactresnet", widths=(8, 16), classes=3)
    images = data.train.images.numpy()[:64].astype(np.float32) / 255
    graph = onnx_from_network(net)
    before = copy.deepcopy(net.state_dict())
    rounding = rounding_of(graph, find_ranges(graph, [images]), placement="signed", keep=layers(graph)[-1:])
    recipe = recipe_for(METHODS["edgerkd"], THREAT, epochs=4, settings={"batch": 32, "adversarial_share": 0.5})
    path = tmp_path / "adapters.safetensors"
    if trained_before:  # a run leaves the maps that it has trained alone: of taps, in its later part, none
        maps = Adapters(net, teacher)
        maps.keep([name for name, _ in maps.named_parameters() if name.startswith("penultimate")])
        path.write_bytes(save(maps.state_dict()))
    found = train_rounded(net, graph, rounding, data, recipe, teacher=teacher, adapters=path, progress=Silent())
    for name, value in net.state_dict().items():
        assert_close(value, before[name], rtol=0, atol=0)
    assert (found(torch.from_numpy(images)) - net(torch.from_numpy(images))).abs().max() > 1e-4
    assert type(found) is type(net)


def test_it_is_trained_as_at_the_end_of_its_run():
    """Catches MixACM's phase or a warm-up begun anew, and a radius that rises again."""
    recipe = recipe_for(METHODS["edgerkd"], THREAT, epochs=40, settings={"adversarial_share": 0.5, "eps_warmup": 0.3})
    found: Recipe = recipe_for_rounded(recipe)
    assert found.epochs < 10
    assert found.eps_warmup == 0
    assert found.options["adversarial_share"] == 1.0
    assert found.options["weight_cov"] == recipe.options["weight_cov"]
    assert found.method == recipe.method
    assert (found.optimizer, found.lr < recipe.lr / 5, found.lr_muon < recipe.lr_muon / 5) == ("muon", True, True)
    assert recipe_for_rounded(recipe_for(METHODS["pgd-at"], THREAT, epochs=4)).options == {}
