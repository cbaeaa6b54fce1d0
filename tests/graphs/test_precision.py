"""Graphs of lower precision: what is rounded, where, and that the gradient twin still tells the truth."""

from functools import partial

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.losses import cross_entropy
from edgerkd.attacks.pgd import pgd
from edgerkd.bundle.plugins import open_onnx
from edgerkd.core.errors import ConfigError, ExportError
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.graphs.adopt import adopt
from edgerkd.graphs.cost import count_graph_cost
from edgerkd.graphs.precision.fp16 import LARGEST, halved, overflowing, widened
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.graphs.precision.search import margins_of, rank_layers
from edgerkd.graphs.precision.wiring import Wiring, edited
from edgerkd.graphs.preprocess import named
from edgerkd.graphs.rules import RULES
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.verify.graph import graph_logits, open_graph
from tests.graphs.test_adopt import CASES, NHWC, TO_FIRST
from tests.graphs.test_adopt import small as theirs
from tests.zoo import network

FAMILIES = ("resnet", "preactresnet", "mobilenetv2", "mobilenetv3", "repvgg")
PLACEMENTS = ("signed", "unsigned")
COLUMNS = (("Gather", ["images", "left"], "a"), ("Gather", ["images", "right"], "b"))
RNG = np.random.default_rng(0)
IMAGES = RNG.random((64, 1, 8, 8), np.float32)


@pytest.fixture(scope="module", params=FAMILIES)
def graph(request) -> bytes:
    return onnx_from_network(network(seed=1, family=request.param))


@pytest.fixture(scope="module")
def resnet() -> bytes:
    return onnx_from_network(network(seed=1))


def small(*nodes, constants=None, opset: int = 17, shape=("batch", 1, 8, 8), out=("batch", 2)) -> bytes:
    """A graph of these nodes (op, inputs, output, attributes) and float32 constants, from `images` to `logits`."""
    made = [
        helper.make_node(op, inputs, [output], name=output, **attributes) for op, inputs, output, attributes in nodes
    ]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size)]
        for name, size in (("images", shape), ("logits", out))
    ]
    model = helper.make_model(
        helper.make_graph(made, "small", *ends, held), opset_imports=[helper.make_opsetid("", opset)]
    )
    return model.SerializeToString()


def nodes_of(graph: bytes, op: str) -> list:
    return [node for node in onnx.load_from_string(graph).graph.node if node.op_type == op]


