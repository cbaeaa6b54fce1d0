"""Weights that are dequantised once."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import numpy_helper

from edgerkd.graphs.folding import fold_weights
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.models.onnx_graph import onnx_from_network
from tests.zoo import network

IMAGES = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)


def rounding(model) -> list:
    return [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]


def unfused(model) -> np.ndarray:
    """What it answers where each node is computed as it stands."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"images": IMAGES})[0]


@pytest.mark.parametrize("placement", ["signed", "unsigned"])
def test_a_graph_answers_the_same_and_rounds_activations_alone(placement):
    """Catches a weight along the wrong axis or with a wrong zero point, activations folded, and weights kept twice."""
    graph = onnx_from_network(network(seed=1))
    content = quantized(graph, find_ranges(graph, [IMAGES]), placement=placement, keep=layers(graph)[-1:])
    model = onnx.load_from_string(content)
    before = len(rounding(model))
    expected = unfused(model)
    fold_weights(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    assert 0 < len(rounding(model)) < before
    assert not any(set(node.input) <= constants for node in rounding(model))
    assert constants <= {name for node in model.graph.node for name in node.input}
    assert not any(numpy_helper.to_array(t).dtype == np.int8 and t.dims for t in model.graph.initializer)
    onnx.checker.check_model(model, full_check=True)
    assert_allclose(unfused(model), expected, atol=1e-6)
    assert expected.std() > 0.01


def test_a_weight_that_is_rounded_in_the_graph_is_folded_too():
    """Catches what torch exports: a float weight, its quantiser, and a scale that is a Constant node."""
    weight = np.float32([[0.1, -0.26], [5.0, 0.0]])
    nodes = [
        onnx.helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.float32(0.01))),
        onnx.helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        onnx.helper.make_node("MatMul", ["images", "d"], ["logits"]),
    ]
    ends = [[onnx.helper.make_tensor_value_info(name, 1, ["n", 2])] for name in ("images", "logits")]
    held = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.int8(0), "z")]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "g", *ends, held), opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    fold_weights(model)
    assert rounding(model) == []
    (folded,) = (numpy_helper.to_array(t) for t in model.graph.initializer)
    assert_array_equal(folded, np.float32(0.01) * np.float32([[10, -26], [127, 0]]))
