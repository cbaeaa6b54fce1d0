"""What every backend must do alike, on each that runs here; those of a GPU run where there is one (`make test-gpu`)."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper

from edgerkd.bundle.plugins import load_backend, open_onnx
from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd.core.variant import PARITY
from edgerkd.graphs.precision.fp16 import halved, widened
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.onnx_graph import onnx_from_network
from tests.exporters.small_graphs import SHAPE, classifier, classifier_numpy, model, save, twin, unsupported
from tests.zoo import network

ON_CPU, ON_GPU = ("onnx", "openvino"), ("onnx-cuda", "onnx-trt", "trt", "trt-rtx")
GRAPH_IS_ENGINE = ("onnx", "openvino", "onnx-cuda", "onnx-trt")
MOST = 64


@pytest.fixture(params=[*ON_CPU, *(pytest.param(name, marks=pytest.mark.gpu) for name in ON_GPU)])
def backend(request):
    found = load_backend(request.param)
    try:
        found.check()
    except MissingDependencyError as e:
        pytest.skip(str(e))
    return found


@pytest.fixture
def images():
    return np.random.default_rng(1).random((65, *SHAPE), dtype=np.float32)


@pytest.fixture
def opened(backend, tmp_path):
    """Builds a graph and loads it."""

    def open_(graph, name="student"):
        content = graph if isinstance(graph, bytes) else graph.SerializeToString()
        (tmp_path / f"{name}.onnx").write_bytes(content)
        target = tmp_path / f"{name}{backend.suffix}"
        backend.build(tmp_path / f"{name}.onnx", target, max_batch=MOST)
        return backend.open(target)

    return open_


def test_a_backend_says_who_it_is_and_what_it_runs_on(backend, opened):
    """Catches an engine that reports under another backend's name, and a CPU that is said to be a GPU."""
    with opened(classifier()) as engine:
        assert engine.backend == backend.name
        assert engine.version[0].isdigit()
        assert engine.device.kind == ("cpu" if backend.name in ON_CPU else "gpu")
        assert backend.placement == ("signed" if "trt" in backend.name else "unsigned")


def test_the_graph_is_the_engine_where_nothing_is_built(backend, tmp_path):
    """Catches a build that re-encodes, writes nothing, or claims decisions that were not made."""
    if backend.name not in GRAPH_IS_ENGINE:
        pytest.skip("this one builds an engine of its own")
    graph, target = save(classifier(), tmp_path / "graph.onnx"), tmp_path / "new" / "engine.onnx"
    backend.check_build()
    decided = BuildLog(arithmetic="fp32") if backend.name == "openvino" else BuildLog()
    assert backend.build(graph, target, max_batch=8) == decided
    assert target.read_bytes() == graph.read_bytes()


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 65])
def test_logits_equal_numpy_for_any_batch(opened, images, batch):
    """Catches a wrong input order, bfloat16 or TF32 in place of float32, a fixed batch, and one that is cut off."""
    with opened(classifier()) as engine:
        (logits,) = engine(images[:batch])
        assert logits.dtype == np.float32
        assert_allclose(logits, classifier_numpy(images[:batch]), rtol=0, atol=1e-5)


def test_batches_of_several_sizes_follow_each_other(opened, images):
    """Catches buffers of the first batch that are read after a larger or a smaller one."""
    with opened(classifier()) as engine:
        for batch in (3, 65, 1, 64, 3):
            assert_allclose(engine(images[:batch])[0], classifier_numpy(images[:batch]), rtol=0, atol=1e-5)


def test_two_inputs_and_outputs_keep_the_order_of_the_graph(opened, images):
    """Catches outputs or inputs that are sorted by name, or paired wrongly."""
    cotangent = np.arange(65 * 5, dtype=np.float32).reshape(65, 5)
    with opened(twin()) as engine:
        negative, square = engine(images, cotangent)
    assert_array_equal(negative, -cotangent)
    assert_allclose(square, images * images, rtol=1e-6)


def test_strided_images_are_read_in_their_own_order(opened, images):
    """Catches memory handed on without its strides."""
    view = np.asfortranarray(images)[::2]
    with opened(classifier()) as engine:
        assert_allclose(engine(view)[0], classifier_numpy(images[::2]), rtol=0, atol=1e-5)


def test_what_was_answered_stays_when_the_engine_goes_on_and_when_it_is_gone(opened, images):
    """Catches answers that lie in the engine's own memory."""
    with opened(classifier()) as engine:
        first = engine(images[:3])[0]
        engine(1 - images[:3])
    gc.collect()
    assert_allclose(first, classifier_numpy(images[:3]), rtol=0, atol=1e-5)


def test_two_engines_live_side_by_side(opened, images):
    """Catches a state of the library's that the second engine takes from the first."""
    negated = model([helper.make_node("Neg", ["images"], ["logits"])], {"images": SHAPE}, {"logits": SHAPE})
    with opened(negated, "other") as other:
        with opened(classifier(), "one") as one:
            for batch in (1, 5):
                assert_array_equal(other(images[:batch])[0], -images[:batch])
                assert_allclose(one(images[:batch])[0], classifier_numpy(images[:batch]), rtol=0, atol=1e-5)
        assert_array_equal(other(images[:2])[0], -images[:2])


