"""Which tensors of a graph distillation compares: the last maps of its stages, and what its last layer reads."""

from dataclasses import dataclass
from typing import Any

from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.graphs.values import Known, propagate

IMAGES, LOGITS = "images", "logits"

_WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
"""What reads and writes maps (batch, c, h, w), by its definition in ONNX."""
_MOVING = ("Transpose", "Reshape", "MatMul", "Gemm", "Einsum")
"""After these the axes may be others, whatever the shape is."""
_LINEAR = ("Conv", "BatchNormalization", "Add", "Sub", "Mul", "Div", "Identity", "Cast", "Pad", "Resize", "Transpose")
"""Of images and constants these make what is linear in the images: a patch embedding is no stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTensors:
    """`taps`, the finest first, are maps (batch, c, h, w); `penultimate` is of any shape that begins with the batch."""

    taps: tuple[str, ...]
    penultimate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphEnds:
    """A graph maps float images (batch, *image_shape) to logits (batch, classes)."""

    image_shape: tuple[int, int, int]
    classes: int


def graph_ends(graph: bytes) -> GraphEnds:
    """What a graph takes and gives.

    Raises ArtefactError unless it has one input `images` (batch, c, h, w) and one output `logits` (batch, classes),
    both float32, for any batch, and holds all its weights itself.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(graph)
    except (DecodeError, ValueError) as e:
        raise ArtefactError(f"not a readable ONNX graph: {e}") from e
    ends = {value.name: value.type.tensor_type for value in (*model.graph.input, *model.graph.output)}
    shapes = {name: tuple(dim.dim_value for dim in kind.shape.dim) for name, kind in ends.items()}
    floats = all(kind.elem_type == onnx.TensorProto.FLOAT for kind in ends.values())
    known = {name: [size > 0 for size in shape] for name, shape in shapes.items()}
    if not floats or known != {IMAGES: [False, True, True, True], LOGITS: [False, True]}:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ArtefactError(
            "not a graph that edgerkd made: expected float32 `images` (batch, c, h, w) to `logits` (batch, classes), "
            f"and found {found or 'nothing'}"
        )
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise ArtefactError("its weights are in other files: expected a graph that holds them itself")
    _, channels, height, width = shapes[IMAGES]
    return GraphEnds(image_shape=(channels, height, width), classes=shapes[LOGITS][1])


def feature_tensors(graph: bytes) -> FeatureTensors:
    """The taps and the penultimate tensor of a graph from `images` to `logits`. The choice is ours.

    A tap is the last map at its resolution, above 1 x 1, that all of the graph goes through: the end of a stage, with
    its activation; where nothing is, the last map. A map is what a convolution or a pooling reads or writes, or what
    keeps the shape of one. What is linear in the images is no tap. A graph whose tensors are not (batch, c, h, w), such
    as a transformer, has none. The penultimate tensor is what the last linear map or convolution is applied to.
    Raises ConfigError where there is no such layer.
    """
    import onnx

    model = onnx.load_from_string(graph)
    images = model.graph.input[0].type.tensor_type
    one = (1, *(dim.dim_value for dim in images.shape.dim[1:]))
    shapes = {name: found.shape for name, found in propagate(model, {IMAGES: Known(images.elem_type, one)}).items()}
    nodes = _road(model.graph)
    varies = {IMAGES, *(name for node in nodes for name in node.output)}
    maps, waists = _maps(nodes, shapes, varies) - _linear(nodes, varies), _waists(nodes)
    last: dict[tuple[int, ...], str] = {}
    for name in (node.output[0] for node in nodes):
        size = shapes.get(name, ())[2:]
        if name in maps and len(size) == 2 and min(size) > 1 and (name in waists or last.get(size) not in waists):
            last.pop(size, None)  # so that taps are in the order of the graph
            last[size] = name
    taps = sorted(last, key=lambda size: -size[0] * size[1])
    return FeatureTensors(taps=tuple(last[size] for size in taps), penultimate=_penultimate(nodes, varies))


def with_outputs(graph: bytes, names: tuple[str, ...]) -> bytes:
    """The same graph with the tensors `names` as float32 outputs after `logits`, in their order."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(graph)
    for index, name in enumerate(names):
        output = f"edgerkd_feature_{index}"
        model.graph.node.append(helper.make_node("Cast", [name], [output], name=output, to=TensorProto.FLOAT))
        model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    return model.SerializeToString()


def _road(graph: Any) -> list[Any]:  # Any: onnx.GraphProto, onnx.NodeProto
    """The nodes between `images` and `logits`, in their order."""
    varies, needed = {IMAGES}, {LOGITS}
    for node in graph.node:
        if varies & set(node.input):
            varies |= set(node.output)
    found: list[Any] = []
    for node in reversed(graph.node):
        if needed & set(node.output) and varies & set(node.output):
            needed |= set(node.input)
            found.append(node)
    return found[::-1]


def _maps(nodes: list[Any], shapes: dict[str, tuple[int, ...]], varies: set[str]) -> set[str]:
    windowed = [node for node in nodes if node.op_type in _WINDOWED and len(shapes.get(node.output[0], ())) == 4]
    maps = {name for node in windowed for name in (node.input[0], node.output[0])}
    for node in nodes:
        if node.op_type in _MOVING:
            continue
        before = [shapes[name] for name in node.input if name in maps]
        joined = node.op_type == "Concat" and len(before) == sum(name in varies for name in node.input)
        sizes = {shape[2:] for shape in before} if joined else {shape[1:] for shape in before}
        if shapes.get(node.output[0], ())[2 if joined else 1 :] in sizes:
            maps.add(node.output[0])
    return maps


def _linear(nodes: list[Any], varies: set[str]) -> set[str]:
    linear = {IMAGES}
    for node in nodes:
        inputs = [name for name in node.input if name in varies]
        product = node.op_type in ("Mul", "Div") and len(inputs) > 1
        if node.op_type in _LINEAR and not product and linear.issuperset(inputs):
            linear |= set(node.output)
    return linear


def _waists(nodes: list[Any]) -> set[str]:
    """The tensors that every path from `images` to `logits` goes through."""
    last_use = {name: index for index, node in enumerate(nodes) for name in node.input}
    found: set[str] = set()
    open_until = last_use[IMAGES]
    for index, node in enumerate(nodes):
        if open_until <= index:  # of all that there was before, nothing is used after this node
            found.add(node.output[0])
        open_until = max(open_until, *(last_use.get(name, index) for name in node.output))
    return found


def _penultimate(nodes: list[Any], varies: set[str]) -> str:
    for node in reversed(nodes):
        if node.op_type in ("MatMul", "Gemm", "Conv"):
            found = [name for name in node.input if name in varies]
            return found[0]
    raise ConfigError(
        "the graph has no linear map and no convolution before its logits: there are no features to compare"
    )
