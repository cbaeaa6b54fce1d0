"""Each student family: what it computes, what it costs, and its way through distillation, export and engines."""

from collections import Counter
from functools import cache
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from numpy.testing import assert_allclose
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn
from torch.testing import assert_close

from edgerkd.bundle.plugins import load_backend
from edgerkd.core.architecture import StudentFamily, load_family
from edgerkd.core.errors import UnknownNameError
from edgerkd.core.progress import Silent
from edgerkd.distill.trainer import train
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.build import build, feature_channels
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.cost import count_cost
from edgerkd.models.inverted_residual import InvertedResidual
from edgerkd.models.mobilenetv3 import HardSwish, SqueezeExcite
from edgerkd.models.network import Network
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.models.store import load_network, save_network
from tests.recipes import recipe_of
from tests.zoo import THREAT, architecture, dataset, network

FAMILIES = get_args(StudentFamily)
families = pytest.mark.parametrize("family", FAMILIES)
LIBRARY = ("torchvision:resnet18", "torchvision:mobilenet_v2", "torchvision:mobilenet_v3_small")
PLAIN = {"resnet", "mobilenetv2", "mobilenetv3", "repvgg"}  # every batch norm stands after a convolution


@cache
def settled(family: str) -> Network:
    """A network whose batch-norm statistics are those of its images, so that its gradients are of a trained size."""
    shape: dict[str, Any] = {"family": family, "widths": (8, 16, 16), "blocks": (1, 2, 1), "height": 12, "width": 10}
    if family in LIBRARY:
        shape = {"family": "library", "library": family, "widths": (), "blocks": (), "height": 40, "width": 48}
    net = network(seed=3, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25), **shape)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    with torch.no_grad():
        net.train()(images(64, net))
    return net.eval()


def images(n: int, net: Network) -> torch.Tensor:
    return torch.rand(n, *net.architecture.image_shape, generator=torch.Generator().manual_seed(n))


def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@families
def test_taps_are_activated_maps_a_stage_each(family):
    """Catches a linear bottleneck as a tap, a tap missing, and channels an adapter does not expect."""
    net = settled(family)
    given = images(4, net)
    found = net.features(given)
    sizes = [tuple(tap.shape[2:]) for tap in found.taps]
    # A MobileNet's tap is the expansion of the next stage's first block, which still has the stage's resolution.
    assert sizes == [(12, 10), (6, 5), (3, 3)]
    assert all(tap.max() > 0 for tap in found.taps)
    assert min(tap.min().item() for tap in found.taps) >= (-0.375 if family == "mobilenetv3" else 0)  # h-swish's least
    channels, length = feature_channels(net)
    assert channels == tuple(tap.shape[1] for tap in found.taps)
    assert length == found.penultimate.shape[1] == net.linear.in_features
    assert_close(found.logits, net(given))
    assert_close(found.logits, net.linear(found.penultimate))


@families
def test_large_images_are_halved_by_the_stem(family):
    """Catches a stem for CIFAR on ImageNet's size: four times the work in every layer."""
    small, large = (
        count_cost(architecture(family, widths=(8,) * 5, blocks=(1,) * 5, channels=3, height=size, width=size))[0]
        for size in (112, 224)
    )
    net = network(family=family, widths=(8,) * 5, blocks=(1,) * 5, channels=3, height=128, width=128).train()
    taps = net.features(torch.rand(2, 3, 128, 128)).taps
    assert [tap.shape[-1] for tap in taps] == [64, 32, 16, 8, 4]
    assert large.macs < 1.1 * small.macs
    assert large.params == small.params


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(8, 8, 1), (8, 16, 1), (8, 8, 2)])
def test_an_inverted_residual_is_torchvisions(inputs, outputs, stride):
    """Catches an activation after the projection, a shortcut where shapes change, a filter that mixes channels."""
    torch.manual_seed(0)
    ours = InvertedResidual(inputs, outputs, stride, 6, nn.ReLU6(), nn.Identity())
    theirs = torchvision.models.mobilenetv2.InvertedResidual(inputs, outputs, stride, 6)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, inputs, 7, 7)
    assert_close(ours(x)[0], theirs(x))


def test_h_swish_and_squeeze_and_excitation_are_torchvisions():
    """Catches a sigmoid in place of the hard one, and means taken over the channels."""
    x = 4 * torch.randn(2, 32, 5, 3, generator=torch.Generator().manual_seed(0))
    assert_close(HardSwish()(x), nn.Hardswish()(x))
    ours = SqueezeExcite(32)
    theirs = torchvision.ops.SqueezeExcitation(32, 8, scale_activation=nn.Hardsigmoid)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    assert_close(ours(x), theirs(x))