def rounded(graph: bytes, placement: str, **options) -> bytes:
    return quantized(graph, find_ranges(graph, [IMAGES]), placement=placement, **options)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_int8_graph_answers_nearly_what_the_float_graph_does(graph, placement):
    """Catches a wrong scale, axis or zero point, a weight that is not the layer's own, and an activation dropped."""
    found = rounded(graph, placement, keep=layers(graph)[-1:])
    expected, answers = graph_logits(graph, IMAGES), graph_logits(found, IMAGES)
    assert np.sqrt(np.square(answers - expected).mean()) < 0.05 * expected.std()
    assert len(nodes_of(found, "Relu")) == len(nodes_of(graph, "Relu"))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_each_layer_computes_with_int8_weights_and_rounded_activations(graph, placement):
    """Catches a layer that is forgotten, a weight left in float32, and a scale for the whole weight."""
    every = layers(graph)
    found = onnx.load_from_string(rounded(graph, placement, keep=every[-1:]))
    makers = {name: node for node in found.graph.node for name in node.output}
    types = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in found.graph.initializer}
    quantised = [makers[name] for name in every[:-1]]
    assert quantised
    for node in quantised:
        assert [makers[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        weight, scale, _ = makers[node.input[1]].input
        assert types[weight][0] == TensorProto.INT8
        assert types[scale][1] == types[weight][1][:1]
    assert makers.get(makers[every[-1]].input[1]) is None, "the last layer was to stay in float32"


def zero_points(graph: bytes) -> list[np.ndarray]:
    constants = Wiring.of(onnx.load_from_string(graph)).constants
    return [constants[node.input[2]] for node in nodes_of(graph, "QuantizeLinear")]


def test_quantisers_have_the_type_that_their_runtime_reads(graph):
    """Catches uint8 for TensorRT, which takes it for int8 in silence, and two types around one layer for the others."""
    assert {(z.dtype.name, int(z)) for z in zero_points(rounded(graph, "signed"))} == {("int8", 0)}
    unsigned = {(z.dtype.name, int(z)) for z in zero_points(rounded(graph, "unsigned"))}
    assert unsigned <= {("uint8", 0), ("uint8", 128)}


def test_only_what_cannot_be_negative_is_rounded_from_zero(resnet):
    """Catches a range that only the calibration images had: an attack would be clipped, and its gradient with it."""
    wiring = Wiring.of(onnx.load_from_string(resnet))
    found = rounded(resnet, "unsigned")
    constants = Wiring.of(onnx.load_from_string(found)).constants
    for node in nodes_of(found, "QuantizeLinear"):
        made_by = wiring.makers[node.input[0]].op_type
        assert int(constants[node.input[2]]) == (0 if made_by in ("Relu", "ReduceMean") else 128)


@pytest.mark.parametrize(
    ("op", "inputs", "expected"),
    [
        ("Relu", ["images"], True),
        ("Sigmoid", ["images"], True),
        ("Clip", ["images", "zero", "six"], True),
        ("Clip", ["images", "", "six"], False),
        ("Clip", ["images", "less", "six"], False),
        ("MaxPool", ["images"], False),
        ("GlobalAveragePool", ["relu"], True),
        ("Add", ["relu", "images"], False),
        ("Add", ["relu", "six"], True),
        ("Mul", ["relu", "less"], False),
        ("Concat", ["relu", "relu"], True),
        ("Sub", ["relu", "six"], False),
        ("HardSwish", ["images"], False),
    ],
)
def test_the_sign_of_a_tensor_follows_from_what_makes_it(op, inputs, expected):
    """Catches a tensor that may be negative and is taken for one that is not."""
    attributes = {"MaxPool": {"kernel_shape": [2, 2]}, "Concat": {"axis": 1}}.get(op, {})
    constants = {"zero": np.float32(0), "six": np.float32(6), "less": np.float32(-1)}
    content = small(("Relu", ["images"], "relu", {}), (op, inputs, "logits", attributes), constants=constants, out=None)
    assert Wiring.of(onnx.load_from_string(content)).nonnegative("logits") is expected


def test_both_branches_of_a_residual_sum_are_rounded_where_kernels_want_it(resnet):
    """Catches a sum in float32 between two int8 layers, and a convolution's own output rounded before TensorRT adds."""
    for placement, least in (("unsigned", 2), ("signed", 1)):
        found = rounded(resnet, placement)
        makers = {name: node.op_type for node in onnx.load_from_string(found).graph.node for name in node.output}
        sums = nodes_of(found, "Add")
        counts = {sum(makers[name] == "DequantizeLinear" for name in node.input) for node in sums}
        assert sums
        assert counts == {least}


def with_folded_relu(graph: bytes) -> bytes:
    """The graph without its ReLUs: the clamp of the quantiser behind each does their work."""

    def change(model) -> None:
        gone = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Relu"}
        kept = [node for node in model.graph.node if node.op_type != "Relu"]
        for node in kept:
            for index, name in enumerate(node.input):
                node.input[index] = gone.get(name, name)
        del model.graph.node[:]
        model.graph.node.extend(kept)

    return edited(graph, change)


def gradient_of(twin: bytes, images, cotangent) -> np.ndarray:
    with open_onnx(twin) as engine:
        return engine(images, cotangent)[1]


def test_a_relu_folded_into_a_clamp_stops_the_gradient_as_a_relu_does(resnet):
    """Catches gradients passed through the quantiser everywhere: such a twin saw 46.5 % robust where 26.6 % were."""
    kept = rounded(resnet, "unsigned", keep=layers(resnet)[-1:])
    folded = with_folded_relu(kept)
    cotangent = RNG.normal(size=(len(IMAGES), 10)).astype(np.float32)
    expected, found = (gradient_of(gradient_twin(each), IMAGES, cotangent) for each in (kept, folded))
    cosine = (expected * found).sum((1, 2, 3)) / np.sqrt(
        np.square(expected).sum((1, 2, 3)) * np.square(found).sum((1, 2, 3))
    )
    assert np.median(cosine) > 0.99


def robust_images(graph: bytes, twin: bytes, images, labels) -> int:
    """How many PGD leaves, attacking the graph through this twin."""
    threat_model = ThreatModel(norm="Linf", eps=Radius("24/255"))
    inputs = AttackInputs(images=images, labels=labels, threat_model=threat_model, seed=0, index=np.arange(len(images)))
    with open_graph(graph, twin) as classifier:
        images_adv = pgd(classifier, inputs, loss=cross_entropy, steps=10, step_size=inputs.eps / 4)
        return int((classifier.logits(images_adv).argmax(1) == labels).sum())


def test_a_relu_folded_into_a_clamp_hides_no_attack(monkeypatch):
    """Catches a twin that passes gradients through a clamp: here it finds 119 of 128 images robust, where 54 are."""
    graph = onnx_from_network(
        network(seed=3, widths=(8, 16), blocks=(1, 1), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    )
    images = np.random.default_rng(0).random((128, 3, 8, 8), np.float32)
    kept = quantized(graph, find_ranges(graph, [images]), placement="unsigned", keep=layers(graph)[-1:])
    folded, labels = with_folded_relu(kept), graph_logits(kept, images).argmax(1)
    unfolded = robust_images(kept, gradient_twin(kept), images, labels)
    assert abs(robust_images(folded, gradient_twin(folded), images, labels) - unfolded) <= 2
    monkeypatch.setitem(RULES, "QuantizeLinear", lambda _, call: {0: call.gradient})
    assert unfolded < robust_images(folded, gradient_twin(folded), images, labels) - len(images) / 4


def surrogate(graph: bytes) -> bytes:
    """The quantised graph without its rounding: each activation is clamped to what its quantiser can represent."""

    def change(model) -> None:
        constants = Wiring.of(model).constants
        nodes = []
        for node in model.graph.node:
            if node.op_type == "QuantizeLinear":
                scale, zero = constants[node.input[1]], constants[node.input[2]]
                limits = np.iinfo(zero.dtype)
                names = [f"{node.output[0]}_{end}" for end in ("low", "high")]
                for name, limit in zip(names, (limits.min, limits.max), strict=True):
                    value = np.float32((int(limit) - int(zero)) * scale)
                    model.graph.initializer.append(numpy_helper.from_array(value, name))
                nodes.append(helper.make_node("Clip", [node.input[0], *names], [node.output[0]]))
            elif node.op_type == "DequantizeLinear" and node.input[0] not in constants:
                nodes.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
            else:
                nodes.append(node)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)

    return edited(graph, change)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_twin_tells_the_slopes_of_the_graph_without_its_rounding(resnet, placement):
    """Catches a mask at the wrong limits, and a scale that does not cancel; the slopes are finite differences."""
    found = rounded(resnet, placement, keep=layers(resnet)[-1:])
    smooth = surrogate(found)
    images, cotangent = IMAGES[:8], RNG.normal(size=(8, 10)).astype(np.float32)
    step = 0.02
    moves = step * np.eye(64, dtype=np.float32).reshape(64, 1, 1, 8, 8)
    ahead, behind = (graph_logits(smooth, (images + s * moves).reshape(-1, 1, 8, 8)) for s in (1, -1))
    change = (ahead - behind).reshape(64, 8, 10)
    slopes = (change * cotangent).sum(2).T.reshape(images.shape) / (2 * step)
    gradient = gradient_of(gradient_twin(found), images, cotangent)
    cosine = (gradient * slopes).sum((1, 2, 3)) / np.sqrt(
        np.square(gradient).sum((1, 2, 3)) * np.square(slopes).sum((1, 2, 3))
    )
    assert np.median(cosine) > 0.95
    assert_allclose(np.linalg.norm(gradient), np.linalg.norm(slopes), rtol=0.2)


def test_ranges_hold_every_possible_pixel_and_every_tensor(resnet):
    """Catches images whose white or black was not among those measured, clipped before the first layer."""
    grey = np.full_like(IMAGES, 0.5)
    found = find_ranges(resnet, [grey])
    assert found["images"] == (0, 1)
    normalised = next(node.output[0] for node in nodes_of(resnet, "Div"))
    assert_allclose(found[normalised], ((0 - 0.3) / 0.4, (1 - 0.3) / 0.4), rtol=1e-6)
    assert set(layers(resnet)) <= found.keys()
    both = find_ranges(resnet, [grey, IMAGES])
    assert all(both[name].low <= found[name].low and both[name].high >= found[name].high for name in found)


HALF, RGB = named("half"), {"normalization": named("half")}
FRONTS = {
    "plain": (theirs(), RGB, HALF),
    "grey": (theirs(), RGB | {"image_shape": (1, 8, 8)}, HALF),
    "resized": (theirs(), RGB | {"image_shape": (3, 5, 7), "resize": True}, HALF),
    "bgr": (theirs(), RGB | {"channels": "bgr"}, HALF),
    "grey, resized, bgr": (theirs(), RGB | {"image_shape": (1, 5, 7), "resize": True, "channels": "bgr"}, HALF),
    "nhwc": (theirs(first=TO_FIRST, x=NHWC), RGB, HALF),
    "uint8": (CASES["uint8"][0], {}, named("0-255")),
}


@pytest.mark.parametrize("case", FRONTS)
def test_all_that_adoption_writes_before_a_network_is_its_normalization(case):
    """Catches grey or resized images after which the rest is taken for the network: it lost black and white in int8,
    was halved in float16, and its means and scales counted as learned weights.
    """
    original, options, normalization = FRONTS[case]
    graph = adopt(original, **options).graph
    grey = np.full((1, *options.get("image_shape", (3, 8, 8))), 0.5, np.float32)
    (mean, *_), (std, *_) = normalization.mean, normalization.std
    assert_allclose(find_ranges(graph, [grey])["x"], ((0 - mean) / std, (1 - mean) / std), rtol=1e-5)
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(halved(graph))).graph
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    makers = {node.output[0]: node for node in inferred.node}
    assert types["x"] == TensorProto.FLOAT
    assert [types[name] for name in makers["c"].input if name in types] == [TensorProto.FLOAT16]
    assert makers[makers["c"].input[0]].op_type == "Cast"
    assert count_graph_cost(graph).params == count_graph_cost(adopt(theirs()).graph).params


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([("Concat", ["images", "images"], "logits", {"axis": 1})], True),
        ([("Mul", ["two", "images"], "a", {}), ("Clip", ["a", "", "two"], "logits", {})], True),
        ([("Resize", ["images", "", "scales"], "logits", {"mode": "linear"})], True),
        ([("Resize", ["images", "", "scales"], "logits", {"mode": "cubic"})], False),
        ([("Sub", ["two", "images"], "a", {}), ("Mul", ["a", "images"], "logits", {})], False),
        ([("Div", ["two", "images"], "logits", {})], False),
        ([("Clip", ["two", "images"], "logits", {})], False),
        ([("Relu", ["images"], "a", {}), ("Concat", ["images", "a"], "logits", {"axis": 1})], False),
        ([("Conv", ["images", "kernel"], "a", {}), ("Transpose", ["a"], "logits", {})], False),
        ([("Cast", ["images"], "a", {"to": TensorProto.INT64}), ("Gather", ["table", "a"], "logits", {})], False),
        ([(*each, {"axis": 3}) for each in COLUMNS] + [("Sub", ["a", "b"], "logits", {})], False),
    ],
)
def test_a_normalization_goes_on_only_where_black_and_white_show_its_range(nodes, expected):
    """Catches a difference of two pixels, a square and an overshoot, which black and white images do not have, and a
    network's own resizing or concatenation behind its first layer.
    """
    constants = {
        "two": np.float32(2),
        "scales": np.float32([1, 1, 2, 2]),
        "kernel": np.ones((1, 1, 1, 1), np.float32),
        "table": np.float32([0, 1, 0]),
        "left": np.int64(0),
        "right": np.int64(1),
    }
    wiring = Wiring.of(onnx.load_from_string(small(*nodes, constants=constants, out=None)))
    assert ("logits" in wiring.front) is expected


