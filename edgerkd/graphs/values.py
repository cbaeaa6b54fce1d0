"""Type, shape and, of small constants and shapes, value of every tensor of a graph, for one batch size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from edgerkd.core.errors import ConfigError
from edgerkd.core.text import LONGEST_NAME, printable

Model = Any  # onnx.ModelProto; onnx is not installed on devices and is imported only when a graph is made
Graph = Any  # onnx.GraphProto
Node = Any  # onnx.NodeProto
Array = np.ndarray[Any, Any]

_SMALL = 512  # elements of a tensor whose value is followed; ours: shapes, axes and sizes have fewer
_QUANTISERS = 21  # opset in which quantisers give what they give in older ones, of which the evaluator has none
_MOST = 2**31  # elements of one tensor; ours: beyond it a file is damaged, or no image classifier


@dataclass(frozen=True, slots=True)
class Known:
    """`kind` is the number of an ONNX element type; `value` is None for what depends on pixels or is large."""

    kind: int
    shape: tuple[int, ...]
    value: Array | None = None


def label(node: Node) -> str:
    """A node for an error message: its operator, and its name or that of its output."""
    name = node.name or next(iter(node.output), "")
    return f"{printable(node.op_type, LONGEST_NAME)} node {printable(name, LONGEST_NAME)!r}"


def opset_of(model: Model) -> int:
    """The version of the standard operators; 0 where there is none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def attributes_of(node: Node) -> dict[str, Any]:  # Any: whatever an ONNX attribute holds
    """By name."""
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def initial_values(graph: Graph) -> dict[str, Known]:
    """What the graph's initializers are."""
    from onnx import numpy_helper

    found: dict[str, Known] = {}
    for tensor in graph.initializer:
        shape = tuple(tensor.dims)
        value = numpy_helper.to_array(tensor) if prod(shape) <= _SMALL else None
        found[tensor.name] = Known(tensor.data_type, shape, value)
    return found


def propagate(model: Model, inputs: dict[str, Known]) -> dict[str, Known]:
    """All tensors, given those of the graph's inputs. Raises ConfigError naming the node that cannot take its own."""
    known = initial_values(model.graph) | inputs
    opset = opset_of(model)
    for node in model.graph.node:
        known.update(node_outputs(node, known, opset))
    return known


def node_outputs(node: Node, known: dict[str, Known], opset: int) -> dict[str, Known]:
    """What one node gives. Raises ConfigError where it cannot take its inputs, or gives too much."""
    inputs = {name: known[name] for name in node.input if name}
    if node.op_type in ("Shape", "Size"):
        return {node.output[0]: _shape(node, inputs[node.input[0]])}
    found = _inferred(node, inputs, opset)
    values = {name: known.value for name, known in inputs.items() if known.value is not None}
    if len(values) < len(inputs) or any(prod(known.shape) > _SMALL for known in found.values()):
        return found
    try:
        results = outputs_of(node, values, opset)
    except Exception:  # noqa: BLE001  the evaluator raises what it likes; without a value the shape still stands
        return found
    return {name: replace(known, value=results[name]) for name, known in found.items()}


def _shape(node: Node, data: Known) -> Known:
    if node.op_type == "Size":
        value = np.asarray(prod(data.shape), np.int64)
    else:
        attributes = attributes_of(node)
        value = np.asarray(data.shape[attributes.get("start", 0) : attributes.get("end")], np.int64)
    return Known(7, value.shape, value)  # 7: int64


def _inferred(node: Node, inputs: dict[str, Known], opset: int) -> dict[str, Known]:
    """By ONNX's own shape inference, on a graph of this node alone."""
    import onnx
    from onnx import helper, numpy_helper

    outputs = [name for name in node.output if name]
    graph = helper.make_graph(
        [node],
        "node",
        [helper.make_tensor_value_info(name, k.kind, list(k.shape)) for name, k in inputs.items() if k.value is None],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(k.value, name) for name, k in inputs.items() if k.value is not None],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as e:
        reason = printable(" ".join(str(e).split()), LONGEST_NAME)
        shapes = ", ".join(str(k.shape) for k in inputs.values())
        raise ConfigError(f"{label(node)} cannot take inputs of the shapes {shapes}: {reason}") from e
    return {value.name: _checked(node, value) for value in inferred.graph.output}


def _checked(node: Node, value: Any) -> Known:  # Any: onnx.ValueInfoProto
    tensor = value.type.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape") or None in dims:
        raise ConfigError(
            f"{label(node)} has an output whose shape depends on the pixels, or is no tensor: networks like that "
            "are not supported; export the classifier alone, without what comes after it"
        )
    shape = tuple(d for d in dims if d is not None)
    if prod(shape) > _MOST or any(size < 0 for size in shape):
        raise ConfigError(
            f"{label(node)} gives a tensor of shape {shape}, more than any image classifier: is it damaged?"
        )
    return Known(tensor.elem_type, shape)


def outputs_of(node: Node, given: dict[str, Array], opset: int) -> dict[str, Array]:
    """What one node gives of these inputs, by ONNX's own evaluator. It raises what it likes."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    graph = helper.make_graph(
        [node],
        "node",
        [helper.make_empty_tensor_value_info(name) for name in given],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    opset = max(opset, _QUANTISERS) if node.op_type in ("QuantizeLinear", "DequantizeLinear") else opset
    evaluator: Any = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))
    results: Sequence[Any] = evaluator.run(None, given)
    return {name: np.asarray(value) for name, value in zip(evaluator.output_names, results, strict=True)}
