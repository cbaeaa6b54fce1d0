"""Batch norms folded into the convolutions before them: the same function in evaluation mode, in fewer passes."""

from copy import deepcopy
from functools import cache
from typing import cast

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgerkd.core.architecture import Architecture
from edgerkd.models.build import meta_model
from edgerkd.models.network import Network


def folded(network: Network) -> Network:
    """A copy in evaluation mode that gives the same features up to rounding; the network itself stays as it is."""
    copy = network.deployed()
    copy = (deepcopy(network) if copy is network else copy).eval()
    for conv, norm in _pairs(network.architecture):
        pair = cast("nn.Conv2d", copy.get_submodule(conv)), cast("nn.BatchNorm2d", copy.get_submodule(norm))
        copy.set_submodule(conv, fuse_conv_bn_eval(*pair))
        copy.set_submodule(norm, nn.Identity())
    return copy


@cache
def _pairs(architecture: Architecture) -> tuple[tuple[str, str], ...]:
    return foldable(meta_model(architecture)[0].deployed())


def foldable(network: Network) -> tuple[tuple[str, str], ...]:
    """The names of each convolution whose output goes to one batch norm and nowhere else, and of that batch norm."""
    graph = fx.symbolic_trace(network).graph
    modules = dict(network.named_modules())
    return tuple(
        (node.args[0].target, node.target)
        for node in graph.find_nodes(op="call_module")
        if isinstance(modules[node.target], nn.BatchNorm2d)
        and node.args[0].op == "call_module"
        and isinstance(modules[node.args[0].target], nn.Conv2d)
        and len(node.args[0].users) == 1
    )
