"""An ONNX graph as a network among torch's: ONNX Runtime runs it, its gradient twin differentiates it. See ADR 0024."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.bundle.plugins import open_onnx
from edgerkd.core.architecture import Architecture
from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.graphs.features import feature_tensors, graph_ends, with_outputs
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.network import Features, Network

BATCH = 64  # images that ONNX Runtime gets at once: more are no faster and hold more memory; ours


class GraphNetwork(Network):
    """The function that `graph` computes, on the CPU whatever device the images are on. Nothing of it can be trained.

    `graph` is ONNX from `images` float32 (batch, c, h, w) in [0, 1] to `logits` (batch, k); it normalises by itself, so
    that `mean` and `std` are not applied: they are the data's, for students that take them over. The taps and the
    penultimate tensor are those of `feature_tensors`; of maps the penultimate vector is the mean over space. Logits
    have gradients in the images; features have none, and no gradient has one.

    Raises ArtefactError for a graph that is not of the `architecture`, and when it is first asked for something,
    MissingDependencyError without ONNX Runtime, ExportError for a gradient where the graph has no twin.
    """

    def __init__(self, architecture: Architecture, graph: bytes) -> None:
        super().__init__(architecture)
        ends = graph_ends(graph)
        if (ends.image_shape, ends.classes) != (architecture.image_shape, architecture.classes):
            raise ArtefactError(
                f"the graph maps images {ends.image_shape} to {ends.classes} classes, and "
                f"{architecture.image_shape} to {architecture.classes} are expected"
            )
        self.graph = graph
        self._engines: dict[str, LiveEngine] = {}

    def __getstate__(self) -> dict[str, Any]:  # Any: what torch keeps in a module
        return {**self.__dict__, "_engines": {}}

    def features(self, images: Tensor) -> Features:
        logits, penultimate, *taps = cast("tuple[Tensor, ...]", _Answer.apply(images, self, "features"))
        return Features(logits, tuple(taps), penultimate[..., None].flatten(2).mean(2))

    def forward(self, images: Tensor) -> Tensor:
        (logits,) = cast("tuple[Tensor]", _Answer.apply(images, self, "logits"))
        return logits

    def run(self, which: str, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the graph's `logits`, `features` (logits, penultimate, taps) or `twin` (logits, gradient) are."""
        if which not in self._engines:
            made = {"logits": lambda graph: graph, "features": _with_features, "twin": gradient_twin}[which]
            self._engines[which] = open_onnx(made(self.graph))
        engine, arrays = self._engines[which], [_array(tensor) for tensor in inputs]
        parts = [engine(*(a[first : first + BATCH] for a in arrays)) for first in range(0, len(arrays[0]), BATCH)]
        found = (np.concatenate(part) for part in zip(*parts, strict=True))
        return tuple(torch.from_numpy(array).to(inputs[0].device) for array in found)


def graph_network(
    graph: bytes, *, mean: tuple[float, ...] | None = None, std: tuple[float, ...] | None = None
) -> GraphNetwork:
    """The network of a graph, whatever its images and classes are. Raises ArtefactError for another kind of graph."""
    ends = graph_ends(graph)
    channels, height, width = ends.image_shape
    architecture = Architecture(
        family="graph",
        widths=(),
        blocks=(),
        channels=channels,
        height=height,
        width=width,
        classes=ends.classes,
        mean=mean or (0.0,) * channels,
        std=std or (1.0,) * channels,
    )
    return GraphNetwork(architecture, graph).eval()


class _Answer(torch.autograd.Function):
    """Outputs of the graph; the gradient of the first of them, the logits, is the twin's."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, network: GraphNetwork, which: str) -> tuple[Tensor, ...]:  # type: ignore[override]  torch says *args
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(images)
        ctx.network = network
        return network.run(which, images)

    @staticmethod
    def backward(ctx: Any, logits: Tensor | None, *features: Tensor | None) -> tuple[Tensor | None, None, None]:  # type: ignore[override]  torch says *args
        if any(gradient is not None for gradient in features):
            raise ConfigError(
                f"{ctx.network.architecture}: a gradient through its features is asked for, and its twin knows that of "
                "its logits alone: hold them constant, or take a teacher that edgerkd has the weights of"
            )
        if logits is None:
            return None, None, None
        return cast("Tensor", _Gradient.apply(*ctx.saved_tensors, logits, ctx.network)), None, None


class _Gradient(torch.autograd.Function):
    """The image gradient (n, c, h, w) of sum(logits * cotangent)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, cotangent: Tensor, network: GraphNetwork) -> Tensor:  # type: ignore[override]  torch says *args
        ctx.network = network
        return network.run("twin", images, cotangent)[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:  # type: ignore[override]  torch says *args
        raise ConfigError(
            f"{ctx.network.architecture}: the gradient of its gradient is asked for, and a gradient twin is not "
            "differentiable: take a method that differentiates once"
        )


def _with_features(graph: bytes) -> bytes:
    found = feature_tensors(graph)
    return with_outputs(graph, (found.penultimate, *found.taps))


def _array(tensor: Tensor) -> FloatArray:
    return np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy())
