"""Graphs with more outputs, made and run without an ONNX library."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from edgerkd.bundle.plugins import open_onnx
from edgerkd.core.errors import ArtefactError
from edgerkd.files.onnx_layers import count_layer_weights, layers_of, with_outputs
from edgerkd.verify.layers import first_difference, read_tensors, relative_difference, seen_cost
from tests.device.test_onnx_frame import field
from tests.graphs.test_adopt import CONV, KERNEL, WEIGHTS, F, graph, images, small

GRAPH = small(x=("x", F, ["n", 3, 8, 8]))


def test_layers_and_their_weights_are_read():
    """Catches weights of other constants counted, and layers of other kinds."""
    layers = layers_of(GRAPH)
    assert [(layer.kind, layer.output, layer.varies) for layer in layers] == [
        ("Conv", "c", True),
        ("MatMul", "z", True),
    ]
    assert layers[0].weight == KERNEL.shape
    assert count_layer_weights(GRAPH) == sum(weight.size for weight in WEIGHTS.values())


def test_a_product_of_constants_is_no_layer_of_the_images():
    """Catches tables computed from constants and counted as weights: a Swin V2's claim would be refused."""
    table = np.ones((4, 4), np.float32)
    more = [("MatMul", ["t", "t"], ["tt"], {}), ("MatMul", ["z", "tt"], ["y"], {})]
    content = small(*more, weights={"t": table}, out=("y", F, ["n", 4]))
    assert [layer.varies for layer in layers_of(content)] == [True, True, False, True]
    assert count_layer_weights(content) == sum(weight.size for weight in WEIGHTS.values())


def test_tensors_inside_are_read_and_the_answers_stay(tmp_path):
    """Catches outputs in another order, the wrong tensor, and a graph changed by being looked into."""
    shown = images()
    with open_onnx(GRAPH) as engine:
        (expected,) = engine(shown)
    with open_onnx(with_outputs(GRAPH, ["f", "c"])) as engine:
        answers, flat, convolved = engine(shown)
    assert_allclose(answers, expected, atol=1e-6)
    assert convolved.shape == (5, KERNEL.shape[0], 4, 4)
    assert_allclose(flat, np.maximum(convolved, 0).mean((2, 3)), atol=1e-6)
    assert list(read_tensors(GRAPH, open_onnx, ["z"], shown)) == ["z"]
    assert read_tensors(GRAPH, open_onnx, [], shown) == {}


@pytest.mark.parametrize("name", [b"edgerkd layer 0", b"\xff\xfe\xff", b"\x1b[31mred"])
def test_no_name_hides_a_layer(name):
    """Catches a tensor named so that its layer cannot be read, or that reaches a terminal as it is."""
    nodes = [("Conv", ["x", "k"], ["~" * len(name)], CONV[0][3]), ("Relu", ["~" * len(name)], ["r"], {}), *CONV[2:]]
    ends = {"inputs": [("x", F, ["n", 3, 8, 8])], "outputs": [("z", F, ["n", 4])]}
    content, other = (
        graph(*nodes, **ends, weights={**WEIGHTS, "k": kernel}).replace(b"~" * len(name), name)
        for kernel in (KERNEL, KERNEL * 2)
    )
    assert layers_of(content)[0].output.encode(errors="surrogateescape") == name
    assert seen_cost(content, open_onnx, (3, 8, 8)).macs == seen_cost(GRAPH, open_onnx, (3, 8, 8)).macs
    found = first_difference(other, content, open_onnx, open_onnx, images(), 1e-3)
    assert found is not None
    assert found.place == 1
    assert found.layer.isprintable()


def test_multiply_adds_are_counted_by_what_was_seen():
    """Catches strides, padding or channels ignored: 16 places, each a kernel for each of its outputs, and the head."""
    found = seen_cost(GRAPH, open_onnx, (3, 8, 8))
    assert found.macs == 16 * KERNEL.size + WEIGHTS["w"].size
    assert found.least_bytes == 4 * (found.weights + 16 * len(KERNEL))


def test_the_first_layer_that_differs_is_named():
    """Catches the last layer named, in which every difference shows, and one that is only rounded."""
    changed = graph(
        *CONV,
        inputs=[("x", F, ["n", 3, 8, 8])],
        outputs=[("z", F, ["n", 4])],
        weights={**WEIGHTS, "w": WEIGHTS["w"] * 1.5},
    )
    shown = images()
    assert first_difference(GRAPH, GRAPH, open_onnx, open_onnx, shown, 1e-6) is None
    found = first_difference(changed, GRAPH, open_onnx, open_onnx, shown, 1e-3)
    assert found is not None
    assert (found.layer, found.kind, found.place, found.of) == ("z", "MatMul", 2, 2)
    assert found.share == pytest.approx(0.5, rel=1e-4)
    assert first_difference(changed, GRAPH, open_onnx, open_onnx, shown, 0.6) is None


def test_a_relative_difference():
    """Catches a division by zero, and other shapes that are compared element by element."""
    ones = np.ones((2, 3), np.float32)
    assert relative_difference(ones, ones[:, :2]) == 1.0
    assert relative_difference(ones, ones) == 0.0
    assert relative_difference(1.5 * ones, ones) == pytest.approx(0.5)
    assert np.isfinite(relative_difference(ones, 0 * ones))


@given(st.binary(max_size=60))
def test_damaged_graphs_are_refused(content):
    """Catches any other error than the one for damaged files."""
    for damaged in (content, field(7, content), field(7, field(1, content))):
        with suppress(ArtefactError):
            layers_of(damaged)