def dense(weight, opset: int = 17) -> bytes:
    """One linear map of all 64 pixels to two logits."""
    nodes = [("Flatten", ["images"], "flat", {}), ("MatMul", ["flat", "weight"], "logits", {})]
    return small(*nodes, constants={"weight": np.asarray(weight, np.float32)}, opset=opset)


CHECKED = "cannot be brought to this precision, ONNX's checker says: "


def with_last(op: str, **attributes):
    """A change of a graph that puts this node behind its last, by which it is no longer valid."""

    def change(model) -> None:
        model.graph.node[-1].output[0] = "before"
        model.graph.node.append(helper.make_node(op, ["before"], ["logits"], **attributes))

    return change


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: rounded(dense(np.ones((64, 2)), opset=12), "signed"),
            ExportError,
            "needs opset 13.*export it at opset",
        ),
        (lambda: rounded(small(("Relu", ["images"], "logits", {}), out=None), "signed"), ExportError, "has none.*Relu"),
        (lambda: rounded(dense(np.ones((64, 2))), "signed", keep=["logits"]), ExportError, "nothing is left to quant"),
        (lambda: find_ranges(dense(np.full((64, 2), np.inf)), [IMAGES]), ConfigError, "not finite.*logits"),
        (lambda: halved(small(("Relu", ["images"], "logits", {}), out=None), keep=["logits"]), ExportError, "to halve"),
        (lambda: edited(dense(np.ones((64, 2))), with_last("Celu", to=1)), ExportError, CHECKED + "Unrecognized attr"),
        (lambda: edited(dense(np.ones((64, 2))), with_last("Cast", to=10)), ExportError, CHECKED + ".*Inferred elem"),
    ],
)
def test_what_has_no_lower_precision_is_refused_by_name(make, error, message):
    """Catches a graph written as it was under another precision's name, an error that does not say what to do, and an
    exception of ONNX's own.
    """
    with pytest.raises(error, match=message) as refusal:
        make()
    assert len(str(refusal.value).splitlines()) == 1


