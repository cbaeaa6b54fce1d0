"""Which tensors of a graph are its features: small graphs, made node by node, whose stages are known."""

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose
from onnx import TensorProto, helper, numpy_helper

from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.graphs.features import feature_tensors, graph_ends, with_outputs

ort = pytest.importorskip("onnxruntime")


def graph_of(*nodes, shape=(2, 8, 8), classes=3, **weights) -> bytes:
    """A graph of these (operator, inputs, output, attributes), with random weights of the shapes named."""
    rng = np.random.default_rng(0)
    made = helper.make_graph(
        [helper.make_node(op, list(inputs), [output], **attributes) for op, inputs, output, attributes in nodes],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [
            numpy_helper.from_array(
                rng.standard_normal(value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value), name
            )
            for name, value in weights.items()
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


HALVES = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
HEAD = (
    ("GlobalAveragePool", ["c"], "mean", {}),
    ("Flatten", ["mean"], "flat", {}),
    ("Gemm", ["flat", "head"], "logits", {}),
)
BOTTLENECKS = graph_of(
    ("Conv", ["images", "w"], "a0", HALVES),
    ("Relu", ["a0"], "a", {}),
    # A block with a shortcut, of which a branch stays at the finer resolution for a while.
    ("Conv", ["a", "point"], "b0", {}),
    ("Relu", ["b0"], "b1", {}),
    ("Conv", ["b1", "v"], "b2", HALVES),
    ("Conv", ["a", "v"], "short", HALVES),
    ("Add", ["b2", "short"], "sum", {}),
    ("Relu", ["sum"], "c", {}),
    *HEAD,
    w=(4, 2, 3, 3),
    point=(4, 4, 1, 1),
    v=(4, 4, 3, 3),
    head=(4, 3),
)


def test_a_tap_is_the_end_of_a_stage():
    """Catches the last map at a resolution, which is within the next stage's first block, and one before its ReLU."""
    found = feature_tensors(BOTTLENECKS)
    assert found.taps == ("a", "c")
    assert found.penultimate == "flat"


def test_where_nothing_is_gone_through_by_all_the_last_map_is_taken():
    """Catches a resolution lost where two branches lead around each other to the end."""
    graph = graph_of(
        ("Conv", ["images", "w"], "left0", HALVES),
        ("Relu", ["left0"], "left", {}),
        ("Conv", ["images", "w"], "right0", HALVES),
        ("Sigmoid", ["right0"], "right", {}),
        ("GlobalAveragePool", ["left"], "l", {}),
        ("GlobalAveragePool", ["right"], "r", {}),
        ("Concat", ["l", "r"], "both", {"axis": 1}),
        ("Flatten", ["both"], "flat", {}),
        ("Gemm", ["flat", "head"], "logits", {}),
        w=(4, 2, 3, 3),
        head=(8, 3),
    )
    assert feature_tensors(graph).taps == ("right",)


def test_joined_channels_are_a_map_and_side_branches_are_not():
    """Catches a Concat left out, and a tensor that no logit depends on."""
    graph = graph_of(
        ("Conv", ["images", "w"], "a0", HALVES),
        ("Relu", ["a0"], "a", {}),
        ("Concat", ["a", "a0"], "c", {"axis": 1}),
        *HEAD,
        ("Relu", ["c"], "unused", {}),
        w=(4, 2, 3, 3),
        head=(8, 3),
    )
    assert feature_tensors(graph).taps == ("c",)


def test_tokens_and_patches_are_no_maps():
    """Catches a transformer's patch embedding or its attention, square as both are, taken for a stage."""
    graph = graph_of(
        ("Conv", ["images", "w"], "patches", {"strides": [2, 2]}),  # (batch, 4, 4, 4)
        ("Softmax", ["patches"], "attention", {"axis": -1}),
        ("MatMul", ["attention", "patches"], "mixed", {}),
        ("Relu", ["mixed"], "active", {}),
        ("Flatten", ["active"], "flat", {}),
        ("MatMul", ["flat", "head"], "logits", {}),
        w=(4, 2, 2, 2),
        head=(64, 3),
    )
    taps = feature_tensors(graph).taps
    assert "patches" not in taps
    assert not {"mixed", "active"} & set(taps)


def test_a_perceptron_has_no_maps_and_a_linear_model_no_more_than_its_pixels():
    """Catches an error where there is nothing to find, and weights taken for what a layer is applied to."""
    graph = graph_of(
        ("Flatten", ["images"], "pixels", {}),
        ("MatMul", ["pixels", "w"], "scores", {}),
        ("Add", ["scores", "bias"], "logits", {}),
        w=(128, 3),
        bias=(3,),
    )
    found = feature_tensors(graph)
    assert (found.taps, found.penultimate) == ((), "pixels")
    turned = graph_of(
        ("Flatten", ["images"], "pixels", {}),
        ("Transpose", ["pixels"], "columns", {}),
        ("MatMul", ["w", "columns"], "scores", {}),
        ("Transpose", ["scores"], "logits", {}),
        w=(3, 128),
    )
    assert feature_tensors(turned).penultimate == "columns"


def test_a_graph_without_a_layer_is_refused():
    """Catches an IndexError."""
    graph = graph_of(
        ("GlobalAveragePool", ["images"], "mean", {}), ("Flatten", ["mean"], "logits", {}), shape=(3, 8, 8)
    )
    with pytest.raises(ConfigError, match="no linear map and no convolution"):
        feature_tensors(graph)


def test_a_last_convolution_is_applied_to_a_map():
    """Catches the weights of a convolution, or its output, taken for what it is applied to."""
    graph = graph_of(
        ("Conv", ["images", "w"], "a0", HALVES),
        ("Relu", ["a0"], "a", {}),
        ("Conv", ["a", "head"], "scores", {}),
        ("GlobalAveragePool", ["scores"], "mean", {}),
        ("Flatten", ["mean"], "logits", {}),
        w=(4, 2, 3, 3),
        head=(3, 4, 1, 1),
    )
    assert feature_tensors(graph).penultimate == "a"


def test_features_are_further_outputs_of_the_same_graph():
    """Catches weights stored twice, outputs in another order, and a tensor named twice."""
    names = ("flat", "c", "a", "c", "images")
    more = with_outputs(BOTTLENECKS, names)
    assert len(more) < len(BOTTLENECKS) + 1000
    x = np.random.default_rng(1).random((5, 2, 8, 8), dtype=np.float32)
    (logits,) = ort.InferenceSession(BOTTLENECKS).run(None, {"images": x})
    again, *found = ort.InferenceSession(more).run(None, {"images": x})
    assert_allclose(again, logits, rtol=1e-5, atol=1e-6)
    assert [f.shape for f in found] == [(5, 4), (5, 4, 2, 2), (5, 4, 4, 4), (5, 4, 2, 2), (5, 2, 8, 8)]
    assert_allclose(found[0], found[1].mean((2, 3)), rtol=1e-5, atol=1e-6)
    assert_allclose(found[4], x)


def test_ends_are_read_and_other_graphs_refused():
    """Catches images and logits by position alone, and a batch that is fixed."""
    ends = graph_ends(BOTTLENECKS)
    assert (ends.image_shape, ends.classes) == ((2, 8, 8), 3)
    for change in (
        lambda m: m.graph.input[0].type.tensor_type.shape.dim[0].__setattr__("dim_value", 4),
        lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].__setattr__("dim_param", "h"),
        lambda m: m.graph.output[0].__setattr__("name", "scores"),
        lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", TensorProto.DOUBLE),
    ):
        model = onnx.load_from_string(BOTTLENECKS)
        change(model)
        with pytest.raises(ArtefactError, match="not a graph that edgerkd made"):
            graph_ends(model.SerializeToString())


def test_weights_in_other_files_are_refused():
    """Catches a graph that would read whatever file its author names."""
    model = onnx.load_from_string(BOTTLENECKS)
    weight = model.graph.initializer[0]
    weight.data_location = TensorProto.EXTERNAL
    weight.ClearField("raw_data")
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    with pytest.raises(ArtefactError, match="in other files"):
        graph_ends(model.SerializeToString())
