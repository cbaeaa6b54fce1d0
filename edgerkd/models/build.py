"""Architecture -> network."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from edgerkd.core.architecture import Architecture, Family
from edgerkd.core.errors import ConfigError
from edgerkd.models.bottleneck import BottleneckResNet
from edgerkd.models.library import LibraryNetwork
from edgerkd.models.mobilenetv2 import MobileNetV2
from edgerkd.models.mobilenetv3 import MobileNetV3
from edgerkd.models.network import Network
from edgerkd.models.preactresnet import PreActResNet
from edgerkd.models.repvgg import RepVGG
from edgerkd.models.resnet import ResNet
from edgerkd.models.subsampled import subsample_first
from edgerkd.models.wideresnet import WideResNet


def _not_built(architecture: Architecture) -> Network:
    raise ConfigError(f"family {architecture.family}: such a network is its ONNX graph, and is not built anew")


FAMILIES: dict[Family, Callable[[Architecture], Network]] = {
    "resnet": ResNet,
    "preactresnet": PreActResNet,
    "mobilenetv2": MobileNetV2,
    "mobilenetv3": MobileNetV3,
    "repvgg": RepVGG,
    "resnet-bottleneck": BottleneckResNet,
    "wideresnet": WideResNet,
    "wideresnet-silu": partial(WideResNet, activation=F.silu),
    "wideresnet-same": partial(WideResNet, same=True),
    "wideresnet-same-silu": partial(WideResNet, activation=F.silu, same=True),
    "library": LibraryNetwork,
    "graph": _not_built,
}


def build(architecture: Architecture) -> Network:
    """A network with fresh weights, in channels_last memory format; ours is in training mode, a library's in either.

    Raises ConfigError for the family `graph`.
    """
    network = FAMILIES[architecture.family](architecture)
    subsample_first(network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  torch's stubs miss it


def meta_model(architecture: Architecture) -> tuple[Network, torch.Tensor]:
    """A network in evaluation mode and a batch of one image for it: for questions of shape.

    They hold no memory, except for networks of libraries, of which some cannot be made so.
    """
    with torch.device("cpu" if architecture.library else "meta"):
        return FAMILIES[architecture.family](architecture).eval(), torch.zeros(1, *architecture.image_shape)


def feature_channels(network: Network) -> tuple[tuple[int, ...], int]:
    """Channels of each tap, and the length of the penultimate vector, as the network itself gives them."""
    training = network.training
    with torch.no_grad():
        found = network.eval().features(torch.zeros(1, *network.architecture.image_shape, device=network.mean.device))
    network.train(training)
    return tuple(tap.shape[1] for tap in found.taps), found.penultimate.shape[1]