def test_half_precision_begins_behind_the_normalization_and_ends_before_the_logits(graph):
    """Catches pixels rounded before they are normalised, float16 ends that no engine takes, and weights left wide."""
    found = onnx.load_from_string(halved(graph))
    inferred = onnx.shape_inference.infer_shapes(found).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input, *inferred.output)}
    weights = {tensor.name: tensor.data_type for tensor in found.graph.initializer}
    assert types["images"] == types["logits"] == TensorProto.FLOAT
    for node in found.graph.node:
        if node.op_type in ("Sub", "Div") and node.input[0] in ("images", *[n.output[0] for n in found.graph.node[:1]]):
            assert types[node.output[0]] == TensorProto.FLOAT
        if node.op_type in ("Conv", "Gemm"):
            assert {weights[name] for name in node.input[1:]} == {TensorProto.FLOAT16}
    assert_allclose(graph_logits(halved(graph), IMAGES), graph_logits(graph, IMAGES), atol=0.02)


def test_the_twin_of_half_precision_is_of_its_own_rounded_weights(graph):
    """Catches a twin of the unrounded network, and small gradients lost in half."""
    half = halved(graph)
    wide = widened(half)
    assert not [t for t in onnx.load_from_string(wide).graph.initializer if t.data_type == TensorProto.FLOAT16]
    assert_allclose(graph_logits(wide, IMAGES), graph_logits(half, IMAGES), atol=1e-5)
    gradient = gradient_of(gradient_twin(wide), IMAGES, np.full((len(IMAGES), 10), 1e-9, np.float32))
    assert np.abs(gradient).max() < 1e-5
    assert_array_equal(np.abs(gradient).max() > 0, True)


