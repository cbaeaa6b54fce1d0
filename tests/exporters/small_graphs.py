"""Small ONNX graphs at opset 17 with a dynamic batch, made by hand: quick, and their answers are a line of NumPy."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = (3, 4, 4)
WEIGHT = np.random.default_rng(0).standard_normal((48, 5)).astype(np.float32)


def model(nodes, inputs, outputs, weights=(), batch="n", kind=TensorProto.FLOAT):
    def ends(shapes):
        return [helper.make_tensor_value_info(name, kind, [batch, *shape]) for name, shape in shapes.items()]

    graph = helper.make_graph(nodes, "small", ends(inputs), ends(outputs), list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def classifier(**changes):
    """(n, 3, 4, 4) images -> (n, 5) logits: flatten, matrix product, ReLU."""
    return model(
        [
            helper.make_node("Flatten", ["images"], ["flat"], name="flatten"),
            helper.make_node("MatMul", ["flat", "weight"], ["product"], name="product"),
            helper.make_node("Relu", ["product"], ["logits"], name="relu"),
        ],
        {"images": SHAPE},
        {"logits": (5,)},
        [numpy_helper.from_array(WEIGHT, "weight")],
        **changes,
    )


def classifier_numpy(images):
    return np.maximum(images.reshape(len(images), -1) @ WEIGHT, 0)


def twin():
    """Two inputs and two outputs of different shapes, as the gradient twin has: (images, cotangent) -> (a, b)."""
    return model(
        [
            helper.make_node("Mul", ["images", "images"], ["square"], name="square"),
            helper.make_node("Neg", ["cotangent"], ["negative"], name="negative"),
        ],
        {"images": SHAPE, "cotangent": (5,)},
        {"negative": (5,), "square": SHAPE},
    )


def half_inside():
    """float32 at both ends, half in between."""
    return model(
        [
            helper.make_node("Cast", ["images"], ["half"], name="down", to=TensorProto.FLOAT16),
            helper.make_node("Flatten", ["half"], ["flat"], name="flatten"),
            helper.make_node("MatMul", ["flat", "weight"], ["product"], name="product"),
            helper.make_node("Cast", ["product"], ["logits"], name="up", to=TensorProto.FLOAT),
        ],
        {"images": SHAPE},
        {"logits": (5,)},
        [numpy_helper.from_array(WEIGHT.astype(np.float16), "weight")],
    )


def quantised():
    """The classifier with its images rounded to int8."""
    scale, zero = numpy_helper.from_array(np.float32(1 / 127), "scale"), numpy_helper.from_array(np.int8(0), "zero")
    return model(
        [
            helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["small"], name="quantize"),
            helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["rounded"], name="dequantize"),
            helper.make_node("Flatten", ["rounded"], ["flat"], name="flatten"),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"], name="product"),
        ],
        {"images": SHAPE},
        {"logits": (5,)},
        [numpy_helper.from_array(WEIGHT, "weight"), scale, zero],
    )


def unsupported():
    """Two nodes that no runtime knows at opset 17: ONNX has their operators since 18 and 20."""
    graph = classifier()
    graph.graph.node[1].op_type = "GroupNormalization"
    graph.graph.node[2].op_type = "Gelu"
    return graph


def save(graph, path: Path) -> Path:
    onnx.save(graph, path)
    return path
