"""The gradient twin against autograd."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from onnx import TensorProto, helper, numpy_helper

from edgerkd.core.errors import ExportError
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.onnx_graph import OPSET, onnx_from_network
from tests.zoo import network


def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("family", ["resnet", "preactresnet"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 11), (7, 6)])
@pytest.mark.parametrize("batch", [1, 5])
def test_logits_and_gradient_are_autograds(family, height, width, batch):
    """Catches a wrong output padding at odd sizes, a lost branch of a sum, and a fixed batch size."""
    net = network(family=family, height=height, width=width, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    graph = onnx_from_network(net)
    twin = session(gradient_twin(graph))
    generator = torch.Generator().manual_seed(batch)
    images = torch.rand(batch, 3, height, width, generator=generator)
    cotangent = torch.randn(batch, 10, generator=generator)
    logits, gradient = TorchClassifier(net).gradient(images, lambda _: cotangent)
    found_logits, found = twin.run(None, {"images": images.numpy(), "cotangent": cotangent.numpy()})
    assert_allclose(found_logits, logits.numpy(), atol=1e-5)
    assert_allclose(found, gradient.numpy(), atol=1e-6)
    assert np.abs(found).max() > 1e-3
    (alone,) = session(graph).run(None, {"images": images.numpy()})
    assert_allclose(found_logits, alone, atol=1e-6)


def test_graphs_are_opset_17_dynamic_in_the_batch_only_and_share_the_weights():
    """Catches a graph TensorRT 8.5 cannot read, a second copy of the weights, and unfolded batch norms."""
    graph = onnx_from_network(network())
    twin = gradient_twin(graph)
    for content in (graph, twin):
        model = onnx.load_from_string(content)
        assert [entry.version for entry in model.opset_import] == [OPSET]
        for value in (*model.graph.input, *model.graph.output):
            first, *rest = value.type.tensor_type.shape.dim
            assert first.dim_param
            assert all(d.dim_value > 0 for d in rest)
            assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    assert "BatchNormalization" not in {node.op_type for node in onnx.load_from_string(graph).graph.node}
    assert len(twin) < 1.3 * len(graph)


def test_convolutions_whose_windows_follow_each_other_are_no_transposed_ones():
    """Catches a twin that takes twice as long as it need."""
    ops = [node.op_type for node in onnx.load_from_string(gradient_twin(onnx_from_network(network()))).graph.node]
    strided = sum(
        node.op_type == "Conv" and any(a.name == "strides" and max(a.ints) > 1 for a in node.attribute)
        for node in onnx.load_from_string(onnx_from_network(network())).graph.node
    )
    assert 0 < ops.count("ConvTranspose") == strided


def graph_of(*nodes, constants=None, shape=("batch", 4), classes=4) -> bytes:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8).SerializeToString()


def test_every_operator_without_a_rule_is_named():
    """Catches a twin that silently skips what it does not know."""
    graph = graph_of(
        helper.make_node("Hardmax", ["images"], ["a"], name="spike"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Atan", ["b"], ["logits"]),
    )
    with pytest.raises(ExportError, match=r"Hardmax \(node 'spike'\), Atan \(node 'logits'\).*Conv"):
        gradient_twin(graph)


def test_a_graph_that_ignores_its_images_is_refused():
    """Catches a twin with an all-zero gradient, which would look like perfect robustness."""
    node = helper.make_node("Identity", ["fixed"], ["logits"])
    with pytest.raises(ExportError, match="does not depend"):
        gradient_twin(graph_of(node, constants={"fixed": np.zeros((1, 4), np.float32)}))


@pytest.mark.parametrize(
    ("nodes", "constants", "shape"),
    [
        ([("Mul", ["images", "k"], "a"), ("Sub", ["k", "a"], "logits")], {"k": np.float32([1, 2, 3, 4])}, ("batch", 4)),
        ([("Mul", ["images", "images"], "a"), ("Div", ["a", "k"], "logits")], {"k": np.float32([2])}, ("batch", 4)),
        ([("GlobalAveragePool", ["images"], "a"), ("Flatten", ["a"], "logits")], {}, ("batch", 4, 3, 2)),
        ([("Relu", ["images"], "a"), ("Add", ["a", "images"], "logits")], {}, ("batch", 4)),
        ([("Gemm", ["images", "w"], "logits")], {"w": np.arange(16, dtype=np.float32).reshape(4, 4)}, ("batch", 4)),
    ],
    ids=["mul-sub", "square-div", "pool-flatten", "relu-add", "gemm"],
)
def test_each_rule_agrees_with_finite_differences(nodes, constants, shape):
    """Catches a wrong sign, a missing factor and an operand mixed up."""
    content = graph_of(*(helper.make_node(op, i, [o], name=o) for op, i, o in nodes), constants=constants, shape=shape)
    student, twin = session(content), session(gradient_twin(content))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, *shape[1:])).astype(np.float32)
    cotangent = rng.normal(size=(2, 4)).astype(np.float32)
    _, gradient = twin.run(None, {"images": images, "cotangent": cotangent})
    direction = rng.normal(size=images.shape).astype(np.float32)
    step = np.float32(1e-2)

    def value(x):
        return float((student.run(None, {"images": x})[0].astype(np.float64) * cotangent).sum())

    slope = (value(images + step * direction) - value(images - step * direction)) / (2 * step)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=2e-2, abs=2e-3)


def pooled(*nodes, **constants) -> bytes:
    """A graph of (batch, 4, 5, 3) images whose logits are the means over space of the last node's output `a`."""
    made = [helper.make_node(op, inputs, [output], name=output, **given) for op, inputs, output, given in nodes]
    ends = [helper.make_node("GlobalAveragePool", ["a"], ["p"]), helper.make_node("Flatten", ["p"], ["logits"])]
    return graph_of(*made, *ends, constants=constants, shape=("batch", 4, 5, 3))


