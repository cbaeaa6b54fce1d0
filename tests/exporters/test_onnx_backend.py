"""The ONNX backend: ONNX Runtime, for real on the CPU."""

import platform
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper

from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd_exporters import onnx as backend
from edgerkd_exporters._checks import read_onnx
from tests.exporters.small_graphs import SHAPE, classifier, classifier_numpy, model, save, twin, unsupported

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture
def images():
    return np.random.default_rng(1).random((7, *SHAPE), dtype=np.float32)


@pytest.fixture
def graph(tmp_path):
    return save(classifier(), tmp_path / "student.onnx")


def damaged(path, how):
    data = path.read_bytes()
    texts = {"empty": b"", "text": b"hello, this is no graph\n" * 9, "no graph": data[:2]}
    texts |= {"cut": data[:-9], "cut by one": data[:-1], "longer": data + b"x", "a fixed-size field": data + b"\x7d\0"}
    path.write_bytes(texts[how])
    return path


def test_building_copies_the_graph(graph, tmp_path):
    """A build that re-encodes, writes nothing, or claims decisions that were not made."""
    target = tmp_path / "new" / "engine.onnx"
    assert backend.OnnxBackend().build(graph, target, max_batch=8) == BuildLog()
    assert target.read_bytes() == graph.read_bytes()


@pytest.mark.parametrize("how", ["empty", "text", "no graph", "cut", "cut by one", "longer", "a fixed-size field"])
def test_build_refuses_what_is_not_onnx_and_writes_nothing(graph, tmp_path, how):
    """A plain copy, or a check of the first bytes only."""
    target = tmp_path / "engine.onnx"
    with pytest.raises(ArtefactError, match=r"student\.onnx: not an ONNX graph"):
        backend.OnnxBackend().build(damaged(graph, how), target, max_batch=8)
    assert not target.exists()


def test_read_onnx_names_a_missing_file(tmp_path):
    """A bare FileNotFoundError."""
    with pytest.raises(ArtefactError, match=r"gone\.onnx: cannot be read"):
        read_onnx(tmp_path / "gone.onnx")


def test_logits_equal_numpy_for_any_batch(graph, images):
    """Wrong input order, another provider's rounding, a fixed batch."""
    with backend.OnnxBackend().open(graph) as engine:
        assert (engine.backend, engine.version) == ("onnx", ort.__version__)
        assert (engine.device.kind, engine.device.machine) == ("cpu", platform.machine())
        for batch in (1, 2, 7):
            (logits,) = engine(images[:batch])
            assert logits.dtype == np.float32
            assert_allclose(logits, classifier_numpy(images[:batch]), rtol=0, atol=1e-5)


def test_two_inputs_and_outputs_keep_the_order_of_the_graph(tmp_path, images):
    """Outputs or inputs sorted by name, or paired wrongly."""
    cotangent = np.arange(35, dtype=np.float32).reshape(7, 5)
    with backend.OnnxBackend().open(save(twin(), tmp_path / "twin.onnx")) as engine:
        negative, square = engine(images, cotangent)
    assert_array_equal(negative, -cotangent)
    assert_array_equal(square, images * images)


def test_strided_images_are_read_in_their_own_order(graph, images):
    """Memory handed on without its strides."""
    view = np.asfortranarray(images)[::2]
    with backend.OnnxBackend().open(graph) as engine:
        assert_allclose(engine(view)[0], classifier_numpy(images[::2]), rtol=0, atol=1e-5)


def test_nan_goes_through(graph, images):
    """An engine that hides NaN from its caller, who must see it."""
    images[3] = np.nan
    with backend.OnnxBackend().open(graph) as engine:
        assert_array_equal(np.isnan(engine(images)[0]).all(axis=1), np.arange(7) == 3)


def test_all_that_is_wrong_with_a_call_is_said_at_once(tmp_path, images):
    """ONNX Runtime's own errors, one at a time; float64 quietly rounded; batches that differ."""
    with backend.OnnxBackend().open(save(twin(), tmp_path / "twin.onnx")) as engine:
        with pytest.raises(EngineError) as caught:
            engine(images.astype(np.float64), np.zeros((6, 4), np.float32))
        for part in (
            "twin.onnx: 3 problems",
            "'images' must be float32, got float64",
            "(any, 5), got (6, 4)",
            "[6, 7]",
        ):
            assert part in str(caught.value)
        with pytest.raises(EngineError, match=r"takes 2 inputs \(images, cotangent\), got 1"):
            engine(images)
        with pytest.raises(EngineError, match=r"at least 1, got \[0\]"):
            engine(images[:0], np.zeros((0, 5), np.float32))


@pytest.mark.parametrize("how", ["empty", "text", "cut"])
def test_open_refuses_what_is_not_onnx(graph, how):
    """ONNX Runtime's InvalidProtobuf or InvalidArgument let through to the user."""
    with pytest.raises(ArtefactError, match=r"student\.onnx: not an ONNX graph"):
        backend.OnnxBackend().open(damaged(graph, how))


def test_open_refuses_damage_inside_the_graph(graph):
    """A check of the outer frame only: here the frame is whole and the graph is not."""
    data = graph.read_bytes()
    at = data.index(b"MatMul")
    graph.write_bytes(data[: at - 1] + b"\x7f" + data[at:])  # the length of the operator's name
    with pytest.raises(ArtefactError, match=r"student\.onnx: not an ONNX graph, or damaged"):
        backend.OnnxBackend().open(graph)


def test_open_says_which_operator_is_unknown(tmp_path):
    """The same error for a good file this runtime cannot run as for a damaged one."""
    with pytest.raises(EngineError, match=r"odd\.onnx: onnxruntime .* cannot load it: .*NoSuchOperator"):
        backend.OnnxBackend().open(save(unsupported(), tmp_path / "odd.onnx"))


def test_open_refuses_ends_that_are_not_float32(tmp_path):
    """Half precision at the ends, which every caller would feed with float32."""
    half = model([helper.make_node("Neg", ["a"], ["b"])], {"a": (2,)}, {"b": (2,)}, kind=TensorProto.FLOAT16)
    with pytest.raises(ArtefactError, match=r"must be float32, not a: tensor\(float16\), b"):
        backend.OnnxBackend().open(save(half, tmp_path / "half.onnx"))


def test_a_session_on_other_providers_is_refused(graph, monkeypatch):
    """Trusting the request: ONNX Runtime is known to add providers of its own."""
    monkeypatch.setattr(
        ort.InferenceSession, "get_providers", lambda self: ["XnnpackExecutionProvider", backend._PROVIDER]
    )
    with pytest.raises(EngineError, match="Xnnpack"):
        backend.OnnxBackend().open(graph)
    with pytest.raises(MissingDependencyError, match="Xnnpack"):
        backend.OnnxBackend().check()


def test_check_passes_here_and_its_graph_is_what_it_says():
    """A constant that has rotted."""
    backend.OnnxBackend().check()
    backend.OnnxBackend().check_build()
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])] for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "check", *ends)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert made.SerializeToString() == backend._IDENTITY


def test_without_onnxruntime_the_install_line_is_given(graph, monkeypatch):
    """A bare ImportError, or a build that needs what only running does."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for action in (backend.OnnxBackend().check, lambda: backend.OnnxBackend().open(graph)):
        with pytest.raises(MissingDependencyError, match=r'pip install "edgerkd\[ort\]"'):
            action()
    backend.OnnxBackend().check_build()
