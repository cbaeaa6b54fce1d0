"""Architecture -> network."""

import torch

from edgerkd.core.architecture import Architecture
from edgerkd.models.network import Network
from edgerkd.models.preactresnet import PreActResNet
from edgerkd.models.resnet import ResNet

FAMILIES: dict[str, type[Network]] = {"resnet": ResNet, "preactresnet": PreActResNet}


def build(architecture: Architecture) -> Network:
    """A network with fresh weights, in training mode, in channels_last memory format."""
    return FAMILIES[architecture.family](architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  torch's stubs miss it
