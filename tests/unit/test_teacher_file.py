"""Weights from elsewhere: each layout is built here anew from its public names, apart from edgerkd's networks."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.models import teacher_file
from edgerkd.models.build import feature_channels
from edgerkd.models.layouts import unwrapped
from edgerkd.models.store import load_network, save_network
from edgerkd.models.teacher_file import families_of, network_from_state, read_state_dict
from tests.zoo import network

MOMENTS = (torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.25]))
WIDTHS = (16, 32, 48, 64)


def conv(inputs: int, outputs: int, size: int, stride: int = 1, padding: int | None = None) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2 if padding is None else padding, bias=False)


class TradesBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        if inputs != outputs:
            self.convShortcut = conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        kept = self.convShortcut(out) if hasattr(self, "convShortcut") else x
        return kept + self.conv2(F.relu(self.bn2(self.conv1(out))))


class Group(nn.Module):
    def __init__(self, name: str, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.add_module(name, nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        (inner,) = self.children()
        return inner(x)


class TradesWideResNet(nn.Module):
    """block1.layer.0.bn1, with the unused copy sub_block1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        a, b, c = WIDTHS[1:]
        self.block1 = Group("layer", [TradesBlock(16, a, 1), TradesBlock(a, a, 1)])
        self.sub_block1 = Group("layer", [TradesBlock(16, a, 1), TradesBlock(a, a, 1)])
        self.block2 = Group("layer", [TradesBlock(a, b, 2), TradesBlock(b, b, 1)])
        self.block3 = Group("layer", [TradesBlock(b, c, 2), TradesBlock(c, c, 1)])
        self.bn1, self.fc = nn.BatchNorm2d(c), nn.Linear(c, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class JaxBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.batchnorm_0, self.conv_0 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride, padding=0)
        self.batchnorm_1, self.conv_1 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.stride = stride
        if inputs != outputs:
            self.shortcut = conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.silu(self.batchnorm_0(x))
        kept = self.shortcut(out) if hasattr(self, "shortcut") else x
        padded = F.pad(out, (1, 1, 1, 1) if self.stride == 1 else (0, 1, 0, 1))
        return kept + self.conv_1(F.silu(self.batchnorm_1(self.conv_0(padded))))


class JaxWideResNet(nn.Module):
    """layer.0.block.0.batchnorm_0, with its own mean and std of shape (3, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", MOMENTS[0].reshape(3, 1, 1))
        self.register_buffer("std", MOMENTS[1].reshape(3, 1, 1))
        self.init_conv = conv(3, 16, 3)
        inputs, groups = 16, []
        for index, outputs in enumerate(WIDTHS[1:]):
            blocks: list[nn.Module] = [JaxBlock(inputs, outputs, 1 if index == 0 else 2), JaxBlock(outputs, outputs, 1)]
            groups.append(Group("block", blocks))
            inputs = outputs
        self.layer = nn.Sequential(*groups)
        self.batchnorm, self.logits = nn.BatchNorm2d(inputs), nn.Linear(inputs, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.init_conv((x - self.mean) / self.std))
        return self.logits(F.silu(self.batchnorm(x)).mean((2, 3)))


class PostBlock(nn.Module):
    """conv1, bn1, ...: basic, or a bottleneck with conv3; the side path is named by `side`."""

    def __init__(self, inputs: int, outputs: int, stride: int, side: str, *, bottleneck: bool) -> None:
        super().__init__()
        narrow = outputs // 4
        shapes = (
            [(inputs, narrow, 1, 1), (narrow, narrow, 3, stride), (narrow, outputs, 1, 1)]
            if bottleneck
            else [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        )
        for number, shape in enumerate(shapes, start=1):
            self.add_module(f"conv{number}", conv(*shape))
            self.add_module(f"bn{number}", nn.BatchNorm2d(shape[1]))
        self.depth, self.side = len(shapes), side
        projection = [conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)]
        self.add_module(side, nn.Sequential(*(projection if stride != 1 or inputs != outputs else [])))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for number in range(1, self.depth + 1):
            out = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(out))
            out = F.relu(out) if number < self.depth else out
        return F.relu(out + self.get_submodule(self.side)(x))


class PostResNet(nn.Module):
    """layer1.0.conv1, shortcut and linear, or downsample and fc."""

    def __init__(self, side: str, head: str, *, bottleneck: bool) -> None:
        super().__init__()
        stem = 8 if bottleneck else WIDTHS[1]
        self.conv1, self.bn1 = conv(3, stem, 3), nn.BatchNorm2d(stem)
        inputs = stem
        for index, outputs in enumerate(WIDTHS[1:]):
            first = PostBlock(inputs, outputs, 1 if index == 0 else 2, side, bottleneck=bottleneck)
            second = PostBlock(outputs, outputs, 1, side, bottleneck=bottleneck)
            self.add_module(f"layer{index + 1}", nn.Sequential(first, second))
            inputs = outputs
        self.head = head
        self.add_module(head, nn.Linear(inputs, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for number in (1, 2, 3):
            x = self.get_submodule(f"layer{number}")(x)
        return self.get_submodule(self.head)(x.mean((2, 3)))


def warmed(net: nn.Module, size: int = 8) -> nn.Module:
    """With batch-norm statistics that are not the initial ones, in evaluation mode."""
    with torch.no_grad():
        for _ in range(3):
            net.train()(torch.rand(16, 3, size, size))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    return net.eval()


def imported(state, tmp_path, family=None, moments=MOMENTS, size=8):
    path = tmp_path / "teacher.pt"
    torch.save(state, path)
    found = read_state_dict(path)
    return network_from_state(found, path, image_shape=(3, size, size), moments=moments, family=family)


LAYOUTS = {
    "wideresnet": (lambda: TradesWideResNet(), "wideresnet"),
    "wideresnet-same-silu": (lambda: JaxWideResNet(), "wideresnet-same-silu"),
    "resnet": (lambda: PostResNet("shortcut", "linear", bottleneck=False), "resnet"),
    "resnet, downsample": (lambda: PostResNet("downsample", "fc", bottleneck=False), "resnet"),
    "resnet-bottleneck": (lambda: PostResNet("shortcut", "linear", bottleneck=True), "resnet-bottleneck"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_gives_the_logits_of_its_own_network(tmp_path, name):
    """Catches a batch norm or a shortcut in the wrong place, the stride on another convolution, SAME padding on the
    wrong side, the unused copy sub_block1 taken for a stage, and a file's own normalisation replaced."""
    torch.manual_seed(0)
    make, family = LAYOUTS[name]
    net = warmed(make())
    images = torch.rand(4, 3, 8, 8)
    found = imported(net.state_dict(), tmp_path)
    assert found.architecture.family == family
    assert (found.architecture.widths, found.architecture.blocks) == (WIDTHS[1:], (2, 2, 2))
    own = images if hasattr(net, "mean") else (images - MOMENTS[0].reshape(3, 1, 1)) / MOMENTS[1].reshape(3, 1, 1)
    assert_close(found(images), net(own))
    features = found.features(images)
    assert [tap.shape[1] for tap in features.taps] == list(WIDTHS[1:])
    assert feature_channels(found) == (WIDTHS[1:], WIDTHS[-1])
    assert_close(features.penultimate, features.taps[-1].mean((2, 3)))
    save_network(found, tmp_path / "kept")
    assert_close(load_network(tmp_path / "kept")(images), found(images), rtol=0, atol=0)


