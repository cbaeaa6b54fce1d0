"""A network that edgerkd did not make, and data for it: three classes, told apart by where a bright bar stands."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, CLASSES = 8, 3


def bars(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 8, 8, 1) and labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    images = rng.integers(0, 60, (n, SIZE, SIZE, 1), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, label * 2 : label * 2 + 2] = 200
    return images, labels.astype(np.int64)


def write_data(path: Path, **arrays: np.ndarray) -> Path:
    """An .npz with a test split alone, or with `arrays` in its place."""
    images, labels = bars()
    np.savez(path, **(arrays or {"x_test": images, "y_test": labels}))
    return path


def bars_network(*, softmax: bool = True, batch: int | str = 1) -> bytes:
    """The mean brightness of each bar's rows, at most 1, of images (batch, 1, 8, 8): all equal for pixels to 255."""
    weight = np.zeros((SIZE * SIZE, CLASSES), np.float32)
    for label in range(CLASSES):
        weight[label * 2 * SIZE : (label * 2 + 2) * SIZE, label] = 1 / (2 * SIZE)
    nodes = [
        helper.make_node("Reshape", ["pixels", "shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weight"], ["sums"]),
        helper.make_node("Clip", ["sums", "", "ceiling"], ["scores"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1))
    shape = np.asarray([batch if isinstance(batch, int) else -1, SIZE * SIZE], np.int64)
    graph = helper.make_graph(
        nodes,
        "bars",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 1, SIZE, SIZE])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [batch, CLASSES])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(shape, "shape"),
            numpy_helper.from_array(np.asarray(np.float32(1)), "ceiling"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def endless_network(*, layers: int = 200, width: int = 4096) -> bytes:
    """A file of some kilobytes with a billion multiply-adds a layer for 64 images: seconds on any processor."""
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["rows"]),
        helper.make_node("Expand", ["small", "first"], ["first_weight"]),
        helper.make_node("Expand", ["small", "square"], ["weight"]),
        helper.make_node("MatMul", ["rows", "first_weight"], ["h0"]),
        *(helper.make_node("MatMul", [f"h{i}", "weight"], [f"h{i + 1}"]) for i in range(layers)),
        helper.make_node("Expand", ["small", "last"], ["last_weight"]),
        helper.make_node("MatMul", [f"h{layers}", "last_weight"], ["scores"]),
    ]
    sizes = {"first": [SIZE * SIZE, width], "square": [width, width], "last": [width, CLASSES]}
    graph = helper.make_graph(
        nodes,
        "endless",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        [
            numpy_helper.from_array(np.float32(1 / width).reshape(()), "small"),
            *(numpy_helper.from_array(np.asarray(size, np.int64), name) for name, size in sizes.items()),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def bytes_network(layout: str) -> bytes:
    """The mean brightness of each bar's rows, of whole pixels uint8: (batch, 1, 8, 8), or channels last."""
    weight = np.zeros((SIZE * SIZE, CLASSES), np.float32)
    for label in range(CLASSES):
        weight[label * 2 * SIZE : (label * 2 + 2) * SIZE, label] = 1 / (2 * SIZE * 255)
    shape = ["batch", 1, SIZE, SIZE] if layout == "nchw" else ["batch", SIZE, SIZE, 1]
    move = [] if layout == "nchw" else [helper.make_node("Transpose", ["pixels"], ["moved"], perm=[0, 3, 1, 2])]
    nodes = [
        *move,
        helper.make_node("Cast", ["moved" if move else "pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weight"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bytes",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
