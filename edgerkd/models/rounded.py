"""A network that rounds its weights and feature maps where an int8 graph of it does, and can be trained like that."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import register_parametrization

from edgerkd.core.errors import ExportError
from edgerkd.graphs.precision.int8 import LARGEST, Rounding, Scale
from edgerkd.graphs.precision.ranges import values_of
from edgerkd.models.network import Features, Network

NEAR = 1e-3
"""Two tensors are the same where they differ by less than this share of the largest number in them. Ours: float32
kernels that sum in another order differ by 1e-6."""


class RoundedNetwork(Network):
    """A trained network whose layers compute what those of its int8 graph do, with a gradient.

    `graph` is the network's own, in float32, and `rounding` says where it is rounded. Batch norms stay as they are: a
    weight that has a scale for each output is rounded alike before and after a norm is folded into it. What is rounded
    passes its gradient straight through inside the representable range, and none outside (Jacob et al. 2018, arXiv
    1712.05877, section 3; the range itself is measured, not trained). Raises ExportError where a tensor or layer of the
    graph is not found in the network.
    """

    folds = False

    def __init__(self, network: Network, graph: bytes, rounding: Rounding) -> None:
        super().__init__(network.architecture)
        self.original = (network.deployed(),)  # in a tuple: it is no part of what is trained
        body = _Body(deepcopy(self.original[0]).eval())
        traced = fx.GraphModule(body, _Tracer().trace(body))
        images = torch.rand(4, *network.architecture.image_shape, generator=torch.Generator().manual_seed(0))
        values = values_of(graph, images.numpy(), tuple(rounding.activations))
        places = _Places(traced, {name: torch.from_numpy(value) for name, value in values.items()}).find(images)
        _round_weights(traced, rounding)
        _round_activations(traced, {places[name]: scale for name, scale in rounding.activations.items()})
        self.body = traced.requires_grad_(True)

    def features(self, images: Tensor) -> Features:
        return Features(*self.body(images))

    def unrounded(self) -> Network:
        """The network as it is deployed, with the weights of this one, in float32."""
        found = deepcopy(self.original[0]).eval()
        found.load_state_dict({_own_name(name): value for name, value in self.body.state_dict().items()})
        return found


def _own_name(name: str) -> str:
    """A weight's name in the network, of that in a traced and parametrised one."""
    return name.removeprefix("network.").replace(".parametrizations.weight.original", ".weight")


class _Body(nn.Module):
    """The features of a network as a plain tuple, for tracing."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        logits, taps, penultimate = self.network.features(images)
        return logits, taps, penultimate


class _Tracer(fx.Tracer):
    """Takes a layer of ours as one step too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | nn.Linear) or super().is_leaf_module(m, module_qualified_name)


class _Places(fx.Interpreter):
    """Finds the step of a traced network that first has the values of each tensor of its graph."""

    def __init__(self, traced: fx.GraphModule, wanted: Mapping[str, Tensor]) -> None:
        super().__init__(traced)
        self.wanted = dict(wanted)
        self.found: dict[str, fx.Node] = {}

    def find(self, images: Tensor) -> dict[str, fx.Node]:
        """By the tensor's name. Raises ExportError for those that no step has."""
        with torch.no_grad():
            self.run(images)
        if missing := sorted(self.wanted.keys() - self.found.keys()):
            raise ExportError(f"the network has no step with the values of {', '.join(missing)}")
        return self.found

    def run_node(self, n: fx.Node) -> Any:  # Any: what a step gives
        value = super().run_node(n)
        if isinstance(value, Tensor):
            for name, other in self.wanted.items():
                if name not in self.found and _same(value, other):
                    self.found[name] = n
        return value


def _same(value: Tensor, other: Tensor) -> bool:
    return value.shape == other.shape and bool((value - other).abs().max() <= NEAR * other.abs().max())


class _RoundedWeight(nn.Module):
    """A weight whose outputs (axis 0) each have a scale of their own, that of their largest number."""

    def forward(self, weight: Tensor) -> Tensor:
        most = weight.detach().abs().flatten(1).amax(1)
        scale = torch.where(most > 0, most / LARGEST, 1.0)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -LARGEST, LARGEST)


class _RoundedActivation(nn.Module):
    """A tensor rounded to the numbers that a quantiser has."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        scale = self.scale
        rounded = torch.fake_quantize_per_tensor_affine(x.float(), scale.scale, scale.zero, scale.low, scale.high)
        return rounded.to(x.dtype)


def _round_weights(traced: fx.GraphModule, rounding: Rounding) -> None:
    """Layers of network and graph are paired in the order in which they are computed."""
    modules = dict(traced.named_modules())
    targets = [str(node.target) for node in traced.graph.find_nodes(op="call_module")]
    own = [name for name in targets if isinstance(modules[name], nn.Conv2d | nn.Linear)]
    _check_layers([modules[name] for name in own], rounding)
    for name, layer in zip(own, rounding.layers, strict=True):
        if layer.rounded:
            register_parametrization(modules[name], "weight", _RoundedWeight())


def _check_layers(own: Sequence[nn.Module], rounding: Rounding) -> None:
    sizes = [cast("nn.Conv2d | nn.Linear", module).weight.numel() for module in own]
    if sizes != [layer.weights for layer in rounding.layers]:
        raise ExportError(
            f"the network has {len(sizes)} layers with weights, and its graph {len(rounding.layers)}, or of other sizes"
        )


def _round_activations(traced: fx.GraphModule, places: Mapping[fx.Node, Scale]) -> None:
    for number, (node, scale) in enumerate(places.items()):
        name = f"rounded_{number}"
        traced.add_submodule(name, _RoundedActivation(scale))
        with traced.graph.inserting_after(node):
            other = traced.graph.call_module(name, (node,))
        node.replace_all_uses_with(other, delete_user_cb=lambda user, other=other: user is not other)
    traced.recompile()
