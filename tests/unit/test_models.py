"""Networks: shapes, costs, storage, and files from elsewhere."""

import json
import pickle  # noqa: TID251  a hostile teacher file is made with it
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.models.build import build
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.cost import count_cost
from edgerkd.models.hardware import exact_float32
from edgerkd.models.store import ARCHITECTURE, WEIGHTS, load_network, save_network
from edgerkd.models.subsampled import SubsampledConv2d, subsample_first
from edgerkd.models.teacher_file import network_from_state, read_state_dict
from tests.zoo import architecture, network

MOMENTS = (torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize("family", ["resnet", "preactresnet"])
def test_taps_are_activated_maps_a_stage_each_and_halve_the_resolution(family):
    """Catches a tap before its ReLU, a missing stage, and a stride in the wrong place."""
    net = network(family=family, widths=(8, 16, 24), blocks=(1, 2, 1), height=16, width=16)
    images = torch.rand(2, 1, 16, 16)
    found = net.features(images)
    assert [tuple(tap.shape) for tap in found.taps] == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 24, 4, 4)]
    assert all(tap.min() >= 0 and tap.max() > 0 for tap in found.taps)
    assert_close(found.logits, net(images))
    assert_close(found.penultimate, found.taps[-1].mean((2, 3)))


def test_normalisation_is_inside():
    """Catches mean and std that are stored and never used."""
    images = torch.rand(2, 1, 8, 8)
    plain, shifted = network(mean=(0.0,), std=(1.0,)), network(mean=(0.3,), std=(0.4,))
    shifted.load_state_dict({**plain.state_dict(), "mean": shifted.mean, "std": shifted.std})
    assert_close(shifted(images), plain((images - 0.3) / 0.4))


def test_cost_by_hand():
    """Catches multiply-adds counted twice, a bias forgotten, and a stride ignored."""
    cost, layers = count_cost(architecture(widths=(8,), blocks=(1,), channels=1, height=4, width=4))
    convolutions = [(8, 1, 3), (8, 8, 3), (8, 8, 3)]
    assert layers == 4
    assert cost.macs == sum(o * i * k * k * 16 for o, i, k in convolutions) + 8 * 10
    assert cost.params == sum(o * i * k * k + o for o, i, k in convolutions) + 8 * 10 + 10
    assert cost.file_bytes == 4 * cost.params
    assert cost.peak_bytes == cost.file_bytes + 3 * 4 * 8 * 16


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [("convnext_tiny", 4.456e9, 28_589_128), ("vit_b_32", 4.409e9, 88_224_232)],
)
def test_the_cost_of_a_librarys_network_is_the_published_one(name, macs, params):
    """Catches a linear map's width taken for places of a map, and weights and products of attention forgotten."""
    given = {"library": f"torchvision:{name}", "widths": (), "blocks": (), "height": 224, "width": 224}
    cost, _ = count_cost(architecture("library", channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, classes=1000, **given))
    assert cost.macs == pytest.approx(macs, rel=1e-3)
    assert cost.params == params


def test_params_are_those_of_the_exported_graph():
    """Catches a count that the file on the device contradicts."""
    import onnx
    from onnx import numpy_helper

    from edgerkd.models.onnx_graph import onnx_from_network

    net = network()
    weights = [numpy_helper.to_array(init) for init in onnx.load_from_string(onnx_from_network(net)).graph.initializer]
    folded = sum(w.size for w in weights) - net.mean.numel() - net.std.numel()
    assert count_cost(net.architecture)[0].params == folded


def test_gradient_holds_the_cotangent_constant_and_leaves_no_trace():
    """Catches a second derivative through the loss, and gradients left in the weights."""
    net = network()
    images = torch.rand(3, 1, 8, 8)
    logits, gradient = TorchClassifier(net).gradient(images, lambda z: z)
    x = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(x).square().sum() / 2, x)
    assert_close(gradient, expected)
    assert_close(logits, net(images))
    assert all(p.grad is None for p in net.parameters())
    assert not images.requires_grad


