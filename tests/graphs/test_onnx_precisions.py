"""The precision of each layer as a file says it, read without an ONNX library."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerkd.core.errors import ArtefactError
from edgerkd.files.onnx_precisions import layer_precisions
from edgerkd.graphs.precision.fp16 import halved
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.onnx_graph import onnx_from_network
from tests.zoo import network

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
NAMES: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}
FAMILIES = {
    "resnet": {},
    "mobilenetv3": {"blocks": (1, 1, 1), "widths": (8, 16, 24)},
    "preactresnet": {},
}


def by_onnx(content: bytes) -> dict[str, str]:
    """The type of each layer's input as ONNX's own inference has it; int8 where a dequantiser gives it."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content), strict_mode=True).graph
    ends = [*graph.input, *graph.output, *graph.value_info]
    types = {end.name: end.type.tensor_type.elem_type for end in ends} | {
        t.name: t.data_type for t in graph.initializer
    }
    rounded = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return {
        node.name: "int8" if node.input[0] in rounded else NAMES[types[node.input[0]]]
        for node in graph.node
        if node.op_type in WEIGHTED
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_have_the_types_that_onnx_infers(family):
    """Catches a cast that is not followed, and float weights taken for the type of what a layer multiplies."""
    graph = onnx_from_network(network(family=family, channels=3, height=32, width=32, **FAMILIES[family]))
    ranges = find_ranges(graph, [np.random.default_rng(0).random((8, 3, 32, 32), np.float32)])
    every = layers(graph)
    half, mixed = halved(graph), halved(graph, keep=every[1:2])
    int8 = quantized(graph, ranges, placement="signed", keep=every[-1:])
    for content in (graph, half, mixed, int8, gradient_twin(graph), gradient_twin(int8)):
        assert layer_precisions(content, where="g") == by_onnx(content)
    assert set(layer_precisions(half, where="g").values()) == {"fp16"}
    assert set(layer_precisions(mixed, where="g").values()) == {"fp16", "fp32"}
    assert list(layer_precisions(int8, where="g").values()).count("int8") == len(every) - 1


def odd(*nodes, weights=()) -> bytes:
    given, gives = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])] for name in ("images", "logits"))
    tensors = [numpy_helper.from_array(np.ones((4, 4), np.float32), "w"), *weights]
    made = [helper.make_node(kind, takes, [makes], **more) for kind, takes, makes, more in nodes]
    graph = helper.make_graph(made, "odd", given, gives, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([("CastLike", ["images", "h"], "x", {})], "fp16"),
        ([("Cast", ["images"], "x", {"to": TensorProto.BFLOAT16})], "bf16"),
        ([("Cast", ["images"], "x", {"to": TensorProto.DOUBLE})], "other"),
        ([("Greater", ["images", "w"], "c", {}), ("Where", ["c", "h", "h"], "x", {})], "fp16"),
        ([("QuantizeLinear", ["images", "s"], "q", {}), ("DequantizeLinear", ["q", "s"], "x", {})], "int8"),
        ([("ConstantOfShape", ["images"], "x", {})], "fp32"),
        ([("Relu", ["nothing makes this"], "x", {})], "fp32"),
    ],
)
def test_operators_that_give_another_type_are_known(nodes, expected):
    """Catches a type lost at an operator that names its own, and a layer without a name that is left out."""
    half = numpy_helper.from_array(np.ones((4, 4), np.float16), "h")
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "s")
    content = odd(*nodes, ("MatMul", ["x", "w"], "logits", {}), weights=[half, scale])
    assert layer_precisions(content, where="g") == {"node_of_logits": expected}


def test_a_damaged_graph_is_named_as_one():
    """Catches an IndexError from inside a reader of bytes."""
    content = odd(("MatMul", ["images", "w"], "logits", {}))
    at = content.index(b"MatMul")
    with pytest.raises(ArtefactError, match=r"odd\.onnx: not an ONNX graph, or damaged"):
        layer_precisions(content[: at - 1] + b"\x7f" + content[at:], where="odd.onnx")
