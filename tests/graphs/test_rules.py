"""Gradient rules against torch's, in the forms that exporters write, in ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper, numpy_helper

from edgerkd.core.errors import ExportError
from edgerkd.graphs.twin import gradient_twin

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def graph_of(nodes, constants=None, shape=(4, 6, 5), classes=4, opset=17) -> bytes:
    """A graph of (op, inputs, output or outputs, attributes)."""
    made = [
        helper.make_node(op, inputs, [out] if isinstance(out, str) else out, name=f"n{i}", **given)
        for i, (op, inputs, out, given) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "small",
        [helper.make_tensor_value_info("images", FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", FLOAT, ["batch", classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def pooled(op, inputs=("images",), opset=17, shape=(4, 6, 5), constants=None, **given) -> bytes:
    """The operator, its square, and the mean over space."""
    nodes = [
        (op, list(inputs), "a", given),
        ("Mul", ["a", "a"], "square", {}),
        ("GlobalAveragePool", ["square"], "mean", {}),
        ("Flatten", ["mean"], "logits", {}),
    ]
    return graph_of(nodes, constants, shape, opset=opset)


def gradients(graph: bytes, function, shape=(4, 6, 5), seed=0) -> tuple[np.ndarray, np.ndarray]:
    """The twin's, and that of torch in float64."""
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed))
    given = x.double().requires_grad_()
    logits = function(given)
    cotangent = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed + 1))
    (logits * cotangent).sum().backward()
    session = onnxruntime.InferenceSession(gradient_twin(graph), providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": x.numpy(), "cotangent": cotangent.numpy()})
    assert_allclose(found[0], logits.detach().numpy(), atol=1e-4)
    return found[1], given.grad.numpy()


def agrees(graph: bytes, function, shape=(4, 6, 5), atol=1e-5) -> None:
    found, expected = gradients(graph, function, shape)
    assert np.abs(expected).max() > 1e-2
    assert_allclose(found, expected, atol=atol)


def squared(function):
    """What `pooled` makes of torch's function."""
    return lambda x: (function(x) ** 2).flatten(2).mean(2)


RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 4, 3, 2)).astype(np.float32)
LINE, CUBE = (RNG.normal(size=(4, 2, *k)).astype(np.float32) for k in ((3,), (2, 3, 2)))
GROUPED = RNG.normal(size=(4, 2, 2, 3)).astype(np.float32)
INTS = np.int64
FORMS = {
    "conv1d": (
        pooled("Conv", ("images", "k"), shape=(4, 9), constants={"k": LINE}, group=2, strides=[2], pads=[1, 0]),
        lambda x: F.conv1d(F.pad(x, (1, 0)), torch.from_numpy(LINE).double(), stride=2, groups=2),
        (4, 9),
    ),
    "conv3d": (
        pooled("Conv", ("images", "k"), shape=(4, 5, 6, 4), constants={"k": CUBE}, group=2, strides=[1, 2, 1]),
        lambda x: F.conv3d(x, torch.from_numpy(CUBE).double(), stride=(1, 2, 1), groups=2),
        (4, 5, 6, 4),
    ),
    "conv-next-windows": (
        pooled("Conv", ("images", "k"), constants={"k": KERNEL}, pads=[2, 0, 1, 1]),
        lambda x: F.conv2d(F.pad(x, (0, 1, 2, 1)), torch.from_numpy(KERNEL).double()),
        (4, 6, 5),
    ),
    "conv-next-windows-of-groups": (
        pooled("Conv", ("images", "k"), constants={"k": GROUPED}, group=2, dilations=[2, 1], pads=[1, 1, 3, 0]),
        lambda x: F.conv2d(F.pad(x, (1, 0, 1, 3)), torch.from_numpy(GROUPED).double(), dilation=(2, 1), groups=2),
        (4, 6, 5),
    ),
    "conv-single-places": (
        pooled("Conv", ("images", "k"), constants={"k": KERNEL[:, :, :1, :1]}),
        lambda x: F.conv2d(x, torch.from_numpy(KERNEL[:, :, :1, :1]).double()),
        (4, 6, 5),
    ),
    "conv-padded-beyond-its-windows": (
        pooled("Conv", ("images", "k"), constants={"k": KERNEL}, pads=[4, 0, 0, 2]),
        lambda x: F.conv2d(F.pad(x, (0, 2, 4, 0)), torch.from_numpy(KERNEL).double()),
        (4, 6, 5),
    ),
    "conv-same": (
        pooled("Conv", ("images", "k"), constants={"k": KERNEL}, auto_pad="SAME_UPPER", strides=[2, 2]),
        lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), torch.from_numpy(KERNEL).double(), stride=2),
        (4, 6, 5),
    ),
    "transposed": (
        pooled("ConvTranspose", ("images", "k"), constants={"k": KERNEL}, strides=[3, 2], output_padding=[2, 1]),
        lambda x: F.conv_transpose2d(x, torch.from_numpy(KERNEL).double(), stride=(3, 2), output_padding=(2, 1)),
        (4, 6, 5),
    ),
    "transposed-same": (
        pooled("ConvTranspose", ("images", "k"), constants={"k": KERNEL}, strides=[2, 2], auto_pad="SAME_UPPER"),
        lambda x: F.conv_transpose2d(x, torch.from_numpy(KERNEL).double(), stride=2)[:, :, :12, :10],
        (4, 6, 5),
    ),
    "max-ceil": (
        pooled("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
        (4, 6, 5),
    ),
    "max-dilated": (
        pooled("MaxPool", kernel_shape=[2, 2], strides=[3, 1], dilations=[2, 3], pads=[1, 1, 1, 1]),
        lambda x: F.max_pool2d(x, 2, (3, 1), 1, dilation=(2, 3)),
        (4, 6, 5),
    ),
    "average-ceil": (
        pooled("AveragePool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1, pads=[1, 0, 1, 0]),
        lambda x: F.avg_pool2d(x, (3, 2), 2, (1, 0), ceil_mode=True, count_include_pad=False),
        (4, 6, 5),
    ),
    "average-counting": (
        pooled("AveragePool", kernel_shape=[3, 3], strides=[1, 2], pads=[1, 1, 1, 1], count_include_pad=1),
        lambda x: F.avg_pool2d(x, 3, (1, 2), 1),
        (4, 6, 5),
    ),
    "reflect": (
        pooled("Pad", ("images", "p"), constants={"p": INTS([0, 0, 2, 1, 0, 0, 3, 0])}, mode="reflect"),
        lambda x: F.pad(x, (1, 0, 2, 3), mode="reflect"),
        (4, 6, 5),
    ),
    "edge": (
        pooled("Pad", ("images", "p"), constants={"p": INTS([0, 0, 2, 1, 0, 0, 3, 0])}, mode="edge"),
        lambda x: F.pad(x, (1, 0, 2, 3), mode="replicate"),
        (4, 6, 5),
    ),
    "pad-and-cut": (
        pooled("Pad", ("images", "p", "v"), constants={"p": INTS([0, 0, -1, 2, 0, 0, 1, -2]), "v": np.float32(0.5)}),
        lambda x: F.pad(x, (2, -2, -1, 1), value=0.5),
        (4, 6, 5),
    ),
    "nearest": (
        pooled(
            "Resize",
            ("images", "", "s"),
            constants={"s": np.float32([1, 1, 2, 3])},
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        lambda x: F.interpolate(x, scale_factor=(2, 3)),
        (4, 6, 5),
    ),
    "bilinear": (
        pooled(
            "Resize",
            ("images", "", "", "s"),
            constants={"s": INTS([3, 4, 9, 3])},
            mode="linear",
            coordinate_transformation_mode="pytorch_half_pixel",
        ),
        lambda x: F.interpolate(x, size=(9, 3), mode="bilinear"),
        (4, 6, 5),
    ),
    "bicubic": (
        pooled("Resize", ("images", "", "s"), constants={"s": np.float32([1, 1, 2, 2])}, mode="cubic"),
        lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
        (4, 6, 5),
    ),
    "celu": (pooled("Celu", alpha=0.7), lambda x: F.celu(x, 0.7), (4, 6, 5)),
    "max-of-equal": (pooled("Max", ("images", "z"), constants={"z": np.float32(0)}), torch.relu, (4, 6, 5)),
    "softmax-11": (
        pooled("Softmax", opset=11, axis=2),
        lambda x: x.flatten(2).softmax(2).reshape(x.shape) * 1.0,
        (4, 6, 5),
    ),
    "softmax-13": (pooled("Softmax", opset=13, axis=1), lambda x: x.softmax(1), (4, 6, 5)),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_autograds(form):
    """Catches a padding on the wrong side, a window that reaches too far, an axis of another opset."""
    graph, function, shape = FORMS[form]
    if form == "softmax-11":  # flattened to two axes: all that is from `axis` on
        found, expected = gradients(graph, squared(function), shape)
        assert_allclose(found, expected, atol=1e-6)
    else:
        agrees(graph, squared(function), shape, atol=2e-5)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) / 3


def test_a_graph_of_tf2onnx_is_autograds():
    """Catches images with their channels last, a batch read off a shape, and a constant that a node uses twice."""
    constants = {"k": weights(5, 3, 3, 3), "w": weights(20, 4), "b": weights(4, seed=1)}
    constants |= {"p": INTS([0, 0, 1, 1, 0, 0, 1, 1]), "zero": INTS([0]), "one": INTS([1]), "rest": np.int32([20])}
    nodes = [
        ("Transpose", ["images"], "first", {"perm": [0, 3, 1, 2]}),
        ("Pad", ["first", "p"], "padded", {}),
        ("Conv", ["padded", "k"], "c", {"strides": [2, 2], "auto_pad": "VALID", "kernel_shape": [3, 3]}),
        ("LeakyRelu", ["c"], "r", {"alpha": 0.3}),
        ("MaxPool", ["r"], "m", {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ("Transpose", ["m"], "last", {"perm": [0, 2, 3, 1]}),
        ("Shape", ["last"], "shape", {}),
        ("Cast", ["shape"], "shape32", {"to": TensorProto.INT32}),
        ("Slice", ["shape32", "zero", "one", "zero"], "n", {}),
        ("Concat", ["n", "rest"], "flat32", {"axis": 0}),
        ("Cast", ["flat32"], "flat", {"to": TensorProto.INT64}),
        ("Reshape", ["last", "flat"], "f", {}),
        ("MatMul", ["f", "w"], "product", {}),
        ("Add", ["product", "b"], "logits", {}),
    ]

    def function(x: torch.Tensor) -> torch.Tensor:
        k, w, b = (torch.from_numpy(constants[name]).double() for name in "kwb")
        maps = F.max_pool2d(
            F.leaky_relu(F.conv2d(x.permute(0, 3, 1, 2), k, stride=2, padding=1), 0.3), 2, ceil_mode=True
        )
        return maps.permute(0, 2, 3, 1).flatten(1) @ w + b

    agrees(graph_of(nodes, constants, (7, 6, 3), opset=13), function, (7, 6, 3))


def test_a_graph_of_skl2onnx_is_autograds():
    """Catches a second output, the label, whose operators have no rule and need none."""
    constants = {"w": weights(6, 5), "b": weights(1, 5), "v": weights(5, 4), "d": weights(1, 4)}
    nodes = [
        ("Cast", ["images"], "x", {"to": FLOAT}),
        ("MatMul", ["x", "w"], "m", {}),
        ("Add", ["m", "b"], "s", {}),
        ("Tanh", ["s"], "t", {}),
        ("MatMul", ["t", "v"], "u", {}),
        ("Add", ["u", "d"], "z", {}),
        ("Softmax", ["z"], "p", {}),
        ("Identity", ["p"], "logits", {}),
        ("ArgMax", ["logits"], "label", {"axis": 1}),
    ]
    w, b, v, d = (torch.from_numpy(value).double() for value in constants.values())
    agrees(graph_of(nodes, constants, (6,)), lambda x: (torch.tanh(x @ w + b) @ v + d).softmax(1), (6,))


def test_half_precision_inside_a_graph_keeps_its_types():
    """Catches a constant of float32 beside a tensor of float16, which no runtime loads."""
    constants = {"w": weights(6, 6).astype(np.float16), "g": np.ones(6, np.float16), "v": weights(6, 4)}
    nodes = [
        ("Cast", ["images"], "x", {"to": HALF}),
        ("MatMul", ["x", "w"], "m", {}),
        ("Relu", ["m"], "r", {}),
        ("LayerNormalization", ["r", "g"], "n", {}),
        ("Sigmoid", ["n"], "s", {}),
        ("Cast", ["s"], "y", {"to": FLOAT}),
        ("MatMul", ["y", "v"], "logits", {}),
    ]
    w, v = (torch.from_numpy(constants[name]).double() for name in "wv")
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    logits = torch.sigmoid(F.layer_norm(torch.relu(x @ w), (6,))) @ v
    logits.sum().backward()
    session = onnxruntime.InferenceSession(gradient_twin(graph_of(nodes, constants, (6,))))
    feeds = {"images": x.detach().float().numpy(), "cotangent": np.ones((3, 4), np.float32)}
    found = session.run(None, feeds)
    assert_allclose(found[1], x.grad.numpy(), atol=5e-3)
    assert np.abs(found[1]).max() > 0.05


@pytest.mark.parametrize(
    ("zero", "passes"),
    [(np.uint8(0), [0, 1, 1, 0]), (np.uint8(100), [1, 1, 1, 0]), (np.int8(0), [1, 1, 1, 0])],
    ids=["relu", "uint8", "int8"],
)
def test_a_quantiser_passes_no_gradient_where_it_saturates(zero, passes):
    """Catches false robustness: a quantiser that does a ReLU's work, differentiated as if it were not there."""
    constants = {"s": np.float32(0.01), "z": zero}
    nodes = [("QuantizeLinear", ["images", "s", "z"], "q", {}), ("DequantizeLinear", ["q", "s", "z"], "logits", {})]
    session = onnxruntime.InferenceSession(gradient_twin(graph_of(nodes, constants, (4,))))
    images = np.float32([[-0.5, 0.003, 1.0, 2.7]])
    found = session.run(None, {"images": images, "cotangent": np.full((1, 4), 3, np.float32)})[1]
    assert_array_equal(found, 3 * np.float32([passes]))


def test_a_quantiser_by_channel_saturates_by_channel():
    """Catches the limits of one channel for all, and limits along the wrong axis."""
    constants = {"s": np.float32([0.01, 0.1]), "z": np.uint8([0, 100])}
    nodes = [
        ("QuantizeLinear", ["images", "s", "z"], "q", {"axis": 1}),
        ("DequantizeLinear", ["q", "s", "z"], "d", {"axis": 1}),
        ("Flatten", ["d"], "logits", {}),
    ]
    session = onnxruntime.InferenceSession(gradient_twin(graph_of(nodes, constants, (2, 2))))
    images = np.float32([[[-0.1, 3.0], [-0.1, 3.0]]])
    found = session.run(None, {"images": images, "cotangent": np.ones((1, 4), np.float32)})[1]
    assert_array_equal(found, np.float32([[[0, 0], [1, 1]]]))


@pytest.mark.parametrize("steep", ["Sqrt", "Log", "Reciprocal"])
def test_nothing_passes_a_relu_below_zero_though_an_infinite_slope_follows(steep):
    """Catches 0 * infinity: one such value makes the whole gradient no number, and the attack blind."""
    nodes = [
        ("Relu", ["images"], "r", {}),
        (steep, ["r"], "f", {}),
        ("Clip", ["f", "low", "high"], "logits", {}),
    ]
    constants = {"low": np.float32(-100), "high": np.float32(100)}
    session = onnxruntime.InferenceSession(gradient_twin(graph_of(nodes, constants, (4,))))
    images = np.float32([[-1, -0.5, 0.25, 1]])
    found = session.run(None, {"images": images, "cotangent": np.ones((1, 4), np.float32)})[1]
    assert_array_equal(found[0, :2], [0, 0])
    assert np.abs(found[0, 2:]).min() >= 0.5


def test_rounding_counts_as_the_identity():
    """Catches a gradient of zero behind the first rounding."""
    nodes = [("Round", ["images"], "r", {}), ("Mul", ["r", "r"], "logits", {})]
    session = onnxruntime.InferenceSession(gradient_twin(graph_of(nodes, None, (4,))))
    images = np.float32([[0.4, 1.2, -2.6, 3.1]])
    found = session.run(None, {"images": images, "cotangent": np.ones((1, 4), np.float32)})[1]
    assert_array_equal(found, 2 * np.round(images))


@pytest.mark.parametrize(
    ("nodes", "constants", "named"),
    [
        ([("Softmax", ["images"], "logits", {"axis": 0})], {}, r"Softmax \(node 'n0'\) mixes the images"),
        (
            [("Reshape", ["images", "s"], "a", {}), ("Transpose", ["a"], "logits", {})],
            {"s": INTS([4, -1])},
            r"Reshape \(node 'n0'\) mixes the images",
        ),
        (
            [
                ("Transpose", ["images"], "t", {}),
                ("MatMul", ["t", "images"], "a", {}),
                ("MatMul", ["images", "a"], "logits", {}),
            ],
            {},
            r"MatMul \(node 'n1'\) sums over the batch axis",
        ),
        (
            [("Slice", ["images", "z", "o", "z"], "a", {}), ("Add", ["images", "a"], "logits", {})],
            {"z": INTS([0]), "o": INTS([1])},
            r"Slice \(node 'n0'\) cuts the batch axis.*Add \(node 'n1'\) broadcasts 'a' over the batch axis",
        ),
        ([("Floor", ["images"], "logits", {})], {}, "piecewise constant"),
    ],
    ids=["softmax", "reshape", "gram", "slice", "floor"],
)
def test_a_graph_whose_gradient_would_be_wrong_is_refused(nodes, constants, named):
    """Catches one image's gradient leaking into another's, the first refusal alone, and a gradient of zeros."""
    with pytest.raises(ExportError, match=named):
        gradient_twin(graph_of(nodes, constants, (4,)))


@pytest.mark.parametrize("opset", [10, 21])
def test_opsets_whose_forms_are_not_known_are_refused(opset):
    """Catches an operator read as what another opset means by its name."""
    with pytest.raises(ExportError, match=f"opset {opset}"):
        gradient_twin(graph_of([("Relu", ["images"], "logits", {})], None, (4,), opset=opset))