def test_what_the_weights_do_not_show_is_left_open(tmp_path):
    """Catches an activation or a padding guessed from names: both are for measuring."""
    path = tmp_path / "t.pt"
    assert families_of(TradesWideResNet().state_dict(), path) == ("wideresnet", "wideresnet-silu")
    assert set(families_of(JaxWideResNet().state_dict(), path)) == {
        f"wideresnet{padding}{activation}" for padding in ("", "-same") for activation in ("", "-silu")
    }


def test_the_readings_of_one_file_differ(tmp_path):
    """Catches a family whose activation or padding is not used."""
    torch.manual_seed(0)
    state = warmed(JaxWideResNet()).state_dict()
    images = torch.rand(2, 3, 8, 8)
    logits = [imported(state, tmp_path, family=family)(images) for family in families_of(state, tmp_path)]
    for a in range(4):
        for b in range(a):
            assert (logits[a] - logits[b]).abs().max() > 1e-3


def test_a_resnet_with_the_stem_of_imagenet_is_torchvisions(tmp_path):
    """Catches a 7 x 7 stem forced into CIFAR's network, and taps that are not the stages."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    net = warmed(resnet18(num_classes=5), size=64)
    found = imported(net.state_dict(), tmp_path, moments=(torch.zeros(3), torch.ones(3)), size=64)
    assert found.architecture.library == str(found.architecture) == "torchvision:resnet18"
    images = torch.rand(2, 3, 64, 64)
    assert_close(found(images), net(images))
    assert [tuple(tap.shape[1:]) for tap in found.features(images).taps] == [
        (64, 32, 32),
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (512, 2, 2),
    ]


def madry(state):
    """AttackerModel: the network twice, its normaliser as new_mean and new_std, in a container with other things."""
    held = {"module.normalizer.new_mean": MOMENTS[0].reshape(3, 1, 1), "module.normalizer.new_std": MOMENTS[1]}
    held |= {f"module.model.{name}": value for name, value in state.items()}
    held |= {f"module.attacker.model.{name}": torch.zeros_like(value) for name, value in state.items()}
    return {"state_dict": held, "epoch": 3}


def sequential(state):
    """nn.Sequential(normalize, network) in a data-parallel wrapper."""
    held = {"module.0.mean": MOMENTS[0], "module.0.std": MOMENTS[1]}
    return {"model_state_dict": held | {f"module.1.{name}": value for name, value in state.items()}}


def named(state):
    """normalize and model side by side, in `net`."""
    held = {"normalize.mean": MOMENTS[0].reshape(1, 3, 1, 1), "normalize.std": MOMENTS[1]}
    return {"net": held | {f"model.{name}": value for name, value in state.items()}}


def short(state):
    """mu and sigma beside the weights, in a compiled module."""
    held = {"mu": MOMENTS[0].reshape(3, 1, 1), "sigma": MOMENTS[1].reshape(3, 1, 1)}
    return {f"_orig_mod.{name}": value for name, value in (held | dict(state)).items()}


@pytest.mark.parametrize("wrap", [madry, sequential, named, short])
def test_wrappers_come_off_and_their_normalisation_stays(tmp_path, wrap):
    """Catches a prefix left on, the attacker's copy preferred, and a normaliser dropped."""
    torch.manual_seed(0)
    net = warmed(PostResNet("shortcut", "linear", bottleneck=False))
    found = imported(wrap(net.state_dict()), tmp_path, moments=(torch.zeros(3), torch.ones(3)))
    images = torch.rand(4, 3, 8, 8)
    assert_close(found(images), net((images - MOMENTS[0].reshape(3, 1, 1)) / MOMENTS[1].reshape(3, 1, 1)))