def test_threads_get_their_own_answers(opened, images):
    """Catches one request that two callers write into."""
    with opened(classifier()) as engine, ThreadPoolExecutor(4) as threads:
        parts = [images[i : i + 1 + i % 3] for i in range(40)]
        for part, (logits,) in zip(parts, threads.map(engine, parts), strict=True):
            assert_allclose(logits, classifier_numpy(part), rtol=0, atol=1e-5)


def test_nan_goes_through(opened, images):
    """Catches an engine that hides NaN from its caller, who must see it. A ReLU may swallow it: this graph has none."""
    doubled = model([helper.make_node("Add", ["images", "images"], ["logits"])], {"images": SHAPE}, {"logits": SHAPE})
    images[3] = np.nan
    with opened(doubled) as engine:
        assert_array_equal(np.isnan(engine(images[:7])[0]).all(axis=(1, 2, 3)), np.arange(7) == 3)


def test_all_that_is_wrong_with_a_call_is_said_at_once(opened, images):
    """Catches the library's own errors, one at a time; float64 quietly rounded; batches that differ."""
    with opened(twin(), "twin") as engine:
        with pytest.raises(EngineError) as caught:
            engine(images[:7].astype(np.float64), np.zeros((6, 4), np.float32))
        for part in (": 3 problems", "'images' must be float32, got float64", "(any, 5), got (6, 4)", "[6, 7]"):
            assert part in str(caught.value)
        with pytest.raises(EngineError, match=r"takes 2 inputs \(images, cotangent\), got 1"):
            engine(images)
        with pytest.raises(EngineError, match=r"at least 1, got \[0\]"):
            engine(images[:0], np.zeros((0, 5), np.float32))
        assert len(engine(images[:2], np.zeros((2, 5), np.float32))) == 2, "a refused call must not spoil the next"


@pytest.mark.parametrize("content", [b"", b"hello, this is no graph\n" * 9])
def test_what_is_no_graph_is_refused_and_nothing_is_written(backend, tmp_path, content):
    """Catches a plain copy, and an empty file taken for a network without layers."""
    path, target = tmp_path / "odd.onnx", tmp_path / "engine"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"odd\.onnx: not an ONNX graph"):
        backend.build(path, target, max_batch=8)
    assert not target.exists()


def test_an_unknown_operator_is_an_error_of_the_engine(opened):
    """Catches the library's own exception let through to the user."""
    with pytest.raises(EngineError, match="GroupNormalization"), opened(unsupported(), "odd"):
        pass


def test_ends_that_are_not_float32_are_refused(opened):
    """Catches half precision at the ends, which every caller would feed with float32."""
    half = model([helper.make_node("Neg", ["a"], ["b"])], {"a": (2,)}, {"b": (2,)}, kind=TensorProto.FLOAT16)
    with pytest.raises((ArtefactError, EngineError), match=r"must be float32.*a"), opened(half):
        pass


@pytest.fixture(scope="module", params=["mobilenetv2", "preactresnet"])
def student(request) -> bytes:
    """With grouped and ordinary convolutions, strides and residual sums, after an activation or before it."""
    return onnx_from_network(network(seed=3, family=request.param, channels=3, height=16, width=16, mean=(0.5,) * 3))


def variants(graph: bytes, pixels, placement: str) -> dict[str, tuple[bytes, bytes, float]]:
    """By precision: a graph, its twin, and the limit of parity."""
    half = halved(graph)
    rounded = quantized(graph, find_ranges(graph, [pixels]), placement=placement, keep=layers(graph)[-1:])
    return {
        "fp32": (graph, gradient_twin(graph), PARITY["fp32"].logit_share),
        "fp16": (half, gradient_twin(widened(half)), PARITY["fp16"].logit_share),
        "int8": (rounded, gradient_twin(rounded), PARITY["int8"].logit_share),
    }


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_student_and_its_twin_are_those_of_onnx_runtime(backend, opened, student, precision):
    """Catches OpenVINO's weights shared with a transposed convolution (a cosine of 0.08), and bfloat16 by default."""
    pixels = np.random.default_rng(0).random((16, 3, 16, 16), np.float32)
    graph, derived, limit = variants(student, pixels, backend.placement)[precision]
    cotangent = np.random.default_rng(1).normal(size=(16, 10)).astype(np.float32)
    with open_onnx(graph) as engine, open_onnx(derived) as gradients:
        (expected,), (_, slopes) = engine(pixels), gradients(pixels, cotangent)
    with opened(graph) as engine, opened(derived, "twin") as gradients:
        (logits,), (_, found) = engine(pixels), gradients(pixels, cotangent)
    assert_allclose(logits, expected, atol=limit * np.abs(expected).max())
    cosine = (found * slopes).sum() / np.linalg.norm(found) / np.linalg.norm(slopes)
    assert cosine > (0.99 if precision == "int8" else 0.9999)


def test_the_float_convolutions_of_a_twin_share_their_weights(student):
    """Guards the test above: without sharing it would not see what it is about."""
    graph = onnx.load_from_string(gradient_twin(student)).graph
    users = {op: {node.input[1] for node in graph.node if node.op_type == op} for op in ("Conv", "ConvTranspose")}
    assert users["Conv"] & users["ConvTranspose"]
