"""What a network costs, counted on the network itself."""

from math import prod

import torch
from torch import nn

from edgerkd.core.architecture import Architecture, Cost
from edgerkd.models.build import sketch

_FLOAT = 4  # bytes of a float32


def count_cost(architecture: Architecture) -> tuple[Cost, int]:
    """The cost for one image of the network as it is exported, and its number of layers: convolutions and linear maps.

    `params` counts learned weights after batch norms are folded; `macs` those of convolutions and
    linear maps; `peak_bytes` is all weights plus the largest input, output and shortcut held at once
    (ours: three maps live at a residual addition).
    """
    network, image = sketch(architecture)
    network = network.deployed()
    macs, params, largest, layers = 0, 0, prod(architecture.image_shape), 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs, params, largest, layers
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        params += weight.numel() + weight.shape[0]  # the folded batch norm's or the layer's own bias
        macs += weight.numel() * prod(output.shape[2:])
        largest = max(largest, inputs[0].numel(), output.numel())
        layers += 1

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    file_bytes = _FLOAT * params
    return Cost(params=params, macs=macs, file_bytes=file_bytes, peak_bytes=file_bytes + 3 * _FLOAT * largest), layers