def test_a_network_is_stored_and_loaded_exactly(tmp_path):
    """Catches weights lost, and a network left in training mode."""
    net = network(family="preactresnet")
    save_network(net, tmp_path / "net")
    again = load_network(tmp_path / "net")
    images = torch.rand(2, 1, 8, 8)
    assert_close(again(images), net(images), rtol=0, atol=0)
    assert not again.training


@pytest.mark.parametrize(
    ("key", "value"),
    [("blocks", (1,)), ("widths", ()), ("mean", (0.1, 0.2)), ("std", ()), ("library", "torchvision:resnet18")],
)
def test_an_architecture_whose_lengths_differ_is_a_damaged_file(tmp_path, key, value):
    """Catches a zip or a broadcast that fails far from the file."""
    net = network()
    save_network(net, tmp_path)
    path = tmp_path / ARCHITECTURE
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ArtefactError, match=rf"architecture\.json: .*{key}"):
        load_network(tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, bad):
    """Catches a student that answers NaN, found only on the device."""
    net = network()
    net.linear.bias.data[3] = bad
    save_network(net, tmp_path / "net")
    with pytest.raises(ArtefactError, match=r"weights.safetensors.*linear.bias: holds NaN"):
        load_network(tmp_path / "net")


def test_damaged_weights_are_refused(tmp_path):
    """Catches a raw library error, and a half-read file."""
    save_network(network(), tmp_path / "net")
    path = tmp_path / "net" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtefactError, match="not a readable safetensors file"):
        load_network(tmp_path / "net")


def test_weights_of_another_architecture_are_refused(tmp_path):
    """Catches strict=False."""
    save_network(network(), tmp_path / "a")
    save_network(network(widths=(8, 24)), tmp_path / "b")
    (tmp_path / "a" / WEIGHTS).write_bytes((tmp_path / "b" / WEIGHTS).read_bytes())
    with pytest.raises(ArtefactError, match=r"does not fit.*shape"):
        load_network(tmp_path / "a")


def foreign(net: nn.Module, rename) -> dict[str, torch.Tensor]:
    """Our PreActResNet's weights under somebody else's names."""
    return {rename(name): value for name, value in net.state_dict().items()}


def short_names(name: str) -> str:
    """layers.0.1.conv1 -> layer1.1.c1, shortcut -> sc, linear -> fc: the shared CIFAR-10 teacher's way."""
    import re

    name = re.sub(r"^layers\.(\d+)", lambda m: f"layer{int(m[1]) + 1}", name)
    name = re.sub(r"(\.\d+)\.conv([12])", r"\1.c\2", name)
    return name.replace(".shortcut.", ".sc.").replace("linear.", "fc.")


def long_names(name: str) -> str:
    """The other common way, inside a data-parallel wrapper."""
    import re

    name = re.sub(r"^layers\.(\d+)", lambda m: f"layer{int(m[1]) + 1}", name)
    return "module." + name.replace(".shortcut.", ".shortcut.0.")


@pytest.mark.parametrize("rename", [short_names, long_names])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_foreign_preactresnet_gives_the_same_logits(tmp_path, rename, suffix):
    """Catches a block in the wrong stage, and a file's own normalisation replaced by another."""
    net = network(
        family="preactresnet",
        widths=(8, 16, 16),
        blocks=(2, 1, 2),
        channels=3,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.25),
    )
    path = tmp_path / f"teacher{suffix}"
    state = foreign(net, rename)
    if suffix == ".pt":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file({name: value.contiguous() for name, value in state.items()}, path)
    loaded = network_from_state(read_state_dict(path), path, image_shape=(3, 8, 8), moments=MOMENTS)
    images = torch.rand(4, 3, 8, 8)
    assert_close(loaded(images), net(images), rtol=0, atol=0)


