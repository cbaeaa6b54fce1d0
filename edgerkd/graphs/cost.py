"""What a graph costs, counted on the graph itself."""

from collections.abc import Callable
from math import prod

from edgerkd.core.architecture import Cost
from edgerkd.core.errors import ExportError
from edgerkd.graphs.entry import goes_on_front
from edgerkd.graphs.values import Known, Model, Node, attributes_of, propagate

_FLOATS = (1, 10)  # onnx.TensorProto.FLOAT and FLOAT16
_FLOAT = 4  # bytes of a float32


def count_graph_cost(graph: bytes) -> Cost:
    """The cost for one image of a graph from `images` (batch, c, h, w).

    `params` counts the learned weights: floating-point constants of more than one value that meet what follows from the
    images, but for statistics of batch norms and the normalization of the images, which are not learned.
    `macs` is of convolutions, linear maps and products of matrices. `file_bytes` is 4 for each weight. `peak_bytes` is
    `file_bytes` and what the tensors hold, in float32, at the node where most are still needed, each freed after its
    last use: what an engine needs that reuses memory and fuses nothing. Ours. Raises ExportError for a graph without
    such an input.
    """
    import onnx

    model = onnx.load_from_string(graph)
    inputs = [value for value in model.graph.input if value.name == "images"]
    if len(inputs) != 1:
        raise ExportError("the graph has no input `images`, so its cost cannot be counted")
    shape = (1, *(d.dim_value for d in inputs[0].type.tensor_type.shape.dim[1:]))
    known = propagate(model, {"images": Known(1, shape)})
    weights = _weights(model, known)
    params = sum(prod(known[name].shape) for name in weights)
    macs = sum(_MACS[node.op_type](node, known) for node in model.graph.node if node.op_type in _MACS)
    file_bytes = _FLOAT * params
    return Cost(
        params=max(1, params),
        macs=macs,
        file_bytes=max(1, file_bytes),
        peak_bytes=max(1, file_bytes + _FLOAT * _largest_held(model, known)),
    )


def _weights(model: Model, known: dict[str, Known]) -> set[str]:
    """Their names."""
    varies, front, found = {"images"}, {"images"}, set[str]()
    for node in model.graph.node:
        changing = varies & set(node.input)
        if not changing:
            continue
        normalises = goes_on_front(node, varies, front)
        varies.update(node.output)
        if normalises:
            front.update(node.output)
            continue
        learned = node.input[:3] if node.op_type == "BatchNormalization" else node.input  # then its statistics
        found |= {name for name in learned if name and name not in changing and _is_weight(known[name])}
    return found


def _is_weight(found: Known) -> bool:
    return found.kind in _FLOATS and prod(found.shape) > 1


def _largest_held(model: Model, known: dict[str, Known]) -> int:
    """Elements of the tensors that follow from the images, at the node at which most are held."""
    nodes = model.graph.node
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    last |= dict.fromkeys((value.name for value in model.graph.output), len(nodes))
    held, most = {"images": prod(known["images"].shape)}, 0
    for index, node in enumerate(nodes):
        if not held.keys() & set(node.input):
            continue
        held |= {name: prod(known[name].shape) for name in node.output if name in last}
        most = max(most, sum(held.values()))
        held = {name: size for name, size in held.items() if last.get(name, -1) > index}
    return most


def _conv(node: Node, known: dict[str, Known]) -> int:
    """Of each output element: the kernel of one group. The weight is (out, in / group, ...)."""
    return prod(known[node.output[0]].shape) * prod(known[node.input[1]].shape[1:])


def _conv_transpose(node: Node, known: dict[str, Known]) -> int:
    """Of each input element: the kernel of one group. The weight is (in, out / group, ...)."""
    return prod(known[node.input[0]].shape) * prod(known[node.input[1]].shape[1:])


def _gemm(node: Node, known: dict[str, Known]) -> int:
    a = known[node.input[0]].shape
    return prod(known[node.output[0]].shape) * a[0 if attributes_of(node).get("transA", 0) else 1]


def _matmul(node: Node, known: dict[str, Known]) -> int:
    return prod(known[node.output[0]].shape) * known[node.input[0]].shape[-1]


_MACS: dict[str, Callable[[Node, dict[str, Known]], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