def test_repvgg_is_one_convolution_a_block_once_deployed():
    """Catches a branch left out, a 1 x 1 kernel off its centre, an identity misplaced, and training weights changed."""
    net = settled("repvgg")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    deployed = net.deployed()
    assert_close(deployed(images(4, net)), net(images(4, net)), atol=1e-5, rtol=0)
    kinds = Counter(type(module).__name__ for module in deployed.modules())
    assert (kinds["Conv2d"], kinds["BatchNorm2d"]) == (1 + 1 + 2 + 1, 0)
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    for name, value in net.state_dict().items():
        assert_close(value, before[name], rtol=0, atol=0)


def conv_cost(inputs: int, outputs: int, size: int, side: int) -> np.ndarray:
    """(parameters with one bias a channel, MACs at side x side)."""
    return np.array([outputs * (inputs * size**2 + 1), outputs * inputs * size**2 * side**2])


def test_cost_of_a_mobilenetv2_by_hand():
    """Catches a depthwise convolution counted as a dense one, and an expansion in the first stage."""
    cost, layers = count_cost(architecture("mobilenetv2", widths=(8, 16), blocks=(1, 1)))
    expected = conv_cost(1, 8, 3, 8)  # stem
    expected += conv_cost(1, 8, 3, 8) + conv_cost(8, 8, 1, 8)  # depthwise, project
    expected += conv_cost(8, 48, 1, 8) + conv_cost(1, 48, 3, 4) + conv_cost(48, 16, 1, 4)
    expected += conv_cost(16, 64, 1, 4) + np.array([65 * 10, 64 * 10])  # head, linear
    assert [cost.params, cost.macs] == expected.tolist()
    assert layers == 8


def test_cost_of_a_mobilenetv3_by_hand():
    """Catches excitation's maps forgotten, or counted at full resolution."""
    cost, layers = count_cost(architecture("mobilenetv3", widths=(8,), blocks=(1,)))
    expected = conv_cost(1, 8, 3, 8) + conv_cost(1, 8, 3, 8) + conv_cost(8, 8, 1, 8)  # stem, depthwise, project
    expected += 2 * conv_cost(8, 8, 1, 1)  # squeeze, excite
    expected += conv_cost(8, 48, 1, 8) + conv_cost(48, 64, 1, 1) + conv_cost(64, 10, 1, 1)  # head, neck, linear
    assert [cost.params, cost.macs] == expected.tolist()
    assert layers == 8


def test_cost_of_a_repvgg_is_that_of_its_deployed_form():
    """Catches branches counted that no device runs."""
    cost, layers = count_cost(architecture("repvgg", widths=(8, 16), blocks=(1, 2)))
    expected = conv_cost(1, 8, 3, 8) + conv_cost(8, 8, 3, 8) + conv_cost(8, 16, 3, 4) + conv_cost(16, 16, 3, 4)
    assert [cost.params, cost.macs] == (expected + conv_cost(16, 10, 1, 1)).tolist()
    assert layers == 5


@families
def test_the_exported_graph_is_the_network_with_its_batch_norms_folded(family):
    """Catches a graph of the training form, and weights on the device that no cost counts."""
    net = settled(family)
    graph = onnx_from_network(net)
    (logits,) = session(graph).run(None, {"images": images(5, net).numpy()})
    assert_allclose(logits, net(images(5, net)).detach().numpy(), atol=1e-5)
    model = onnx.load_from_string(graph)
    ops = Counter(node.op_type for node in model.graph.node)
    if family in PLAIN:
        assert ops["BatchNormalization"] == 0
        weights = sum(numpy_helper.to_array(init).size for init in model.graph.initializer)
        assert count_cost(net.architecture)[0].params == weights - net.mean.numel() - net.std.numel()
    if family == "repvgg":
        assert ops == Counter({"Sub": 1, "Div": 1, "Conv": 5, "Relu": 5, "ReduceMean": 1, "Gemm": 1})


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 48)])
def test_a_librarys_network_keeps_its_last_stage_at_sizes_that_do_not_halve(height, width):
    """Catches a penultimate vector of the stage before the last, and a map lost because its size was rounded."""
    given = {"family": "library", "library": "torchvision:resnet18", "widths": (), "blocks": ()}
    net = network(channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, height=height, width=width, **given)
    found = net.features(images(2, net))
    fc = net.body.get_submodule("fc")
    assert_close(fc(found.penultimate), found.logits)
    assert [tap.shape[1] for tap in found.taps] == [64, 64, 128, 256, 512][: 4 if height == 32 else 5]


@families
@pytest.mark.parametrize("batch", [1, 5])
def test_the_twin_of_each_family_is_autograd(family, batch):
    """Catches a rule missing or wrong, and groups lost in the transposed convolution."""
    net = settled(family)
    cotangent = torch.randn(batch, 10, generator=torch.Generator().manual_seed(batch))
    logits, expected = TorchClassifier(net).gradient(images(batch, net), lambda _: cotangent)
    found_logits, gradient = session(gradient_twin(onnx_from_network(net))).run(
        None, {"images": images(batch, net).numpy(), "cotangent": cotangent.numpy()}
    )
    scale = expected.abs().max().item()
    assert scale > 1e-3
    assert_allclose(found_logits, logits.numpy(), atol=1e-5)
    assert_allclose(gradient, expected.numpy(), atol=1e-5 * scale)


