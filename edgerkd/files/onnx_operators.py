"""What an ONNX graph may ask of a runtime: an allow-list, looked at before any runtime sees the graph.

A graph is somebody else's program. Allowed is what classifiers and their gradient twins are made of: operators on
numeric tensors that give the same answer every time, whose shapes follow from the shapes of the images and never from
their pixels. So there are no loops, no branches, no chance, no text, no other files, no operators of one runtime only.
Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Iterator
from math import prod

from edgerkd.core.errors import ArtefactError, problems_text
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.paths import shown
from edgerkd.files.protobuf import Message, message, numbers, strings

ALLOWED = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "ArgMax",
        "ArgMin",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "CastLike",
        "Ceil",
        "Celu",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "ConvTranspose",
        "Cos",
        "CumSum",
        "DepthToSpace",
        "DequantizeLinear",
        "Div",
        "Dropout",
        "Einsum",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "EyeLike",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Greater",
        "GreaterOrEqual",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "LRN",
        "LayerNormalization",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "MatMul",
        "Max",
        "MaxPool",
        "Mean",
        "MeanVarianceNormalization",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "NonZero",
        "Not",
        "OneHot",
        "Or",
        "PRelu",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "Range",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Resize",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Selu",
        "Shape",
        "Sigmoid",
        "Sign",
        "Sin",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
        "SpaceToDepth",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "ThresholdedRelu",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Upsample",
        "Where",
        "Xor",
    ]
)
"""Operators with a gradient rule (graphs/rules), those that twins are made of, and those of arithmetic on shapes."""

SHAPING: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Expand", "OneHot", "Reshape", "Split", "Squeeze", "TopK", "Unsqueeze", "Upsample"), (1,)),
    **dict.fromkeys(("CumSum", "Trilu"), (1,)),
    **{
        f"Reduce{name}": (1,)
        for name in ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
    },
    "ConstantOfShape": (0,),
    "NonZero": (0,),
    "Tile": (1, 2),
    "Dropout": (1, 2),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
}
"""Inputs that decide a shape, or which axis is meant: pixels may not."""

NUMERIC = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22))
"""TensorProto.DataType without text (8) and complex numbers (14, 15)."""

MOST_NODES = 100_000
"""Ours: the twin of a Swin V2 with 48 blocks has fewer than 20,000."""

_TYPES_OF_GRAPHS = (6, 11)  # fields of AttributeProto
_MOST_NAMED = 10


def check_operators(onnx: bytes, *, where: str) -> None:
    """Whether a graph may be shown to a runtime. Raises ArtefactError, which names every node that may not be there.

    Costs some microseconds a node; weights are not read.
    """
    try:
        problems = list(_problems(message(memoryview(onnx))))
    except (IndexError, ValueError) as e:
        raise ArtefactError(f"{shown(where)}: not an ONNX graph, or damaged: {e}") from e
    if problems:
        raise ArtefactError(problems_text(f"{shown(where)}: refused", problems[:_MOST_NAMED], of=len(problems)))


def _problems(model: Message) -> Iterator[str]:
    for name, number in (("functions of its own", 25), ("training", 20)):
        if model.get(number):
            yield f"it holds {name}: export the model for inference, with standard operators alone"
    graph: Message = {}
    for part in map(message, strings(model, 7)):  # a message in several parts is one message to every reader
        for number, values in part.items():
            graph.setdefault(number, []).extend(values)
    yield from _graph_problems(graph)


def _graph_problems(graph: Message) -> Iterator[str]:
    nodes = strings(graph, 1)
    if len(nodes) > MOST_NODES:
        yield f"it has {len(nodes):,} nodes, and at most {MOST_NODES:,} are allowed"
        return
    if graph.get(15):
        yield "it has sparse weights, which are not allowed"
    weights = [message(part) for part in strings(graph, 5)]
    for tensor in weights:
        if problem := _tensor_problem(tensor):
            yield f"weight {_shown(_text(tensor, 8))} {problem}"
    ends = [message(part) for number in (11, 12) for part in strings(graph, number)]
    for end in ends:
        if not all(set(message(kind)) <= {1, 6} for kind in strings(end, 2)):  # of TypeProto: a tensor; a denotation
            yield f"{_shown(_text(end, 1))} is no tensor"
    constant = {_text(tensor, 8): tensor for tensor in weights}
    varying = {_text(message(part), 1) for part in strings(graph, 11)} - set(constant)
    for part in nodes:
        yield from _node_problems(message(part), constant, varying)


def _node_problems(node: Message, constant: dict[bytes, Message], varying: set[bytes]) -> Iterator[str]:
    """`constant` tensors and those that are `varying` with the pixels, by name: the node's own are added."""
    kind, inputs, outputs = _text(node, 4).decode(errors="replace"), *([*map(bytes, strings(node, i))] for i in (1, 2))
    name = f"{_shown(kind)} node {_shown(_text(node, 3) or (outputs or [b''])[0])}"
    domain, attributes = _text(node, 7), [message(part) for part in strings(node, 5)]
    if domain not in (b"", b"ai.onnx"):
        yield f"{name} is of {_shown(domain)}, not a standard ONNX operator"
    elif len(strings(node, 4)) != 1 or kind not in ALLOWED:
        yield f"{name} is not allowed: it is not an operator of a classifier that always gives the same answer"
    for attribute in attributes:
        if problem := _attribute_problem(attribute, kind):
            yield f"{name} {problem}"
    if kind == "Constant":
        constant.update((output, tensor) for output in outputs for tensor in _tensors(attributes))
    if kind == "Dropout" and any(_may_be_true(constant.get(given)) for given in inputs[2:] if given):
        yield f"{name} is in training mode, and random"
    if any(given in varying for place in SHAPING.get(kind, ()) for given in inputs[place : place + 1]):
        yield f"{name} takes a shape or an axis from pixels"
    if kind not in ("Shape", "Size") and varying.intersection(inputs):
        varying.update(outputs)


