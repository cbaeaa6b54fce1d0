"""Somebody else's graph in edgerkd's form answers as it did, and what is no image classifier is refused by name."""

import io
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.testing import assert_allclose
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgerkd.core.adoption import Normalization, adoption_lines
from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.graphs.adopt import adopt
from edgerkd.graphs.preprocess import PIXELS, named
from edgerkd.graphs.twin import gradient_twin

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(5, 3, 3, 3)).astype(np.float32)
HEAD = RNG.normal(size=(5, 4)).astype(np.float32)
GIVEN = Normalization(name="given", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))


def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def run(model: bytes, *inputs):
    live = session(model)
    return live.run(None, dict(zip([i.name for i in live.get_inputs()], inputs, strict=True)))


def graph(*nodes, inputs, outputs, weights=None, opset=17, **model) -> bytes:
    """A model of (op, inputs, outputs, attributes) nodes; inputs and outputs are (name, type, shape)."""
    made = [helper.make_node(op, i, o, name=f"n{index}", **a) for index, (op, i, o, a) in enumerate(nodes)]
    infos = [[helper.make_tensor_value_info(*value) for value in row] for row in (inputs, outputs)]
    constants = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    content = helper.make_graph(made, "theirs", *infos, constants)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in model.get("domains", ()))]
    return helper.make_model(content, opset_imports=imports, ir_version=8).SerializeToString()


F, H, U8, D = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.DOUBLE
CONV = [
    ("Conv", ["x", "k"], ["c"], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Relu", ["c"], ["r"], {}),
    ("GlobalAveragePool", ["r"], ["p"], {}),
    ("Flatten", ["p"], ["f"], {}),
    ("MatMul", ["f", "w"], ["z"], {}),
]
WEIGHTS = {"k": KERNEL, "w": HEAD}


def small(
    *more, first=(), x=("x", F, ["n", 3, 8, 8]), out=("z", F, ["n", 4]), weights=None, opset=17, **model
) -> bytes:
    """A small convolutional network, with nodes before and after."""
    nodes, given = [*first, *CONV, *more], WEIGHTS | (weights or {})
    return graph(*nodes, inputs=[x], outputs=[out], weights=given, opset=opset, **model)


def images(n=5, shape=(3, 8, 8)):
    return np.random.default_rng(1).integers(0, 256, (n, *shape)).astype(np.float32) / np.float32(255)


def normalised(x, normalization):
    mean, std = (np.float32(row)[:, None, None] for row in (normalization.mean, normalization.std))
    return (x - mean) / std


def torch_graph(module, *shape, opset=17, **options) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (torch.zeros(*shape),), buffer, opset_version=opset, dynamo=False, **options)
    return buffer.getvalue()


TO_FIRST = [("Transpose", ["y"], ["x"], {"perm": [0, 3, 1, 2]})]
NHWC = ("y", F, ["n", 8, 8, 3])
SOFTMAX = [("Softmax", ["z"], ["s"], {"axis": 1})]
EXPONENTIALS = [
    ("ReduceMax", ["z"], ["m"], {"axes": [1]}),
    ("Sub", ["z", "m"], ["d"], {}),
    ("Exp", ["d"], ["e"], {}),
    ("ReduceSum", ["e", "one"], ["t"], {}),
    ("Div", ["e", "t"], ["s"], {}),
]
PROBABILITIES = ("s", F, ["n", 4])


def same(x):
    return x