def test_a_pickle_with_code_in_it_is_refused_and_nothing_runs(tmp_path):
    """Catches torch.load without weights_only."""
    mark = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (mark,))

    path = tmp_path / "teacher.pt"
    for write in (lambda: path.write_bytes(pickle.dumps({"a": Evil()})), lambda: torch.save({"a": Evil()}, path)):
        write()
        with pytest.raises(ArtefactError, match=r"teacher.pt is refused: .*Nothing in it was executed") as refusal:
            read_state_dict(path)
        assert "weights_only" not in str(refusal.value)  # torch advises to run what it refused
        assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"weights": {"a": 1}}, ArtefactError, "holds no state dict"),
        ({"stem.weight": torch.zeros(1)}, ArtefactError, "not a known architecture"),
    ],
)
def test_a_file_that_is_no_teacher_says_what_was_expected(tmp_path, content, error, message):
    """Catches a KeyError deep in the loader."""
    path = tmp_path / "teacher.pt"
    torch.save(content, path)
    with pytest.raises(error, match=message):
        network_from_state(read_state_dict(path), path, image_shape=(3, 8, 8), moments=MOMENTS)


def test_a_teacher_of_another_channel_count_names_the_flag(tmp_path):
    """Catches a shape error in the first convolution, hours later."""
    state = foreign(network(family="preactresnet"), short_names)
    with pytest.raises(ConfigError, match=r"takes 1 channels, the data have 3.*--data"):
        network_from_state(state, tmp_path / "t.pt", image_shape=(3, 8, 8), moments=MOMENTS)


def test_exact_float32_switches_tf32_off_and_back():
    """Catches host figures in TF32, which no fp32 engine agrees with, and a setting that leaks out."""
    convolution = torch.backends.cudnn.conv
    before = convolution.fp32_precision
    with exact_float32():
        assert convolution.fp32_precision == "ieee"
    assert convolution.fp32_precision == before


@pytest.mark.parametrize("family", ["resnet", "preactresnet", "repvgg", "wideresnet", "resnet-bottleneck"])
@pytest.mark.parametrize("width", [4, 8, 15, 16])
def test_a_narrow_network_on_large_images_trains_without_writing_past_its_memory(family, width):
    """Catches oneDNN's overrun, which ends the process: and gradients of other pixels than those that are read."""
    torch.manual_seed(0)
    net = build(architecture(family=family, widths=(width, 32), blocks=(1, 1), channels=3, height=64, width=64)).train()
    assert any(isinstance(m, SubsampledConv2d) for m in net.modules()) is (width < 16)
    images = torch.rand(8, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    net(images).square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in net.parameters())


@pytest.mark.parametrize(("stride", "groups", "bias"), [(2, 1, False), (2, 1, True), ((2, 3), 1, False), (3, 4, True)])
def test_a_subsampled_convolution_is_the_convolution(stride, groups, bias):
    """Catches other pixels than those that a stride reads, and a group, a bias or a mode that is lost."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(8, 12, 1, stride, groups=groups, bias=bias)).double()
    other = deepcopy(plain)
    subsample_first(other)
    assert isinstance(other[0], SubsampledConv2d)
    images = torch.rand(3, 8, 13, 14, dtype=torch.float64)
    for net in (plain, other):
        net(images).square().sum().backward()
    assert_close(other(images), plain(images))
    assert_close(other.eval()(images), plain(images))
    assert {name: weight.grad for name, weight in other.named_parameters()}.keys() == plain.state_dict().keys()
    for name, weight in other.named_parameters():
        assert_close(weight.grad, plain.get_parameter(name).grad)


def test_exact_float32_is_put_back_by_whoever_leaves_last():
    """Catches threads that overlap and leave behind what the other had set."""
    convolution = torch.backends.cudnn.conv
    before = convolution.fp32_precision
    first, second = exact_float32(), exact_float32()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert convolution.fp32_precision == "ieee"
    second.__exit__(None, None, None)
    assert convolution.fp32_precision == before
