"""Reverse mode for ONNX: one rule an operator, from the gradient of its output to those of its inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from edgerkd.core.errors import ExportError

Node = Any  # onnx.NodeProto; onnx is not installed on devices and is imported only when a twin is made
_FLOAT = 1  # onnx.TensorProto.FLOAT


@dataclass(slots=True)
class Tape:
    """The graph as it grows backwards. `shapes` has 0 for the batch axis."""

    constants: dict[str, np.ndarray[Any, Any]]
    """What does not vary; of a dequantised weight the integers, for only its shape is asked for."""
    shapes: dict[str, tuple[int, ...]]
    nodes: list[Node] = field(default_factory=list[Node])
    added: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict[str, np.ndarray[Any, Any]])

    def emit(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:  # Any: whatever an ONNX attribute holds
        """Add one node; the name of its output."""
        from onnx import helper

        output = f"grad_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, value: np.ndarray[Any, Any]) -> str:
        """Add one constant; its name."""
        name = f"grad_constant_{len(self.added)}"
        self.added[name] = value
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Add axes, sizes or places; their name."""
        return self.constant(np.asarray(values, np.int64))


Rule = Callable[[Tape, Node, dict[str, Any], str], dict[int, str]]
"""(tape, node, its attributes, gradient of its output) -> the gradient of each input that varies."""


