"""A graph's scores: which tensor they are, and what stands between them and logits."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgerkd.core.adoption import Ending
from edgerkd.core.errors import ConfigError
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.graphs.values import Graph, Known, Node, attributes_of

_FLOATS = (1, 10)  # onnx.TensorProto.FLOAT and FLOAT16
_PASSING = ("Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Dropout")


def choose_output(
    graph: Graph, known: dict[str, Known], output: str | None, called: Mapping[str, str], where: str
) -> str:
    """The name of the scores: `output`, or the only output. Raises ConfigError listing them all where that is open.

    `called` has the names that renamed tensors have in the user's file.
    """
    names = [value.name for value in graph.output]
    listed = ", ".join(
        f"{printable(called.get(name, name), LONGEST_NAME)} {known[name].shape if name in known else '(?)'}"
        for name in names[:20]
    )
    if output is None and len(names) > 1:
        raise ConfigError(
            f"{where}: it has {len(names)} outputs, {listed}: name the class scores with --output NAME "
            "(detection and other networks with several outputs are not supported)"
        )
    name = names[0] if output is None else output
    if name not in known:
        raise ConfigError(f"{where}: it has no tensor {printable(name, LONGEST_NAME)!r}: its outputs are {listed}")
    return name


def check_scores(name: str, found: Known, where: str) -> int:
    """The number of classes of scores of this shape. Raises ConfigError for what are no class scores."""
    shown, (_, *rest) = printable(name, LONGEST_NAME), found.shape or (1,)
    classes = max(rest, default=0)
    if found.kind == 11:
        raise ConfigError(f"{where}: output {shown!r} is float64: export the model in float32 (model.float())")
    if found.kind not in _FLOATS:
        raise ConfigError(
            f"{where}: output {shown!r} holds no scores, but numbers of type {_kind(found.kind)}: name the class "
            "scores with --output NAME"
        )
    if not rest or sum(size != 1 for size in rest) > 1:
        raise ConfigError(
            f"{where}: output {shown!r} has the shape {found.shape}, and class scores (n, k) are expected: detection, "
            "segmentation and text networks are not supported; name another tensor with --output NAME"
        )
    return classes


def _kind(number: int) -> str:
    from onnx import helper

    try:
        return str(helper.tensor_dtype_to_np_dtype(number))
    except KeyError:
        return str(number)


def strip_ending(graph: Graph, known: dict[str, Known], name: str) -> tuple[str, Ending | None]:
    """The logits before a final softmax, log-softmax or sigmoid, and which of them it was; without one, `name`."""
    makers: dict[str, Node] = {output: node for node in graph.node for output in node.output}
    place = name
    while place in makers and makers[place].op_type in _PASSING:
        place = makers[place].input[0]
    if place not in makers or place not in known:
        return name, None
    node, shape = makers[place], known[place].shape
    found: tuple[str, Ending] | None = None
    if node.op_type == "Sigmoid":
        found = node.input[0], "binary_sigmoid" if check_width(shape) == 1 else "sigmoid"
    elif node.op_type in ("Softmax", "LogSoftmax") and _over_classes(node, shape):
        found = node.input[0], "softmax" if node.op_type == "Softmax" else "log_softmax"
    elif node.op_type == "Div" and (scores := _decomposed(node, makers, shape)) is not None:
        found = scores, "softmax"
    return (name, None) if found is None else found


def check_width(shape: tuple[int, ...]) -> int:
    """The number of scores an image."""
    return int(np.prod(shape[1:]))


def _over_classes(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether a softmax goes over all that one image has; before opset 13 it goes over all axes from its own on."""
    axis = attributes_of(node).get("axis")
    axis = (1 if axis is None and len(shape) == 2 else -1 if axis is None else axis) % max(1, len(shape))
    return axis > 0 and (shape[axis] == check_width(shape) or int(np.prod(shape[axis:])) == check_width(shape))


def _decomposed(division: Node, makers: dict[str, Node], shape: tuple[int, ...]) -> str | None:
    """The scores z of exp(z) / sum(exp(z)), or of the same with the largest taken off first."""
    top, below = makers.get(division.input[0]), makers.get(division.input[1])
    if top is None or below is None or top.op_type != "Exp" or below.op_type not in ("ReduceSum", "ReduceL1"):
        return None
    if below.input[0] != top.output[0] or len(shape) != 2:
        return None
    inner = makers.get(top.input[0])
    if inner is not None and inner.op_type == "Sub":
        largest = makers.get(inner.input[1])
        if largest is not None and largest.op_type == "ReduceMax" and largest.input[0] == inner.input[0]:
            return str(inner.input[0])
    return str(top.input[0])


def prune(graph: Graph, output: str) -> None:
    """Drop every node and weight that the tensor `output` does not depend on, and dropout, which does nothing."""
    from onnx import helper

    needed, kept = {output}, list[Node]()
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            continue
        if node.op_type == "Dropout":
            node = helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name)
        kept.append(node)
        needed.update(name for name in node.input if name)
    weights: list[Any] = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)
