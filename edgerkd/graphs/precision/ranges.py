"""How large the tensors of a graph become, on images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ConfigError
from edgerkd.graphs.naming import Names
from edgerkd.graphs.precision.wiring import Wiring
from edgerkd.graphs.running import runner
from edgerkd.graphs.values import Model

BATCH = 64
_FLOATS = (1, 10)  # onnx.TensorProto.FLOAT and FLOAT16


class Range(NamedTuple):
    """The least and the greatest value that a tensor took."""

    low: float
    high: float

    @property
    def magnitude(self) -> float:
        """The greatest absolute value."""
        return max(abs(self.low), abs(self.high))

    def joined(self, other: "Range") -> "Range":
        """What holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def find_ranges(graph: bytes, batches: Sequence[NDArray[np.float32]]) -> dict[str, Range]:
    """The range of each floating-point tensor that follows from `images`, over all the batches (n, c, h, w).

    What normalization makes of the images gets the range of all possible images, black to white, so that no pixel
    is clipped. The extremes themselves count, ours: what lies outside a range gives an attack no gradient.
    Raises ConfigError where the graph cannot be run, or a tensor is not finite.
    """
    import onnx

    model = onnx.load_from_string(graph)
    wiring = Wiring.of(model)
    names = _floats(model, wiring)
    run = runner(_with_extremes(model, names), where="the graph")

    def seen(images: NDArray[np.float32]) -> dict[str, Range]:
        found = [float(value) for value in run([images])]
        return {name: Range(low, high) for name, low, high in zip(names, found[0::2], found[1::2], strict=True)}

    total: dict[str, Range] = {}
    for batch in batches:
        for first in range(0, len(batch), BATCH):
            for name, found in seen(batch[first : first + BATCH]).items():
                total[name] = found.joined(total.get(name, found))
    black_and_white = np.stack([np.full(batches[0].shape[1:], level, np.float32) for level in (0, 1)])
    total |= {name: found for name, found in seen(black_and_white).items() if name in wiring.front}
    if odd := [name for name, found in total.items() if not np.isfinite(found).all()]:
        raise ConfigError(f"the graph gives values that are not finite, first in {odd[0]!r}: are its weights damaged?")
    return total


def values_of(graph: bytes, images: NDArray[np.float32], names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """What tensors of a graph hold for images (n, c, h, w). Raises ConfigError where it cannot be run."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(graph)
    del model.graph.output[:]
    free = Names(model.graph)
    for name in names:  # an input of the graph cannot be its output as well
        output = free.fresh(f"edgerkd_{name}")
        model.graph.node.append(helper.make_node("Identity", [name], [output]))
        model.graph.output.append(helper.make_empty_tensor_value_info(output))
    return dict(zip(names, runner(model, where="the graph")([images]), strict=True))


def _floats(model: Model, wiring: Wiring) -> list[str]:
    """The floating-point tensors that follow from the images, in the graph's order."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.graph.value_info, *inferred.graph.output)}
    names = [name for node in model.graph.node for name in node.output if name in wiring.varying]
    return [name for name in ("images", *names) if name == "images" or types.get(name) in _FLOATS]


def _with_extremes(model: Model, names: list[str]) -> Model:
    """The graph with the least and the greatest element of each tensor as its outputs."""
    from onnx import ModelProto, helper

    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    free = Names(copy.graph)
    for name in names:
        for op in ("ReduceMin", "ReduceMax"):
            output = free.fresh(f"edgerkd_{op}_{name}")
            copy.graph.node.append(helper.make_node(op, [name], [output], keepdims=0))
            copy.graph.output.append(helper.make_empty_tensor_value_info(output))
    return copy