CASES = {
    "plain": (small(), {}, same, None),
    "normalised": (small(), {"normalization": GIVEN}, lambda x: normalised(x, GIVEN), None),
    "imagenet": (small(), {"normalization": named("imagenet")}, lambda x: normalised(x, named("imagenet")), None),
    "pixels": (small(), {"normalization": PIXELS}, lambda x: x * np.float32(255), None),
    "bgr": (
        small(),
        {"normalization": GIVEN, "channels": "bgr"},
        lambda x: np.ascontiguousarray(normalised(x, GIVEN)[:, ::-1]),
        None,
    ),
    "nhwc": (
        small(first=TO_FIRST, x=NHWC),
        {"normalization": GIVEN},
        lambda x: np.ascontiguousarray(normalised(x, GIVEN).transpose(0, 2, 3, 1)),
        None,
    ),
    "uint8": (
        small(first=[("Cast", ["u"], ["x"], {"to": F})], x=("u", U8, ["n", 3, 8, 8])),
        {},
        lambda x: np.round(x * 255).astype(np.uint8),
        None,
    ),
    "uint8-nhwc": (
        small(
            first=[("Transpose", ["u"], ["t8"], {"perm": [0, 3, 1, 2]}), ("Cast", ["t8"], ["x"], {"to": F})],
            x=("u", U8, ["n", 8, 8, 3]),
        ),
        {},
        lambda x: np.ascontiguousarray(np.round(x * 255).astype(np.uint8).transpose(0, 2, 3, 1)),
        None,
    ),
    "float16": (
        graph(
            *CONV,
            inputs=[("x", H, ["n", 3, 8, 8])],
            outputs=[("z", H, ["n", 4])],
            weights={name: value.astype(np.float16) for name, value in WEIGHTS.items()},
        ),
        {},
        lambda x: x.astype(np.float16),
        None,
    ),
    "fixed-batch": (small(x=("x", F, [1, 3, 8, 8]), out=("z", F, [1, 4])), {}, same, None),
    "dynamic-sides": (small(x=("x", F, ["n", 3, "h", "w"])), {"image_shape": (3, 8, 8)}, same, None),
    "softmax": (small(*SOFTMAX, out=PROBABILITIES), {}, same, "softmax"),
    "softmax-identity": (
        small(*SOFTMAX, ("Identity", ["s"], ["i"], {}), out=("i", F, ["n", 4])),
        {},
        same,
        "softmax",
    ),
    "softmax-opset-11": (small(("Softmax", ["z"], ["s"], {}), out=PROBABILITIES, opset=11), {}, same, "softmax"),
    "log-softmax": (small(("LogSoftmax", ["z"], ["s"], {"axis": -1}), out=PROBABILITIES), {}, same, "log_softmax"),
    "exponentials": (small(*EXPONENTIALS, out=PROBABILITIES, weights={"one": np.int64([1])}), {}, same, "softmax"),
    "sigmoids": (small(("Sigmoid", ["z"], ["s"], {}), out=PROBABILITIES), {}, same, "sigmoid"),
    "named-inside": (small(("ArgMax", ["z"], ["a"], {}), out=("a", 7, ["n", 1])), {"output": "z"}, same, None),
    "our-names": (
        small(
            first=[("Mul", ["images", "two"], ["gradient"], {}), ("Add", ["gradient", "two"], ["x"], {})],
            x=("images", F, ["n", 3, 8, 8]),
            weights={"two": np.float32([2])},
        ),
        {"normalization": GIVEN},
        lambda x: normalised(x, GIVEN),
        None,
    ),
    "dropout": (
        small(("Dropout", ["z"], ["d"], {}), out=("d", F, ["n", 4])),
        {},
        same,
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_adopted_graph_answers_as_the_original_on_what_that_expects(case):
    """Catches a wrong order of normalization and channels, a lost layout, a rounding left out, a softmax kept."""
    original, options, prepare, removed = CASES[case]
    found = adopt(original, **options)
    given = prepare(images())
    fixed = session(original).get_inputs()[0].shape[0] == 1
    parts = np.split(given, len(given)) if fixed else [given]
    expected = np.concatenate([run(original, part)[0] for part in parts]).astype(np.float32)
    (logits,) = run(found.graph, images())
    if case == "named-inside":
        expected, logits = expected.ravel(), logits.argmax(0).astype(np.float32).ravel()
    answer = {
        None: lambda z: z,
        "softmax": lambda z: torch.softmax(torch.from_numpy(z), 1).numpy(),
        "log_softmax": lambda z: torch.log_softmax(torch.from_numpy(z), 1).numpy(),
        "sigmoid": lambda z: torch.sigmoid(torch.from_numpy(z)).numpy(),
    }[removed](logits)
    assert_allclose(
        answer, expected, rtol=2e-2 if case == "float16" else 1e-4, atol=1e-2 if case == "float16" else 1e-5
    )
    assert (found.image_shape, found.classes, found.adoption.removed) == ((3, 8, 8), 4, removed)
    model = onnx.load_from_string(found.graph)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["images", "logits"]
    assert model.opset_import[0].version == onnx.load_from_string(original).opset_import[0].version
    assert "Softmax" not in {node.op_type for node in model.graph.node}
    assert adoption_lines(found.adoption)


def test_uint8_pixels_that_are_cast_at_once_need_no_uint8():
    """Catches a graph that engines without uint8 cannot build, though nothing in it needs uint8."""
    model = onnx.load_from_string(adopt(CASES["uint8"][0]).graph)
    casts = [helper.get_node_attr_value(node, "to") for node in model.graph.node if node.op_type == "Cast"]
    assert casts == [F]
    assert "Round" in {node.op_type for node in model.graph.node}


class Attention(nn.Module):
    """A small transformer: class token, sequence-first attention, windows; all shapes written out by the exporter."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        n = x.shape[0]
        x = self.patch(x).flatten(2).transpose(1, 2)
        windows = x.view(n, 2, 2, 1, 4, 16).permute(0, 1, 3, 2, 4, 5).reshape(n * 2, 8, 16)
        x = x + windows.softmax(1).reshape(n, 16, 16)
        x = torch.cat([self.token.expand(n, -1, -1), x], 1)
        return self.head(self.attention(x, x, x, need_weights=False)[0][:, 0])


class Upsampled(nn.Module):
    """Resizing to a size, and a batch written into a reshape, at a batch of two."""

    def forward(self, x):
        x = nn.functional.interpolate(x, size=(12, 10), mode="bilinear", align_corners=False)
        return x.reshape(x.shape[0], 3, -1).mean(2)


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kind", ["convolutional", "resized"])
def test_a_fixed_batch_becomes_dynamic(kind, batch, opset):
    """Catches a batch that stays written in a shape, and one that is replaced where it is another size."""
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module = conv if kind == "convolutional" else Upsampled()
    original = torch_graph(module, batch, 3, 16, 16, opset=opset)
    found = adopt(original)
    x = images(3 * batch, (3, 16, 16))
    expected = np.concatenate([run(original, part)[0] for part in np.split(x, 3)])
    assert_allclose(run(found.graph, x)[0], expected, rtol=1e-4, atol=1e-5)
    assert (found.adoption.fixed_batch, found.adoption.opset) == (batch, opset)


def test_a_transformer_of_batch_one_becomes_dynamic():
    """Catches a class token that is not repeated, and a batch merged into the wrong axis of a reshape."""
    torch.manual_seed(0)
    module = Attention()
    original = torch_graph(module, 1, 3, 16, 16)
    x = images(5, (3, 16, 16))
    (logits,) = run(adopt(original).graph, x)
    with torch.no_grad():
        assert_allclose(logits, module(torch.from_numpy(x)).numpy(), rtol=1e-4, atol=1e-5)
    assert_allclose(logits, np.concatenate([run(original, one[None])[0] for one in x]), rtol=1e-4, atol=1e-5)


def test_grey_images_go_to_a_colour_network_and_small_ones_are_resized_inside():
    """Catches channels that are not repeated, and another way of resizing than the one that is recorded."""
    original = small()
    grey = images(4, (1, 5, 7))
    found = adopt(original, image_shape=(1, 5, 7), resize=True)
    large = nn.functional.interpolate(
        torch.from_numpy(grey).repeat(1, 3, 1, 1), size=(8, 8), mode="bilinear", align_corners=False
    )
    assert_allclose(run(found.graph, grey)[0], run(original, large.numpy())[0], rtol=1e-4, atol=1e-5)
    assert found.image_shape == (1, 5, 7)
    assert found.adoption.grey_repeated
    assert found.adoption.resized_from == (5, 7)


@pytest.mark.parametrize("before", [28, 30, 32, 45, 63])
@pytest.mark.parametrize("after", [224, 299, 31])
def test_a_resized_image_has_the_very_size_of_the_network(before, after):
    """Catches a scale in float32 that rounds down to one pixel less."""
    pool = [("GlobalAveragePool", ["x"], ["p"], {}), ("Flatten", ["p"], ["z"], {})]
    original = graph(*pool, inputs=[("x", F, ["n", 3, after, after])], outputs=[("z", F, ["n", 3])])
    found = onnx.load_from_string(adopt(original, image_shape=(3, before, before), resize=True).graph)
    shapes = onnx.shape_inference.infer_shapes(found, strict_mode=True).graph.value_info
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in shapes}
    (resize,) = [node.output[0] for node in found.graph.node if node.op_type == "Resize"]
    assert sizes[resize][2:] == [after, after]


@pytest.mark.parametrize("shape", [["n", 192], ["n", 192, 1], ["n", 24, 8]])
def test_flat_pixels_are_images_in_the_order_of_channels_rows_columns(shape):
    """Catches a perceptron that is refused, and pixels in another order."""
    weight = np.random.default_rng(2).normal(size=(192, 4)).astype(np.float32)
    nodes = [("Flatten", ["x"], ["f"], {}), ("MatMul", ["f", "w"], ["z"], {})]
    original = graph(*nodes, inputs=[("x", F, shape)], outputs=[("z", F, ["n", 4])], weights={"w": weight})
    found = adopt(original, image_shape=(3, 8, 8), normalization=GIVEN)
    x = images()
    expected = normalised(x, GIVEN).reshape(5, 192) @ weight
    assert_allclose(run(found.graph, x)[0], expected, rtol=1e-3, atol=1e-4)
    assert found.adoption.layout == "flat"


def test_one_sigmoid_becomes_two_logits():
    """Catches a binary network whose second class is lost, or whose classes are exchanged."""
    head = np.random.default_rng(3).normal(size=(5, 1)).astype(np.float32)
    original = small(("Sigmoid", ["z"], ["s"], {}), out=("s", F, ["n", 1]), weights={"w": head})
    found = adopt(original, classes=2)
    probability = torch.softmax(torch.from_numpy(run(found.graph, images())[0]), 1).numpy()[:, 1]
    assert_allclose(probability, run(original, images())[0][:, 0], rtol=1e-4, atol=1e-6)
    assert found.classes == 2


@pytest.mark.parametrize("name", ["logits", "images", "grad_0", "edgerkd_logits"])
def test_a_node_may_have_a_name_that_is_ours(name):
    """Catches nodes that are added under a name which one of the graph has: runtimes refuse a second one."""
    model = onnx.load_from_string(small(("Softmax", ["z"], ["s"], {}), out=("s", F, ["n", 4])))
    for node in model.graph.node[-3:]:
        node.name = name if node.op_type == "MatMul" else f"{name}_{node.op_type}"
    images = RNG.random((3, 3, 8, 8), np.float32)
    found = adopt(model.SerializeToString(), normalization=GIVEN, image_shape=(3, 8, 8)).graph
    assert run(found, images)[0].shape == (3, 4)
    assert run(gradient_twin(found), images, np.ones((3, 4), np.float32))[1].shape == images.shape


def test_trailing_axes_of_one_are_no_classes():
    """Catches a fully convolutional head that is refused."""
    found = adopt(
        small(("Unsqueeze", ["z", "a"], ["u"], {}), out=("u", F, ["n", 4, 1, 1]), weights={"a": np.int64([2, 3])})
    )
    assert run(found.graph, images())[0].shape == (5, 4)


def test_an_old_graph_is_upgraded_and_its_listed_weights_are_no_inputs():
    """Catches opset 9 being refused or misread, and weights among the inputs being taken for images."""
    padded = ("Pad", ["z"], ["q"], {"pads": [0, 0, 0, 1], "mode": "constant"})
    model = onnx.load_from_string(small(padded, out=("q", F, ["n", 5]), opset=9))
    model.ir_version = 3
    for weight in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    found = adopt(model.SerializeToString())
    expected = session(model.SerializeToString()).run(None, {"x": images()})[0]
    assert_allclose(run(found.graph, images())[0], expected, rtol=1e-4, atol=1e-5)
    assert (found.adoption.opset, found.adoption.upgraded_from) == (11, 9)


def test_weights_in_a_file_beside_are_read_into_the_graph(tmp_path):
    """Catches weights that are lost, and a second weight read from the place of the first."""
    original = small()
    onnx.save(
        onnx.load_from_string(original),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
    )
    found = adopt((tmp_path / "net.onnx").read_bytes(), folder=tmp_path)
    assert_allclose(run(found.graph, images())[0], run(original, images())[0], rtol=1e-5)


def external(location: str, **entries) -> bytes:
    """The small network with its kernel in another file."""
    model = onnx.load_from_string(small())
    kernel = model.graph.initializer[0]
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        kernel.external_data.add(key=key, value=str(value))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (external("../secret"), ArtefactError, "'k'.*only files in the graph's own folder"),
        (external("/etc/passwd"), ArtefactError, "only files in the graph's own folder"),
        (external("link"), ArtefactError, "only files in the graph's own folder"),
        (external(""), ArtefactError, "only files in the graph's own folder"),
        (external("absent"), ConfigError, "absent, and there is no such file"),
        (external("short"), ArtefactError, "short: too short for weight 'k'|not a valid"),
        (external("short", offset=100), ArtefactError, "short: too short for weight 'k'"),
        (external("short", offset="x"), ArtefactError, "damaged"),
    ],
    ids=["parent", "absolute", "link", "empty", "absent", "short", "beyond", "no-number"],
)
def test_weights_outside_the_folder_are_never_opened(tmp_path, content, error, message):
    """Catches a graph that reads any file of its user's, and half a weight."""
    folder = tmp_path / "net"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(KERNEL.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "short").write_bytes(bytes(10))
    with pytest.raises(error, match=message):
        adopt(content, folder=folder)


def test_weights_in_a_file_need_a_folder():
    """Catches a file looked for in the current folder."""
    with pytest.raises(ConfigError, match=r"'k' lies in another file, 'net\.data'"):
        adopt(external("net.data"))


BOXES = graph(
    ("GlobalAveragePool", ["x"], ["boxes"], {}),
    ("Relu", ["boxes"], ["scores"], {}),
    inputs=[("x", F, ["n", 3, 8, 8])],
    outputs=[("boxes", F, ["n", 3, 1, 1]), ("scores", F, ["n", 3, 1, 1])],
)
BRANCH = helper.make_graph(
    [helper.make_node("Identity", ["z"], ["b"])], "b", [], [helper.make_tensor_value_info("b", F, None)]
)


def cyclic() -> bytes:
    model = onnx.load_from_string(small())
    model.graph.node[0].input[0] = "r"
    return model.SerializeToString()


def double(model: bytes) -> bytes:
    """With float64 weights, between casts."""
    found = onnx.load_from_string(model)
    found.graph.node[1].CopyFrom(helper.make_node("Cast", ["c"], ["wide"], name="widen", to=D))
    found.graph.node.insert(2, helper.make_node("Cast", ["wide"], ["r"], name="narrow", to=F))
    return found.SerializeToString()


REFUSED = {
    "empty": (b"", {}, ArtefactError, "not an ONNX file"),
    "text": (b"# a network\n" * 20, {}, ArtefactError, "not an ONNX file"),
    "cut": (small()[:-200], {}, ArtefactError, "not an ONNX file, or damaged|not a valid"),
    "cyclic": (cyclic(), {}, ArtefactError, "not a valid ONNX graph"),
    "two inputs": (
        graph(
            ("Add", ["a", "b"], ["z"], {}),
            inputs=[("a", F, ["n", 4]), ("b", F, ["n", 4])],
            outputs=[("z", F, ["n", 4])],
        ),
        {},
        ConfigError,
        "has 2 inputs, a, b: expected one image input",
    ),
    "tokens": (
        graph(("Cast", ["t"], ["z"], {"to": F}), inputs=[("t", 7, ["n", 128])], outputs=[("z", F, ["n", 128])]),
        {},
        ConfigError,
        "'t' is of no image type.*text is not supported",
    ),
    "features": (
        graph(("Relu", ["t"], ["z"], {}), inputs=[("t", F, ["n", 30])], outputs=[("z", F, ["n", 30])]),
        {"image_shape": (3, 8, 8)},
        ConfigError,
        r"\(n, 30\), which is no image \(the data have 3 x 8 x 8\)",
    ),
    "no channels": (
        graph(("Relu", ["x"], ["z"], {}), inputs=[("x", F, ["n", 7, 8, 9])], outputs=[("z", F, ["n", 7, 8, 9])]),
        {},
        ConfigError,
        "no axis has 1, 3 or 4 channels",
    ),
    "open layout": (
        graph(("Relu", ["x"], ["z"], {}), inputs=[("x", F, ["n", 3, 8, 3])], outputs=[("z", F, ["n", 3, 8, 3])]),
        {},
        ConfigError,
        "--layout nchw or nhwc",
    ),
    "open sides": (small(x=("x", F, ["n", 3, "h", "w"])), {}, ConfigError, r"\(n, 3, \?, \?\): say.*--size"),
    "detection": (BOXES, {}, ConfigError, "2 outputs, boxes .*, scores .*--output NAME"),
    "maps": (
        graph(("Relu", ["x"], ["z"], {}), inputs=[("x", F, ["n", 3, 8, 8])], outputs=[("z", F, ["n", 3, 8, 8])]),
        {},
        ConfigError,
        r"the shape \(1, 3, 8, 8\), and class scores",
    ),
    "class number": (
        small(("ArgMax", ["z"], ["a"], {}), out=("a", 7, ["n", 1])),
        {},
        ConfigError,
        "holds no scores.*int64",
    ),
    "no such output": (small(), {"output": "scores"}, ConfigError, r"no tensor 'scores': its outputs are z \(1, 4\)"),
    "unknown operators": (
        small(
            ("Magic", ["z"], ["m"], {}),
            ("Fused", ["m"], ["q"], {"domain": "com.acme"}),
            out=("q", F, ["n", 4]),
            domains=["com.acme"],
        ),
        {},
        ConfigError,
        "(?s)2 problems.*Magic node 'n5' is no ONNX operator.*Fused node 'n6' is of 'com.acme'",
    ),
    "random": (
        small(("RandomNormalLike", ["z"], ["a"], {}), ("Add", ["z", "a"], ["q"], {}), out=("q", F, ["n", 4])),
        {},
        ConfigError,
        "RandomNormalLike node 'n5' is random",
    ),
    "training dropout": (
        small(
            ("Dropout", ["z", "half", "yes"], ["q"], {}),
            out=("q", F, ["n", 4]),
            weights={"half": np.float32(0.5), "yes": np.bool_(True)},
        ),
        {},
        ConfigError,
        "Dropout node 'n5' is in training mode",
    ),
    "control flow": (
        small(
            ("If", ["yes"], ["q"], {"then_branch": BRANCH, "else_branch": BRANCH}),
            out=("q", F, ["n", 4]),
            weights={"yes": np.bool_(True)},
        ),
        {},
        ConfigError,
        "If node 'n5' is control flow",
    ),
    "double input": (
        graph(("Relu", ["x"], ["z"], {}), inputs=[("x", D, ["n", 3, 8, 8])], outputs=[("z", D, ["n", 3, 8, 8])]),
        {},
        ConfigError,
        "'x' is float64: export the model in float32",
    ),
    "double inside": (double(small()), {}, ConfigError, "Cast node 'widen' computes in float64"),
    "too many outputs": (small(), {"classes": 3}, ConfigError, "4 outputs, and the data have 3 classes.*--classes 4"),
    "too few outputs": (small(), {"classes": 7}, ConfigError, "4 outputs, and the data have 7 classes"),
    "other size": (
        small(),
        {"image_shape": (3, 9, 8)},
        ConfigError,
        "images of 8x8, and the data have 8x9.*--resize",
    ),
    "other channels": (small(), {"image_shape": (4, 8, 8)}, ConfigError, "3 channels, and the data have 4"),
    "newer opset": (small(opset=21), {}, ConfigError, "operator set is 21: export it again at 11 to 20"),
    "huge sides": (small(x=("x", F, ["n", 3, 10**6, 10**6])), {}, ConfigError, "1000000x1000000 pixels: expected"),
    "huge tensor": (
        small(
            ("Expand", ["z", "big"], ["q"], {}), out=("q", F, ["n", 4]), weights={"big": np.int64([10**6, 10**6, 4])}
        ),
        {},
        ConfigError,
        "Expand node 'n5' gives a tensor of shape",
    ),
    "batch mixed": (
        small(("ReduceMean", ["z"], ["m"], {"axes": [0]}), ("Sub", ["z", "m"], ["q"], {}), out=("q", F, ["n", 4])),
        {},
        ConfigError,
        "ReduceMean node 'n5' mixes the images of a batch",
    ),
    "first of a batch": (
        small(
            ("Slice", ["z", "zero", "one", "zero"], ["q"], {}),
            out=("q", F, [1, 4]),
            weights={"zero": np.int64([0]), "one": np.int64([1])},
        ),
        {},
        ConfigError,
        "Slice node 'n5' mixes the images of a batch, or keeps one",
    ),
    "training batch norm": (
        small(
            first=[("BatchNormalization", ["y", "s", "b", "b", "s"], ["x", "", ""], {"training_mode": 1})],
            x=("y", F, ["n", 3, 8, 8]),
            weights={"s": np.ones(3, np.float32), "b": np.zeros(3, np.float32)},
        ),
        {},
        ConfigError,
        "BatchNormalization node 'n0' is in training mode",
    ),
    "not finite": (small(weights={"w": HEAD * np.float32("nan")}), {}, ConfigError, "not finite"),
    "constant scores": (
        small(weights={"q": np.zeros((1, 4), np.float32)}),
        {"output": "q"},
        ConfigError,
        "do not depend on its images",
    ),
    "uint8 normalised": (
        CASES["uint8"][0],
        {"normalization": GIVEN},
        ConfigError,
        "uint8 pixels.*given cannot come before",
    ),
    "grey in colour's order": (
        small(),
        {"normalization": Normalization(name="two", mean=(0.0, 0.0), std=(1.0, 1.0))},
        ConfigError,
        "for 2 channels, and it takes 3",
    ),
    "bare number": (
        graph(
            *CONV,
            inputs=[("x", F, ["n", 3, 8, 8])],
            outputs=[("z", F, ["n", 1])],
            weights={"k": KERNEL, "w": HEAD[:, :1]},
        ),
        {},
        ConfigError,
        "one number an image",
    ),
    "deceptive name": (
        small(("Magic\u202e", ["z"], ["q"], {}), out=("q", F, ["n", 4])),
        {},
        ConfigError,
        r"Magic\\u202e",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_classifier_is_refused_in_one_error(case):
    """Catches an error of a library's, one that names no node or fix, and a graph that is taken all the same."""
    content, options, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as refusal:
        adopt(content, where="net.onnx", **options)
    assert str(refusal.value).startswith("net.onnx: ")


def test_a_batch_that_leaks_is_found_by_running_even_where_shapes_are_kept():
    """Catches a graph whose images see each other, which no shape shows."""
    flipped = small(
        first=[("Slice", ["y", "end", "far", "zero", "back"], ["t"], {}), ("Add", ["y", "t"], ["x"], {})],
        x=("y", F, ["n", 3, 8, 8]),
        weights={"end": np.int64([-1]), "far": np.int64([-1000]), "zero": np.int64([0]), "back": np.int64([-1])},
    )
    with pytest.raises(ConfigError, match="Slice node 'n0' gives an image other values in a batch of 2"):
        adopt(flipped)