@pytest.mark.parametrize("family", LIBRARY)
def test_the_twin_of_a_librarys_network_is_autograd(family):
    """Catches a rule missing for torchvision's ways. So deep a network rounds across a kink somewhere: not to 1e-5."""
    net = settled(family)
    graph, cotangent = onnx_from_network(net), torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    logits, expected = TorchClassifier(net).gradient(images(2, net), lambda _: cotangent)
    given = {"images": images(2, net).numpy(), "cotangent": cotangent.numpy()}
    found_logits, gradient = session(gradient_twin(graph)).run(None, given)
    assert_allclose(found_logits, logits.numpy(), atol=1e-4)
    assert np.linalg.norm(gradient - expected.numpy()) < 0.02 * np.linalg.norm(expected.numpy())
    assert "BatchNormalization" not in {node.op_type for node in onnx.load_from_string(graph).graph.node}


class Images(CalibrationDataReader):
    """One batch of calibration images."""

    def __init__(self, given: np.ndarray) -> None:
        self.batches = iter([{"images": given}])

    def get_next(self):
        return next(self.batches, None)


@pytest.mark.parametrize("family", sorted(PLAIN))
def test_the_twin_of_an_int8_graph_points_where_autograd_does(family, tmp_path):
    """Catches a rule that does not see through the rounding of depthwise weights, clips or gates."""
    net = settled(family)
    (tmp_path / "fp32.onnx").write_bytes(onnx_from_network(net))
    quantize_static(
        tmp_path / "fp32.onnx",
        tmp_path / "int8.onnx",
        Images(images(64, net).numpy()),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True},
    )
    twin = session(gradient_twin((tmp_path / "int8.onnx").read_bytes()))
    cotangent = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    logits, expected = TorchClassifier(net).gradient(images(64, net), lambda _: cotangent)
    found_logits, found = twin.run(None, {"images": images(64, net).numpy(), "cotangent": cotangent.numpy()})
    assert 1e-4 < np.abs(found_logits - logits.numpy()).max() < 0.3 * logits.abs().max()
    cosine = torch.cosine_similarity(torch.from_numpy(found).flatten(1), expected.flatten(1))
    assert cosine.median() > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, "torchvision:mobilenet_v3_small"])
def test_tensorrt_rtx_builds_student_and_twin(family, tmp_path):
    """Catches an operator that TensorRT's parser does not take, or a transposed convolution that it cannot build."""
    pytest.importorskip("tensorrt_rtx")
    student = onnx_from_network(settled(family))
    for name, graph in (("student", student), ("twin", gradient_twin(student))):
        (tmp_path / f"{name}.onnx").write_bytes(graph)
        log = load_backend("trt-rtx").build(tmp_path / f"{name}.onnx", tmp_path / f"{name}.plan", max_batch=8)
        assert log.typing == "strong"


@families
def test_each_family_is_distilled_stored_and_loaded(family, tmp_path):
    """Catches adapters that do not fit its taps, a weight no gradient reaches, and a form that cannot be loaded."""
    data, seen = dataset(n=96), []
    torch.manual_seed(0)
    student = build(architecture(family, classes=3))
    before = {name: value.clone() for name, value in student.named_parameters()}
    trained, adapters = train(
        student,
        data,
        recipe_of(
            "edgerkd",
            THREAT,
            epochs=2,
            batch=32,
            attack_steps=1,
            adversarial_share=0.5,
            warmup=0.1,
            weight_decay=0.0,
            weight_decay_muon=0.0,
        ),
        teacher=network(seed=7, family="preactresnet", widths=(16, 24), classes=3),
        checkpoint=None,
        resume=False,
        on_epoch=seen.append,
        progress=Silent(),
    )
    assert {"acm", "cov_adv"} <= {name for epoch in seen for name in epoch.terms}
    assert [name for name, value in student.named_parameters() if not (value.cpu() != before[name]).any()] == []
    assert adapters is not None
    save_network(trained, tmp_path / "student")
    given = torch.rand(2, 1, 8, 8)
    assert_close(load_network(tmp_path / "student")(given), trained.cpu().eval()(given))


def test_an_unknown_family_names_the_known_ones():
    """Catches a KeyError."""
    with pytest.raises(UnknownNameError, match=r"no family named 'mobilnetv2': did you mean 'mobilenetv2'.*repvgg"):
        load_family("mobilnetv2")
    assert {load_family(name) for name in FAMILIES} == set(FAMILIES)