def _conv(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """The transposed convolution with the same weight; its output padding restores the input's size exactly."""
    weight = node.input[1]
    kernel, group = tape.constants[weight].shape[2:], attributes.get("group", 1)
    return {0: _to_windows(tape, node, attributes, gradient, weight, kernel, group)}


def _max_pool(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """A window's gradient goes to its largest element, in equal parts to equal ones, where torch takes the first.

    Elements are cut out and not convolved out: they must equal the output bit by bit. One-hot kernels put them back.
    """
    if attributes.get("ceil_mode", 0):
        raise ExportError(f"node {node.name!r} rounds its output's size up: no gradient rule")
    kernel: list[int] = attributes["kernel_shape"]
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    _, channels, *out = tape.shapes[node.output[0]]
    around = tape.integers([0, 0, top, left, 0, 0, bottom, right])
    padded = tape.emit("Pad", [node.input[0], around, tape.constant(np.asarray(np.finfo(np.float32).min))])
    axes, steps = tape.integers([2, 3]), tape.integers(strides)
    hits: list[str] = []
    for place in product(*map(range, kernel)):
        starts = [place[i] * dilations[i] for i in range(2)]
        ends = [starts[i] + strides[i] * (out[i] - 1) + 1 for i in range(2)]
        element = tape.emit("Slice", [padded, tape.integers(starts), tape.integers(ends), axes, steps])
        hits.append(tape.emit("Cast", [tape.emit("Equal", [element, node.output[0]])], to=_FLOAT))
    share = tape.emit("Div", [gradient, tape.emit("Sum", hits)])
    window = tape.integers([2])
    parts = [tape.emit("Unsqueeze", [tape.emit("Mul", [hit, share]), window]) for hit in hits]
    shape = tape.integers([-1, channels * len(hits), *out])
    together = tape.emit("Reshape", [tape.emit("Concat", parts, axis=2), shape])
    one_hot = np.tile(np.eye(len(hits), dtype=np.float32), (channels, 1))
    put = tape.constant(np.reshape(one_hot, (-1, 1, *kernel)))
    return {0: _to_windows(tape, node, attributes, together, put, kernel, channels)}


def _to_windows(
    tape: Tape,
    node: Node,
    attributes: dict[str, Any],
    gradient: str,
    weight: str,
    kernel: Sequence[int],
    group: int,
) -> str:
    """The convolution with `weight`, of this kernel and the node's windows, transposed."""
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    size, out = tape.shapes[node.input[0]][2:], tape.shapes[node.output[0]][2:]
    padding = [
        size[i] - (strides[i] * (out[i] - 1) + dilations[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2])
        for i in range(2)
    ]
    return tape.emit(
        "ConvTranspose",
        [gradient, weight],
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=padding,
        group=group,
    )


def _relu(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """Where the output is above zero; at zero the derivative is 0, as in torch."""
    return {0: _where(tape, "Greater", node.output[0], tape.constant(np.zeros((), np.float32)), gradient)}


def _clip(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """Where the output is strictly between the limits; at a limit the derivative is 0, as in torch's ReLU6."""
    for comparison, limit in zip(("Greater", "Less"), node.input[1:], strict=False):
        if limit:  # an empty name: no such limit
            gradient = _where(tape, comparison, node.output[0], limit, gradient)
    return {0: gradient}


def _hard_sigmoid(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """`alpha` is 0.2 unless said (ONNX)."""
    return {0: _slope(tape, node.output[0], attributes.get("alpha", 0.2), gradient)}


def _hard_swish(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """The product rule for x and its hard sigmoid of slope 1/6."""
    x = node.input[0]
    gate = tape.emit("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
    direct, gated = tape.emit("Mul", [gradient, gate]), tape.emit("Mul", [gradient, x])
    return {0: tape.emit("Add", [direct, _slope(tape, gate, 1 / 6, gated)])}


def _slope(tape: Tape, ramp: str, slope: float, gradient: str) -> str:
    """The gradient through a hard sigmoid of this output: its slope strictly between 0 and 1, else 0."""
    gradient = tape.emit("Mul", [gradient, tape.constant(np.asarray(slope, np.float32))])
    for comparison, limit in (("Greater", 0.0), ("Less", 1.0)):
        gradient = _where(tape, comparison, ramp, tape.constant(np.asarray(limit, np.float32)), gradient)
    return gradient


def _sigmoid(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """y (1 - y)."""
    one = tape.constant(np.ones((), np.float32))
    y = node.output[0]
    return {0: tape.emit("Mul", [gradient, tape.emit("Mul", [y, tape.emit("Sub", [one, y])])])}


def _where(tape: Tape, comparison: str, value: str, limit: str, gradient: str) -> str:
    """The gradient where `value` compares so with `limit`, else zero."""
    zero = tape.constant(np.zeros((), np.float32))
    return tape.emit("Where", [tape.emit(comparison, [value, limit]), gradient, zero])


def _add(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    return {i: _summed(tape, node, i, gradient) for i in _varying(tape, node)}


def _sub(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    parts = {i: gradient if i == 0 else tape.emit("Neg", [gradient]) for i in _varying(tape, node)}
    return {i: _summed(tape, node, i, part) for i, part in parts.items()}


def _mul(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    parts = {i: tape.emit("Mul", [gradient, node.input[1 - i]]) for i in _varying(tape, node)}
    return {i: _summed(tape, node, i, part) for i, part in parts.items()}


def _div(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    if node.input[1] not in tape.constants:
        raise ExportError(f"node {node.name!r} divides by a value that depends on the images: no gradient rule")
    return {0: tape.emit("Div", [gradient, node.input[1]])}


def _varying(tape: Tape, node: Node) -> list[int]:
    return [i for i, name in enumerate(node.input) if name not in tape.constants]


def _summed(tape: Tape, node: Node, index: int, gradient: str) -> str:
    """The gradient of input `index`, which the node may have broadcast: its sum over the axes of size 1."""
    shape, out = tape.shapes[node.input[index]], tape.shapes[node.output[0]]
    if len(shape) != len(out) or shape[0] != out[0]:
        raise ExportError(f"node {node.name!r} broadcasts the batch axis of {node.input[index]!r}: no gradient rule")
    axes = [axis for axis in range(len(out)) if shape[axis] != out[axis]]
    return tape.emit("ReduceSum", [gradient, tape.integers(axes)]) if axes else gradient


def _batch_norm(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """In inference mode a scale per channel."""
    scale, _, _, variance = (tape.constants[name] for name in node.input[1:5])
    factor = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return {0: tape.emit("Mul", [gradient, tape.constant(factor.astype(np.float32)[:, None, None])])}


def _reduce_mean(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    axes = [axis % len(tape.shapes[node.input[0]]) for axis in attributes["axes"]]
    if not attributes.get("keepdims", 1):
        gradient = tape.emit("Unsqueeze", [gradient, tape.integers(sorted(axes))])
    return {0: _spread(tape, gradient, tape.shapes[node.input[0]], axes)}


def _global_average_pool(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    return {0: _spread(tape, gradient, tape.shapes[node.input[0]], [2, 3])}


def _spread(tape: Tape, gradient: str, shape: tuple[int, ...], axes: Sequence[int]) -> str:
    """A mean's gradient, shared out equally over `axes`."""
    sizes = [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
    return tape.emit("Mul", [gradient, tape.constant(np.full(sizes, 1 / np.prod(sizes), np.float32))])


def _gemm(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    if attributes.get("transA", 0):
        raise ExportError(f"node {node.name!r} transposes its input: no gradient rule")
    transposed = 1 - attributes.get("transB", 0)
    return {0: tape.emit("Gemm", [gradient, node.input[1]], transB=transposed, alpha=attributes.get("alpha", 1.0))}


def _flatten(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    shape = tape.integers([-1, *tape.shapes[node.input[0]][1:]])
    return {0: tape.emit("Reshape", [gradient, shape])}


def _straight_through(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """Rounding and clamping count as the identity: their derivative is zero almost everywhere and would mask the net.

    A quantisation and the dequantisation that follows it share their scale, so it cancels.
    Source: Bengio et al. 2013, arXiv 1308.3432, section 4; as an attack, BPDA: Athalye et al. 2018, arXiv 1802.00420.
    """
    return {0: gradient}


def _identity(tape: Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    return {0: gradient}


RULES: dict[str, Rule] = {
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _conv,
    "DequantizeLinear": _straight_through,
    "Div": _div,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _identity,
    "MaxPool": _max_pool,
    "Mul": _mul,
    "QuantizeLinear": _straight_through,
    "ReduceMean": _reduce_mean,
    "Relu": _relu,
    "Sigmoid": _sigmoid,
    "Sub": _sub,
}
