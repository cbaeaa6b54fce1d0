"""Batch norms folded into the convolutions before them: the same function in evaluation mode, in fewer passes."""

from copy import copy
from functools import cache
from typing import TypeVar, cast

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edgerkd.core.architecture import Architecture
from edgerkd.models.build import meta_model
from edgerkd.models.network import Network

M = TypeVar("M", bound=nn.Module)


def folded(network: Network) -> Network:
    """A network in evaluation mode that gives the same features up to rounding; `network` itself stays as it is.

    For now, not to keep: weights that were not folded are the network's own, which spares a copy at every step. One
    that does not fold is returned as it is.
    """
    if not network.folds:
        return network
    twin = _twin(network.deployed()).eval()
    for conv_name, norm_name in _pairs(network.architecture):
        conv, norm = cast("nn.Conv2d", twin.get_submodule(conv_name)), twin.get_submodule(norm_name)
        moments = cast("nn.BatchNorm2d", norm)
        assert moments.running_mean is not None
        assert moments.running_var is not None
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            moments.running_mean,
            moments.running_var,
            moments.eps,
            moments.weight,
            moments.bias,
        )
        twin.set_submodule(norm_name, nn.Identity())
    return twin


def _twin(module: M) -> M:
    """A module whose parts can be exchanged without exchanging them in `module`; the tensors are the same."""
    twin = copy(module)
    for part in ("_parameters", "_buffers"):
        setattr(twin, part, dict(getattr(module, part)))
    twin._modules = {name: None if child is None else _twin(child) for name, child in module._modules.items()}
    return twin


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