def between(*nodes, opset: int, **constants) -> bytes:
    """Two linear maps, the second of `b`, and between them nodes from `a` to `b`."""
    rng = np.random.default_rng(1)
    up, down = (rng.normal(size=shape).astype(np.float32) / 8 for shape in ((64, 4), (4, 2)))
    first = ("Flatten", ["images"], "flat", {}), ("MatMul", ["flat", "up"], "a", {})
    last = ("MatMul", ["b", "down"], "logits", {})
    return small(*first, *nodes, last, constants={"up": up, "down": down, **constants}, opset=opset)


ROUNDED = ("QuantizeLinear", ["a", "scale"], "q", {}), ("DequantizeLinear", ["q", "scale"], "b", {})
WIDE = {
    "Celu": between(("Celu", ["a"], "b", {}), opset=17),
    "CumSum": between(("CumSum", ["a", "axis"], "b", {}), opset=13, axis=np.int64(1)),
    "DequantizeLinear": between(*ROUNDED, opset=17, scale=np.float32(0.01)),
    "DequantizeLinear of a tiny scale": between(
        ("Mul", ["a", "many"], "large", {}),
        ("Cast", ["large"], "whole", {"to": TensorProto.INT32}),
        ("DequantizeLinear", ["whole", "tiny"], "small", {}),
        ("Mul", ["small", "many"], "b", {}),
        opset=20,
        many=np.float32(1e4),
        tiny=np.float32(1e-8),
    ),
    "EyeLike": between(
        ("EyeLike", ["a"], "eye", {"dtype": TensorProto.FLOAT}), ("Add", ["a", "eye"], "b", {}), opset=17
    ),
    "Resize": between(
        ("Reshape", ["a", "square"], "s", {}),
        ("Resize", ["s", "region", "scales"], "r", {"coordinate_transformation_mode": "tf_crop_and_resize"}),
        ("Flatten", ["r"], "b", {}),
        opset=17,
        square=np.int64([-1, 1, 2, 2]),
        region=np.float32([0, 0, 0, 0, 1, 1, 1, 1]),
        scales=np.float32([1, 1, 1, 1]),
    ),
    "Cast": between(("Cast", ["a"], "b", {"saturate": 1, "to": TensorProto.FLOAT}), opset=20),
}


