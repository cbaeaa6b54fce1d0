"""What a network costs, counted on the network itself."""

from functools import cache
from math import prod

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from edgerkd.core.architecture import Architecture, Cost
from edgerkd.graphs.cost import count_graph_cost
from edgerkd.models.build import meta_model
from edgerkd.models.fold import foldable
from edgerkd.models.graph_network import GraphNetwork
from edgerkd.models.network import Network

_FLOAT = 4  # bytes of a float32


def cost_of(network: Network) -> Cost:
    """What a network costs for one image, however it is made: a graph is counted by itself."""
    return count_graph_cost(network.graph) if isinstance(network, GraphNetwork) else count_cost(network.architecture)[0]


@cache
def count_cost(architecture: Architecture) -> tuple[Cost, int]:
    """The cost for one image of the network as it is exported, and its number of layers: convolutions and linear maps.

    `params` counts learned weights after batch norms are folded; `macs` those of convolutions, linear
    maps and the products of attention; `peak_bytes` is all weights plus the largest input, output and
    shortcut held at once (ours: three maps live at a residual addition).
    """
    network, image = meta_model(architecture)
    network = network.deployed()
    params = _folded_params(network)
    for name, module in [*network.named_modules()]:
        if isinstance(module, nn.BatchNorm2d):  # of no size of its own, and half of the time
            network.set_submodule(name, nn.Identity())
    largest, layers = prod(architecture.image_shape), 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal largest, layers
        largest = max(largest, inputs[0].numel(), output.numel())
        layers += 1

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    # With gradients and by plain products: torch's fused attention is one operation, which its counter does not know.
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad(), FlopCounterMode(display=False) as flops:
        network(image)
    for hook in hooks:
        hook.remove()
    file_bytes, macs = _FLOAT * params, flops.get_total_flops() // 2
    return Cost(params=params, macs=macs, file_bytes=file_bytes, peak_bytes=file_bytes + 3 * _FLOAT * largest), layers


def _folded_params(network: Network) -> int:
    """The learned weights that are left when batch norms are folded."""
    params = sum(weight.numel() for weight in network.parameters())
    for conv, norm in foldable(network):  # the norm's scale goes into the weights, its shift into the bias
        added = [network.get_parameter(f"{norm}.weight"), network.get_submodule(conv).bias]
        params -= sum(weight.numel() for weight in added if isinstance(weight, torch.Tensor))
    return params
