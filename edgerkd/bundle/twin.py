"""The gradient twin: an ONNX graph that maps (images, cotangent) to (logits, image gradient).

Made by reverse-mode differentiation of the student's own graph, operator by operator, so the twin
is the deployed network and not a second export of it. It runs wherever the student runs, with no
training framework. See docs/adr/0011.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerkd.core.errors import ExportError

Node = Any  # onnx.NodeProto; onnx is not installed on devices and is imported only when a twin is made
Model = Any  # onnx.ModelProto


@dataclass(slots=True)
class _Tape:
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


Rule = Callable[[_Tape, Node, dict[str, Any], str], dict[int, str]]
"""(tape, node, its attributes, gradient of its output) -> the gradient of each input that varies."""


def gradient_twin(student: bytes) -> bytes:
    """The twin of an ONNX graph with one input `images` and one output `logits`, as bytes.

    Raises ExportError for an operator that has no rule here, naming the node.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(student), strict_mode=True)
    graph = model.graph
    values = [*graph.input, *graph.value_info, *graph.output]
    tape = _Tape(
        constants={init.name: numpy_helper.to_array(init) for init in graph.initializer},
        shapes={v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values},
    )
    for node in graph.node:
        if node.op_type == "Constant":
            tape.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in ("Identity", "DequantizeLinear") and node.input[0] in tape.constants:
            # Equal weights that are stored once, and weights in int8.
            tape.constants[node.output[0]] = tape.constants[node.input[0]]

    varies = {"images"}
    for node in graph.node:
        if varies & set(node.input):
            varies |= set(node.output)
    if "logits" not in varies:
        raise ExportError("the graph's output `logits` does not depend on its input `images`")

    gradients: dict[str, list[str]] = {"logits": ["cotangent"]}
    for node in reversed(graph.node):
        if node.output[0] not in gradients:
            continue
        if node.op_type not in _RULES:
            raise ExportError(
                f"operator {node.op_type} (node {node.name or node.output[0]!r}) has no gradient rule: "
                f"the rules are {', '.join(sorted(_RULES))}"
            )
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        gradient = _total(tape, gradients.pop(node.output[0]))
        for index, part in _RULES[node.op_type](tape, node, attributes, gradient).items():
            if node.input[index] in varies:
                gradients.setdefault(node.input[index], []).append(part)

    tape.nodes.append(helper.make_node("Identity", [_total(tape, gradients["images"])], ["gradient"]))
    batch, *shape = (d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    twin = helper.make_graph(
        [*graph.node, *tape.nodes],
        "gradient_twin",
        [*graph.input, helper.make_tensor_value_info("cotangent", TensorProto.FLOAT, [batch, classes])],
        [*graph.output, helper.make_tensor_value_info("gradient", TensorProto.FLOAT, [batch, *shape])],
        [*graph.initializer, *(numpy_helper.from_array(value, name) for name, value in tape.added.items())],
    )
    result = helper.make_model(twin, opset_imports=model.opset_import, ir_version=model.ir_version)
    content = result.SerializeToString()
    checker: Any = onnx.checker  # Any: its functions are only partly typed
    checker.check_model(content, full_check=True)
    return content


def _total(tape: _Tape, parts: list[str]) -> str:
    total = parts[0]
    for part in parts[1:]:
        total = tape.emit("Add", [total, part])
    return total


def _conv(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """The transposed convolution with the same weight; its output padding restores the input's size exactly."""
    kernel = tape.constants[node.input[1]].shape[2:]
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    size, out = tape.shapes[node.input[0]][2:], tape.shapes[node.output[0]][2:]
    padding = [
        size[i] - (strides[i] * (out[i] - 1) + dilations[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2])
        for i in range(2)
    ]
    transposed = tape.emit(
        "ConvTranspose",
        [gradient, node.input[1]],
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=padding,
        group=attributes.get("group", 1),
    )
    return {0: transposed}


def _relu(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """Where the output is above zero; at zero the derivative is 0, as in torch."""
    return {0: _where(tape, "Greater", node.output[0], tape.constant(np.zeros((), np.float32)), gradient)}


def _clip(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """Where the output is strictly between the limits; at a limit the derivative is 0, as in torch's ReLU6."""
    for comparison, limit in zip(("Greater", "Less"), node.input[1:], strict=False):
        if limit:  # an empty name: no such limit
            gradient = _where(tape, comparison, node.output[0], limit, gradient)
    return {0: gradient}


def _hard_sigmoid(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """The slope `alpha` where the output is strictly between 0 and 1, else 0; `alpha` is 0.2 unless said (ONNX)."""
    slope = tape.constant(np.asarray(attributes.get("alpha", 0.2), np.float32))
    gradient = tape.emit("Mul", [gradient, slope])
    for comparison, limit in (("Greater", 0.0), ("Less", 1.0)):
        limit = tape.constant(np.asarray(limit, np.float32))
        gradient = _where(tape, comparison, node.output[0], limit, gradient)
    return {0: gradient}


def _where(tape: _Tape, comparison: str, value: str, limit: str, gradient: str) -> str:
    """The gradient where `value` compares so with `limit`, else zero."""
    zero = tape.constant(np.zeros((), np.float32))
    return tape.emit("Where", [tape.emit(comparison, [value, limit]), gradient, zero])


def _add(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    return {i: _summed(tape, node, i, gradient) for i in _varying(tape, node)}


def _sub(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    parts = {i: gradient if i == 0 else tape.emit("Neg", [gradient]) for i in _varying(tape, node)}
    return {i: _summed(tape, node, i, part) for i, part in parts.items()}


def _mul(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    parts = {i: tape.emit("Mul", [gradient, node.input[1 - i]]) for i in _varying(tape, node)}
    return {i: _summed(tape, node, i, part) for i, part in parts.items()}


def _div(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    if node.input[1] not in tape.constants:
        raise ExportError(f"node {node.name!r} divides by a value that depends on the images: no gradient rule")
    return {0: tape.emit("Div", [gradient, node.input[1]])}


def _varying(tape: _Tape, node: Node) -> list[int]:
    return [i for i, name in enumerate(node.input) if name not in tape.constants]


def _summed(tape: _Tape, node: Node, index: int, gradient: str) -> str:
    """The gradient of input `index`, which the node may have broadcast: its sum over the axes of size 1."""
    shape, out = tape.shapes[node.input[index]], tape.shapes[node.output[0]]
    if len(shape) != len(out) or shape[0] != out[0]:
        raise ExportError(f"node {node.name!r} broadcasts the batch axis of {node.input[index]!r}: no gradient rule")
    axes = [axis for axis in range(len(out)) if shape[axis] != out[axis]]
    return tape.emit("ReduceSum", [gradient, tape.constant(np.asarray(axes, np.int64))]) if axes else gradient


def _batch_norm(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """In inference mode a scale per channel."""
    scale, _, _, variance = (tape.constants[name] for name in node.input[1:5])
    factor = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return {0: tape.emit("Mul", [gradient, tape.constant(factor.astype(np.float32)[:, None, None])])}


def _reduce_mean(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    axes = [axis % len(tape.shapes[node.input[0]]) for axis in attributes["axes"]]
    if not attributes.get("keepdims", 1):
        gradient = tape.emit("Unsqueeze", [gradient, tape.constant(np.asarray(sorted(axes), np.int64))])
    return {0: _spread(tape, gradient, tape.shapes[node.input[0]], axes)}


def _global_average_pool(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    return {0: _spread(tape, gradient, tape.shapes[node.input[0]], [2, 3])}


def _spread(tape: _Tape, gradient: str, shape: tuple[int, ...], axes: Sequence[int]) -> str:
    """A mean's gradient, shared out equally over `axes`."""
    sizes = [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
    return tape.emit("Mul", [gradient, tape.constant(np.full(sizes, 1 / np.prod(sizes), np.float32))])


def _gemm(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    if attributes.get("transA", 0):
        raise ExportError(f"node {node.name!r} transposes its input: no gradient rule")
    transposed = 1 - attributes.get("transB", 0)
    return {0: tape.emit("Gemm", [gradient, node.input[1]], transB=transposed, alpha=attributes.get("alpha", 1.0))}


def _flatten(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    shape = np.asarray([-1, *tape.shapes[node.input[0]][1:]], np.int64)
    return {0: tape.emit("Reshape", [gradient, tape.constant(shape)])}


def _straight_through(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    """Rounding and clamping count as the identity: their derivative is zero almost everywhere and would mask the net.

    A quantisation and the dequantisation that follows it share their scale, so it cancels.
    Source: Bengio et al. 2013, arXiv 1308.3432, section 4; as an attack, BPDA: Athalye et al. 2018, arXiv 1802.00420.
    """
    return {0: gradient}


def _identity(tape: _Tape, node: Node, attributes: dict[str, Any], gradient: str) -> dict[int, str]:
    return {0: gradient}


_RULES: dict[str, Rule] = {
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
    "Identity": _identity,
    "Mul": _mul,
    "QuantizeLinear": _straight_through,
    "ReduceMean": _reduce_mean,
    "Relu": _relu,
    "Sub": _sub,
}