LO, HI = np.float32(-0.5), np.float32(0.75)
KERNEL = np.random.default_rng(1).normal(size=(4, 1, 3, 3)).astype(np.float32)
GATE = ("ReduceMean", ["images"], "m", {"axes": [2, 3], "keepdims": 1})


@pytest.mark.parametrize(
    ("graph", "function"),
    [
        (pooled(("Clip", ["images", "l", "h"], "a", {}), l=LO, h=HI), lambda x: F.hardtanh(x, -0.5, 0.75)),
        (pooled(("Clip", ["images", "l"], "a", {}), l=LO), lambda x: F.hardtanh(x, -0.5, 1e9)),
        (pooled(("Clip", ["images", "", "h"], "a", {}), h=HI), lambda x: F.hardtanh(x, -1e9, 0.75)),
        (pooled(("HardSigmoid", ["images"], "a", {})), lambda x: (0.2 * x + 0.5).clamp(0, 1)),
        (pooled(("HardSigmoid", ["images"], "a", {"alpha": 1 / 6})), F.hardsigmoid),
        (pooled(("HardSwish", ["images"], "a", {})), F.hardswish),
        (pooled(("Sigmoid", ["images"], "a", {})), torch.sigmoid),
        (pooled(("MaxPool", ["images"], "a", {"kernel_shape": [2, 3]})), lambda x: F.max_pool2d(x, (2, 3), 1)),
        (
            pooled(("MaxPool", ["images"], "a", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})),
            lambda x: F.max_pool2d(x, 3, 2, 1),
        ),
        (pooled(GATE, ("Mul", ["images", "m"], "a", {})), lambda x: x * x.mean((2, 3), keepdim=True)),
        (pooled(GATE, ("Mul", ["m", "images"], "a", {})), lambda x: x * x.mean((2, 3), keepdim=True)),
        (pooled(GATE, ("Add", ["images", "m"], "a", {})), lambda x: x + x.mean((2, 3), keepdim=True)),
        (
            pooled(GATE, ("Sub", ["images", "m"], "b", {}), ("Mul", ["b", "b"], "a", {})),
            lambda x: (x - x.mean((2, 3), keepdim=True)) ** 2,
        ),
        (
            pooled(("Conv", ["images", "k"], "a", {"group": 4, "strides": [2, 2], "pads": [1, 1, 1, 1]}), k=KERNEL),
            lambda x: F.conv2d(x, torch.from_numpy(KERNEL), stride=2, padding=1, groups=4),
        ),
    ],
    ids=[
        "clip",
        "clip-below",
        "clip-above",
        "hardsigmoid",
        "hardsigmoid-alpha",
        "hardswish",
        "sigmoid",
        "maxpool",
        "maxpool-overlapping",
        "gate",
        "gate-first",
        "add-broadcast",
        "sub-broadcast",
        "depthwise",
    ],
)
def test_each_rule_is_autograds(graph, function):
    """Catches a limit on the wrong side, a slope left out, a broadcast not summed, groups lost, a pool's neighbour."""
    x = 3 * torch.randn(2, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    cotangent = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    given = x.clone().requires_grad_()
    (function(given).mean((2, 3)) * cotangent).sum().backward()
    _, found = session(gradient_twin(graph)).run(None, {"images": x.numpy(), "cotangent": cotangent.numpy()})
    assert_allclose(found, given.grad.numpy(), atol=1e-6)


def test_at_its_limits_a_clip_passes_no_gradient():
    """Catches a derivative of 1 at zero, where half of all activations are: torch's ReLU6 has 0 there."""
    x = torch.tensor([[0.0, 6.0, 3.0, -1.0]])
    graph = graph_of(
        helper.make_node("Clip", ["images", "l", "h"], ["logits"]), constants={"l": np.float32(0), "h": np.float32(6)}
    )
    found = session(gradient_twin(graph)).run(None, {"images": x.numpy(), "cotangent": np.ones((1, 4), np.float32)})
    assert_allclose(found[1], [[0, 0, 1, 0]])


def test_a_broadcast_of_the_batch_is_refused():
    """Catches the gradient of one image leaking into another's."""
    mean = helper.make_node("ReduceMean", ["images"], ["m"], axes=[0], keepdims=1)
    with pytest.raises(ExportError, match=r"ReduceMean .*'m'.* mixes the images of a batch"):
        gradient_twin(graph_of(mean, helper.make_node("Add", ["images", "m"], ["logits"], name="add")))


def test_equal_elements_of_a_pool_share_its_gradient():
    """Catches a gradient counted once for each of them, in an int8 graph, where many are equal."""
    pool = helper.make_node("MaxPool", ["images"], ["p"], kernel_shape=[2, 2])
    graph = graph_of(pool, helper.make_node("Flatten", ["p"], ["logits"]), shape=("batch", 1, 2, 2), classes=1)
    given = {"images": np.float32([[[[5, 5], [1, 5]]]]), "cotangent": np.float32([[6]])}
    assert_allclose(session(gradient_twin(graph)).run(None, given)[1], [[[[2, 2], [0, 2]]]])


def test_a_graph_may_have_the_names_that_a_twin_gives():
    """Catches a second tensor, or node, of one name, which runtimes refuse."""
    nodes = [
        helper.make_node("Relu", ["images"], ["grad_0"], name="grad_1"),
        helper.make_node("Sub", ["grad_constant_0", "grad_0"], ["logits"], name="grad_2"),
    ]
    twin = gradient_twin(graph_of(*nodes, constants={"grad_constant_0": np.float32([1, 2, 3, 4])}))
    names = [node.name for node in onnx.load_from_string(twin).graph.node if node.name]
    assert len(names) == len(set(names)) > 2
    given = {"images": np.float32([[1, -1, 2, 3]]), "cotangent": np.float32([[1, 2, 3, 4]])}
    assert_allclose(session(twin).run(None, given)[1], [[-1, 0, -3, -4]])
