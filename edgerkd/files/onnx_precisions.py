"""What each layer with weights of an ONNX graph computes in, by the types in the file, made without an ONNX library.

Data types are those of TensorProto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from edgerkd.core.errors import ArtefactError
from edgerkd.files.onnx_frame import NodeFacts, graph_parts, tensor_name, tensor_type
from edgerkd.files.onnx_layers import WEIGHTED

_FLOAT, _UINT8 = 1, 2
_NAMES = {1: "fp32", 2: "int8", 3: "int8", 10: "fp16", 16: "bf16", 17: "fp8", 18: "fp8", 19: "fp8", 20: "fp8"}


def layer_precisions(onnx: bytes, *, where: object) -> dict[str, str]:
    """The precision of every layer, by its node's name; a node without one is called after its output.

    That is TensorRT's own name for such a node. A layer computes in int8 where its first input was rounded to it, else
    in the type of that input. The graph's inputs are float32, which every backend sees to; a type that an operator
    neither keeps nor names counts as that of its input, which matters for no weighted layer. Raises ArtefactError,
    which says `where`, for a damaged graph.
    """
    try:
        nodes, initializers = graph_parts(onnx)
        types = {tensor_name(tensor): tensor_type(tensor) for tensor in initializers}
        rounded, found = dict[str, int](), dict[str, str]()
        for node in nodes:
            if not node.outputs:
                continue
            first = node.inputs[0] if node.inputs else ""
            if node.kind == "DequantizeLinear":
                rounded[node.outputs[0]] = types.get(first, _UINT8)
            if node.kind in WEIGHTED:
                name = node.name or f"node_of_{node.outputs[0]}"
                found[name] = _NAMES.get(rounded.get(first, types.get(first, _FLOAT)), "other")
            types.update(dict.fromkeys(node.outputs, _type_of(node, types)))
    except (IndexError, ValueError) as e:
        raise ArtefactError(f"{where}: not an ONNX graph, or damaged; export it again") from e
    return found


def _type_of(node: NodeFacts, types: dict[str, int]) -> int:
    """What a node gives."""
    if node.kind == "Cast":
        return node.numbers.get("to", _FLOAT)
    if node.kind in ("Constant", "ConstantOfShape"):
        return tensor_type(node.tensors[0]) if node.tensors else _FLOAT
    if node.kind == "QuantizeLinear":
        return types.get(node.inputs[2], _UINT8) if len(node.inputs) > 2 else _UINT8
    decides = 1 if node.kind in ("CastLike", "DequantizeLinear", "Where") else 0
    return types.get(node.inputs[decides], _FLOAT) if len(node.inputs) > decides else _FLOAT
