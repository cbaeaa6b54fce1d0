"""What is known of each tensor of a graph before it runs: its type, its shape and, where it is constant, its value."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ExportError
from edgerkd.graphs.values import Model, Node, opset_of, outputs_of

_BATCHES = (1009, 1013)  # two primes that no network has as a size
_LARGEST = 10_000  # elements: larger constants are weights, whose values no shape depends on


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """By the name of each tensor, what is known of it."""

    shapes: dict[str, tuple[int, ...]]
    """Sizes by axis; -k stands for k times the batch size."""
    types: dict[str, int]
    """onnx.TensorProto.DataType."""
    values: dict[str, NDArray[Any]]
    """Small tensors that are equal for every batch size."""


@dataclass(slots=True)
class _Trial:
    """The graph at one batch size, at which every shape is a number."""

    types: dict[str, Any] = field(default_factory=dict[str, Any])
    values: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])


def facts_of(model: Model) -> Facts:
    """Types, shapes and constants of a graph, found by trying two batch sizes.

    At a given batch size all arithmetic on shapes is constant, so it is evaluated and not reasoned about. A size that
    grows in proportion to the batch is a multiple of it. Tensors of operators unknown to ONNX are left out.
    Raises ExportError for an image whose size is not fixed, and a size that depends on the batch in another way.
    """
    first, second = (_try(model, batch) for batch in _BATCHES)
    shapes: dict[str, tuple[int, ...]] = {}
    for name in first.types.keys() & second.types.keys():
        one, other = _sizes(first.types[name]), _sizes(second.types[name])
        if one is not None and other is not None and len(one) == len(other):
            shapes[name] = tuple(_size(name, *pair) for pair in zip(one, other, strict=True))
    return Facts(
        shapes=shapes,
        types={name: kind.tensor_type.elem_type for name, kind in first.types.items()},
        values={
            name: value
            for name, value in first.values.items()
            if name in second.values and _same(value, second.values[name])
        },
    )


def _size(name: str, one: int, other: int) -> int:
    """The size of an axis that is `one` and `other` at the two batch sizes."""
    if one == other:
        return one
    times = (other - one) // (_BATCHES[1] - _BATCHES[0])
    if (times * _BATCHES[0], times * _BATCHES[1]) != (one, other):
        raise ExportError(f"the shape of {name!r} depends on the batch size other than in proportion to it")
    return -times


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _sizes(kind: Any) -> tuple[int, ...] | None:
    """The shape that an onnx.TypeProto holds; None where it is not known."""
    if not kind.tensor_type.HasField("shape"):
        return None
    dimensions = kind.tensor_type.shape.dim
    return tuple(d.dim_value for d in dimensions) if all(d.HasField("dim_value") for d in dimensions) else None


def _try(model: Model, batch: int) -> _Trial:
    from onnx import helper, numpy_helper

    trial = _Trial()
    for initializer in model.graph.initializer:
        trial.types[initializer.name] = helper.make_tensor_type_proto(initializer.data_type, initializer.dims)
        if np.prod(initializer.dims) <= _LARGEST:
            trial.values[initializer.name] = numpy_helper.to_array(initializer)
    for value in model.graph.input:
        if value.name not in trial.types:
            trial.types[value.name] = _input_type(value, batch)
    for node in model.graph.node:
        _visit(trial, model, node)
    return trial


def _input_type(value: Any, batch: int) -> Any:
    from onnx import helper

    tensor = value.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
    if not sizes or any(size < 1 for size in sizes[1:]):
        raise ExportError(f"the input {value.name!r} must have a fixed size beside its batch axis, it has {sizes}")
    return helper.make_tensor_type_proto(tensor.elem_type, [sizes[0] or batch, *sizes[1:]])


def _visit(trial: _Trial, model: Model, node: Node) -> None:
    """Types of the node's outputs and, where its inputs are small constants, their values."""
    from onnx import defs

    if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, ""):
        return
    names = [name for name in node.input if name]
    if any(name not in trial.types for name in names):
        return
    known = {name: trial.values[name] for name in names if name in trial.values}
    trial.types.update(_infer(trial, model, node, known))
    if node.op_type == "Shape":
        sizes = _sizes(trial.types[names[0]])
        if sizes is not None:
            known[names[0]] = np.broadcast_to(np.float32(0), sizes)
    if all(name in known for name in names) and all(_small(trial.types.get(name)) for name in node.output if name):
        _evaluate(trial, node, known, opset_of(model))


def _infer(trial: _Trial, model: Model, node: Node, known: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The types of the node's outputs."""
    from onnx import checker, defs, numpy_helper, shape_inference

    infer: Any = shape_inference.infer_node_outputs  # Any: its parameters are only partly typed
    try:
        found: dict[str, Any] = infer(
            defs.get_schema(node.op_type, opset_of(model), ""),
            node,
            {name: trial.types[name] for name in node.input if name},
            {name: numpy_helper.from_array(value, name) for name, value in known.items()},
            opset_imports=list(model.opset_import),
            ir_version=model.ir_version,
        )
    except (shape_inference.InferenceError, checker.ValidationError) as e:
        raise ExportError(f"{node.op_type} (node {node.name or node.output[0]!r}) is not valid: {e}") from e
    return {name: kind for name, kind in found.items() if name}


def _small(kind: Any) -> bool:
    sizes = None if kind is None else _sizes(kind)
    return sizes is not None and int(np.prod(sizes)) <= _LARGEST


_RESHAPES = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")


def _evaluate(trial: _Trial, node: Node, given: dict[str, NDArray[Any]], opset: int) -> None:
    """The values of the node's outputs. What arithmetic on shapes has most of is quick, and not left to onnx."""
    name = node.output[0]
    if node.op_type in _RESHAPES:
        trial.values[name] = np.reshape(given[node.input[0]], _sizes(trial.types[name]) or ())
    elif node.op_type == "Shape" and not node.attribute:
        trial.values[name] = np.asarray(given[node.input[0]].shape, np.int64)
    elif node.op_type == "Concat":
        axis: int = node.attribute[0].i
        trial.values[name] = np.concatenate([given[part] for part in node.input], axis)
    else:
        trial.values |= outputs_of(node, given, opset)