@pytest.mark.parametrize("case", WIDE)
def test_what_has_no_float16_by_its_definition_stays_in_float32_alone(case):
    """Catches an operator halved that takes no float16 at its opset, or gives none: no valid graph came of it."""
    graph = WIDE[case]
    found = halved(graph)
    weights = {tensor.name: tensor.data_type for tensor in onnx.load_from_string(found).graph.initializer}
    assert [weights[node.input[1]] for node in nodes_of(found, "MatMul")] == [TensorProto.FLOAT16] * 2
    assert {weights[name] for node in nodes_of(found, "Resize") for name in node.input[1:]} <= {TensorProto.FLOAT}
    assert_allclose(graph_logits(found, IMAGES), graph_logits(graph, IMAGES), atol=0.01)


def names_in(graph: bytes) -> set[str]:
    found = onnx.load_from_string(graph).graph
    return {name for node in found.node for name in (node.name, *node.input, *node.output)}


@pytest.mark.parametrize("change", [halved, *(partial(rounded, placement=each) for each in PLACEMENTS)])
def test_what_is_added_gets_names_that_the_graph_does_not_have(change):
    """Catches a second node or tensor of one name, which no runtime takes: a node named `logits` was enough."""
    graph = WIDE["Celu"]
    expected = change(graph)
    added = sorted(names_in(expected) - names_in(graph))

    def take(model) -> None:
        for before, name in zip(["images", *added], added, strict=False):
            model.graph.node.append(helper.make_node("Identity", [before], [name], name=name))
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
        nodes[0].input[0] = added[-1]
        del model.graph.node[:]
        model.graph.node.extend([*nodes[-len(added) :], *nodes[: -len(added)]])

    assert len(added) > 3
    assert_allclose(graph_logits(change(edited(graph, take)), IMAGES), graph_logits(expected, IMAGES), atol=1e-6)