def test_only_a_leading_wrapper_comes_off():
    """Catches a pattern that eats the middle of a name."""
    one = torch.zeros(1)
    given = {"module.model.layer1.0.conv1.weight": one, "block1.layer.1.bn1.bias": one, "sub_block1.layer.0.x": one}
    assert set(unwrapped(given)) == {"layer1.0.conv1.weight", "block1.layer.1.bn1.bias"}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(4, 4).to_sparse(),
        lambda: torch.zeros(4, 4, device="meta"),
        lambda: torch.zeros(4, 4, dtype=torch.complex64),
        lambda: torch.zeros(1, 4, dtype=torch.float16).expand(2_000_000_000_000, 4),
    ],
)
def test_a_tensor_that_is_not_dense_real_and_whole_is_refused(tmp_path, make):
    """Catches an imaginary part dropped, and an allocation of what a small file only claims."""
    torch.save({"linear.weight": make()}, tmp_path / "t.pt")
    with pytest.raises(ArtefactError, match=r"t\.pt: linear\.weight: expected a dense tensor of real numbers"):
        read_state_dict(tmp_path / "t.pt")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"mean": torch.zeros(5), "std": torch.ones(5)}, ArtefactError, "mean: expected a finite value for each of 3"),
        ({"std": torch.tensor([1.0, 1.0, float("nan")])}, ArtefactError, "std: expected a finite value"),
        ({"layers.0.0.conv1.weight": torch.zeros(10**6, 1, 1, 1)}, ArtefactError, "does not fit preactresnet 1000000"),
        ({"linear.weight": torch.zeros(10**6, 1)}, ConfigError, "has 1000000 classes, the data have 5"),
    ],
)
def test_a_hostile_file_is_refused_before_its_network_is_built(tmp_path, monkeypatch, change, error, message):
    """Catches a broadcast of five moments, and terabytes taken for a file of megabytes."""
    state = network(family="preactresnet", channels=3, classes=5).state_dict()
    monkeypatch.setattr(teacher_file, "build", None)
    with pytest.raises(error, match=message):
        network_from_state(dict(state) | change, tmp_path / "t.pt", image_shape=(3, 8, 8), moments=MOMENTS, classes=5)


def test_marks_without_stages_are_named(tmp_path):
    """Catches an IndexError for a network of a stem and a head."""
    names = ("conv1.weight", "bn.weight", "linear.weight")
    state = dict(zip(names, (torch.zeros(8, 3, 3, 3), torch.zeros(8), torch.zeros(5, 8)), strict=True))
    with pytest.raises(ArtefactError, match="has no stage"):
        imported(state, tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer1.0.conv1.weight": torch.zeros(3)}, ArtefactError, "stages.0: does not begin with a block"),
        ({"conv1.weight": torch.zeros(3)}, ArtefactError, "not a convolution"),
        ({"conv1.weight": torch.zeros(32, 1, 3, 3)}, ConfigError, "takes 1 channels, the data have 3"),
        ({"layer2.1.extra.weight": torch.zeros(1)}, ArtefactError, r"extra\.weight: unknown"),
        ({"conv1.weight": torch.zeros(32, 3, 7, 7)}, ArtefactError, "not one of torchvision's"),
    ],
)
def test_weights_that_fit_no_network_are_named(tmp_path, change, error, message):
    """Catches a KeyError or a broadcast in place of a word about the file."""
    state = PostResNet("shortcut", "linear", bottleneck=False).state_dict() | change
    with pytest.raises(error, match=message):
        imported(state, tmp_path)