def _attribute_problem(attribute: Message, kind: str) -> str | None:
    name = _text(attribute, 1)
    if any(number in attribute for number in _TYPES_OF_GRAPHS):
        return "holds a graph of its own, which is control flow"
    if any(number in attribute for number in (21, 22, 23)):
        return f"has an attribute {_shown(name)} that is sparse, or a function's"
    if any(len(attribute.get(number, [])) > 1 for number in (1, 3, 5)):  # readers differ in which of them counts
        return f"has an attribute {_shown(name)} that stands twice"
    if kind == "BatchNormalization" and name == b"training_mode" and any(numbers(attribute, 3)):
        return "is in training mode"
    if name in (b"to", b"dtype") and not NUMERIC.issuperset(numbers(attribute, 3)):
        return "makes something else than numbers"
    return next(filter(None, map(_tensor_problem, _tensors([attribute]))), None)


def _tensor_problem(tensor: Message) -> str | None:
    """Beyond its kind: weights in other files, which would let a graph read any file; sizes that it does not have."""
    if 13 in tensor or any(numbers(tensor, 14)):
        return "lies in another file, which is never read"
    if any(len(tensor.get(number, [])) > 1 for number in (2, 8, 9)):
        return "says its kind, its name or its bytes twice"
    if not NUMERIC.issuperset(numbers(tensor, 2)):
        return "does not hold numbers"
    sizes = numbers(tensor, 1)
    there = sum(len(part) if isinstance(part, memoryview) else 1 for values in tensor.values() for part in values)
    if prod(sizes) > 2 * there:  # two of the smallest type go into a byte
        return f"says that it has the sizes {tuple(sizes[:8])}, and holds {there:,} bytes"
    return None


def _may_be_true(tensor: Message | None) -> bool:
    """Whether a tensor is anything but constant and False."""
    return tensor is None or any(any(part) for part in strings(tensor, 9)) or any(numbers(tensor, 5))


def _tensors(attributes: list[Message]) -> list[Message]:
    return [message(part) for attribute in attributes for number in (5, 10) for part in strings(attribute, number)]


def _text(found: Message, number: int) -> bytes:
    """A field's text: the last, as protobuf has it."""
    return bytes((strings(found, number) or [memoryview(b"")])[-1])


def _shown(name: bytes | str) -> str:
    return repr(printable(name if isinstance(name, str) else name.decode(errors="replace"), LONGEST_NAME))