def overflowing_graph(scale: float) -> bytes:
    """Two linear maps: between them the values are 64 x `scale`, which the second takes back."""
    return small(
        ("Flatten", ["images"], "flat", {}),
        ("MatMul", ["flat", "up"], "large", {}),
        ("MatMul", ["large", "down"], "logits", {}),
        constants={
            "up": np.full((64, 4), scale, np.float32),
            "down": np.full((4, 2), 1 / (256 * scale), np.float32),
        },
    )


@pytest.mark.parametrize(("scale", "expected"), [(1.0, ()), (2 * LARGEST / 64, ("large", "logits"))])
def test_a_layer_that_would_overflow_in_half_stays_in_float32(scale, expected):
    """Catches a range scan that overlooks activations: in half they are infinite, by ONNX's own evaluator."""
    graph, white = overflowing_graph(scale), np.ones((2, 1, 8, 8), np.float32)
    assert overflowing(graph, find_ranges(graph, [white])) == expected
    kept = ReferenceEvaluator(onnx.load_from_string(halved(graph, keep=expected or ("flat",)))).run(
        None, {"images": white}
    )
    assert_allclose(kept[0], 1, rtol=0.01)
    if expected:
        with np.errstate(all="ignore"):
            lost = ReferenceEvaluator(onnx.load_from_string(halved(graph))).run(None, {"images": 2 * white})
        assert not np.isfinite(lost[0]).all()


def ranked(graph: bytes, placement: str = "signed"):
    logits = graph_logits(graph, IMAGES)
    return rank_layers(
        graph,
        find_ranges(graph, [IMAGES]),
        placement=placement,
        images_adv=IMAGES,
        labels=logits.argmax(1),
        answers=graph_logits,
    )


def test_the_layer_that_rounding_hurts_most_is_the_first_to_stay_in_float32(resnet):
    """Catches a ranking that is upside down, or made of anything but the layer's own rounding."""
    victim = layers(resnet)[2]

    def spoil(model) -> None:
        node = next(node for node in model.graph.node if node.output[0] == victim)
        tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
        weight = numpy_helper.to_array(tensor).copy()
        weight[:, 0, 0, 0] = 30 * np.abs(weight).max()  # one outlier a channel: the rest is rounded away
        tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))

    found = ranked(edited(resnet, spoil))
    worst = max(found.shifts[:-1], key=lambda each: each.shift)
    assert worst.layer == victim
    kept, steps = found.choose(2, allowed=1.0)
    assert kept == (victim, "logits")
    assert len(steps) == 1
    assert steps[0].shift < found.step(("logits",)).shift


def test_layers_are_kept_until_the_forecast_is_small_enough_and_half_at_most(resnet):
    """Catches a search that stops too early, and int8 in name alone: with most layers in float32 it gains nothing."""
    found = ranked(resnet)
    kept, steps = found.choose(1, allowed=0.0)
    assert [step.kept for step in steps] == list(range(1, len(steps) + 1))
    assert all(step.forecast > 0 for step in steps[:-1])
    assert steps[-1].forecast == 0 or len(kept) == len(layers(resnet)) // 2
    assert found.choose(1, allowed=1.0)[0] == ("logits",)
    assert len(found.choose(99, allowed=1.0)[0]) == len(layers(resnet)) // 2


def test_a_margin_is_the_label_above_the_best_of_the_others():
    """Catches the label among the others, and a margin that is never negative."""
    logits = np.asarray([[3, 1, 2], [3, 1, 2]], np.float32)
    assert_array_equal(margins_of(logits, np.asarray([0, 1])), [1, -2])
