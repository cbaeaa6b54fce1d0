"""The live engine, against fakes of TensorRT and of the CUDA runtime (see fake_tensorrt.py): no GPU is needed.

What the fakes cannot show: that a real TensorRT accepts these calls, its rounding, and its speed.
"""

import sys
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edgerkd.bundle.backend import TimedEngine
from edgerkd.core.engine import DeviceRecord
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd_exporters.tensorrt import TensorRTBackend
from edgerkd_exporters.tensorrt_rtx import TensorRTRTXBackend
from tests.exporters.fake_tensorrt import HEADER, FakeCuda, FakeTensorRT

SHAPE = (3, 4, 4)


def twin(images, cotangent):
    return 2 * cotangent, images + 1


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    return fake


@pytest.fixture
def trt(monkeypatch, cuda):
    fake = FakeTensorRT(cuda, {"images": SHAPE, "cotangent": (5,)}, {"logits": (5,), "gradient": SHAPE}, twin)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return fake


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "student.plan"
    path.write_bytes(HEADER + b"weights")
    return path


def batch(size):
    rng = np.random.default_rng(size)
    return rng.random((size, *SHAPE), dtype=np.float32), rng.random((size, 5), dtype=np.float32)


def check_answers(found, inputs):
    for array, expected in zip(found, twin(*inputs), strict=True):
        assert_array_equal(array, expected)


def check_free(cuda):
    assert cuda.memory == {}, "device memory was not freed"
    assert cuda.streams == {}, "a stream was not destroyed"


def test_engine_computes_in_the_order_of_the_graph(trt, cuda, plan):
    """Outputs read before the stream is synchronised, addresses or shapes not set, outputs in another order."""
    with TensorRTBackend().open(plan) as engine:
        assert (engine.backend, engine.version) == ("trt", "10.13.3.9")
        assert engine.device == DeviceRecord(kind="gpu", name="Fake GPU", capability="8.7", multiprocessors=8)
        images, cotangent = batch(3)
        logits, gradient = engine(images, cotangent)
    assert_array_equal(logits, 2 * cotangent)
    assert_array_equal(gradient, images + 1)
    assert logits.dtype == gradient.dtype == np.float32
    check_free(cuda)


def test_batches_beyond_the_profile_are_split(trt, plan):
    """A batch cut off, refused, or a last part run at full size over stale rows."""
    with TensorRTBackend().open(plan) as engine:
        for size in (1, 4, 5, 11):
            images, cotangent = batch(size)
            logits, gradient = engine(images, cotangent)
            assert_array_equal(logits, 2 * cotangent)
            assert_array_equal(gradient, images + 1)
    assert trt.contexts[0].batches == [1, 4, 4, 1, 4, 4, 3]


def test_results_of_one_call_survive_the_next(trt, plan):
    """Outputs that share memory from call to call."""
    with TensorRTBackend().open(plan) as engine:
        images, cotangent = batch(2)
        logits, _ = engine(images, cotangent)
        engine(images, cotangent + 1)
    assert_array_equal(logits, 2 * cotangent)


def test_buffers_are_taken_once(trt, cuda, plan):
    """Memory taken in every call."""
    with TensorRTBackend().open(plan) as engine:
        for size in (1, 9):
            engine(*batch(size))
        assert cuda.allocations == len(cuda.memory) == 4


def test_the_devices_own_time_is_that_of_one_execution(trt, cuda, plan):
    """Copies that are timed as well, work that is timed before it is done, and events that are never freed."""
    with TensorRTBackend().open(plan) as engine:
        assert isinstance(engine, TimedEngine)
        assert [engine.device_ms(*batch(size)) for size in (1, 3, 1)] == [0.25, 0.75, 0.25]
        with pytest.raises(EngineError, match=r"was built for 4 images at once, got 5"):
            engine.device_ms(*batch(5))
    assert cuda.events == 6
    assert cuda.times == {}
    check_free(cuda)


@pytest.mark.parametrize("first", ["__call__", "device_ms"])
def test_threads_get_their_own_answers_and_times(trt, plan, first):
    """Catches a second thread that uploads, computes or is timed in the middle of the first one's call.

    The first call, about to execute, starts two others and waits for them: nothing but a lock keeps them out.
    """
    one, two, three = batch(3), batch(2), batch(1)
    with TensorRTBackend().open(plan) as engine, ThreadPoolExecutor(2) as threads:
        assert isinstance(engine, TimedEngine)
        context, others = trt.contexts[0], []
        execute = context.execute_async_v3

        def execute_after_the_others(stream):
            context.execute_async_v3 = execute
            others.extend([threads.submit(engine, *two), threads.submit(engine.device_ms, *three)])
            wait(others, timeout=0.5)
            return execute(stream)

        context.execute_async_v3 = execute_after_the_others
        found = getattr(engine, first)(*one)
    if first == "device_ms":
        assert found == 0.75
    else:
        check_answers(found, one)
    check_answers(others[0].result(), two)
    assert others[1].result() == 0.25


def test_strided_arrays_are_read_in_their_own_order(trt, plan):
    """The address of a view handed to CUDA without its strides."""
    images, cotangent = batch(8)
    with TensorRTBackend().open(plan) as engine:
        logits, gradient = engine(np.asfortranarray(images)[::2], cotangent[::-2])
    assert_array_equal(gradient, images[::2] + 1)
    assert_array_equal(logits, 2 * cotangent[::-2])


def test_wrong_arrays_never_reach_the_device(trt, cuda, plan):
    """float64, or another image size, read as float32 of the right one."""
    images, cotangent = batch(2)
    with TensorRTBackend().open(plan) as engine:
        with pytest.raises(EngineError, match=r"(?s)must be float32, got float64.*\(any, 5\), got \(2, 4\)"):
            engine(images.astype(np.float64), cotangent[:, :4])
        assert cuda.copies == 0


def test_a_failing_execution_carries_the_librarys_reason(trt, cuda, plan):
    """A False ignored, so that the output of an earlier call is taken for this one's."""
    with TensorRTBackend().open(plan) as engine:
        trt.refuse = "execution"
        with pytest.raises(EngineError, match=r"student\.plan: execution refused: enqueue failed"):
            engine(*batch(2))
    check_free(cuda)


@pytest.mark.parametrize("call", ["cudaMemcpyAsync", "cudaStreamSynchronize"])
def test_a_cuda_error_is_an_engine_error(trt, cuda, plan, call):
    """CUDA's error codes dropped: asynchronous failures show in the synchronisation only."""
    with TensorRTBackend().open(plan) as engine:
        cuda.fail[call] = 700
        with pytest.raises(EngineError, match=rf"{call}: fake error 700"):
            engine(*batch(2))
        cuda.fail.clear()
    check_free(cuda)


@pytest.mark.parametrize("refuse", ["engine", "context"])
def test_a_refused_engine_leaves_nothing_on_the_gpu(trt, cuda, plan, refuse):
    """None used as an engine; a stream kept after the failure."""
    trt.refuse = refuse
    with pytest.raises(EngineError, match=r"student\.plan: tensorrt 10\.13\.3\.9 cannot load it; build"):
        TensorRTBackend().open(plan)
    check_free(cuda)


def test_running_out_of_memory_leaves_nothing_on_the_gpu(trt, cuda, plan):
    """The buffers taken before the failing one are kept."""
    cuda.fail["cudaMalloc"] = 2
    with pytest.raises(EngineError, match="cudaMalloc: fake error 2"):
        TensorRTBackend().open(plan)
    check_free(cuda)


def test_ends_that_are_not_float32_are_refused(trt, cuda, plan):
    """Half-precision buffers of twice the size, filled with float32."""
    trt.dtype = trt.DataType.HALF
    with pytest.raises(EngineError, match="must be float32, but images, cotangent, logits, gradient are not"):
        TensorRTBackend().open(plan)
    check_free(cuda)


def test_outputs_without_a_batch_are_refused(trt, cuda, plan):
    """A buffer for one row, from which a row an image is read."""
    trt.unbatched = {"logits"}
    with pytest.raises(EngineError, match="must be the batch, but for logits it is not"):
        TensorRTBackend().open(plan)
    check_free(cuda)


@pytest.mark.parametrize("reported", ["10.13.3.9", "10.13.3"])
def test_a_version_of_three_parts_matches_a_header_of_four(trt, plan, reported):
    """Jetson's binding leaves out the build number: a plain comparison would refuse every engine there."""
    trt.__version__ = reported
    TensorRTBackend().open(plan).__exit__(None, None, None)


@pytest.mark.parametrize(("reported", "theirs"), [("10.3.0", "10.13.3.9"), ("10.13.3.10", "10.13.3.9")])
def test_an_engine_of_another_version_is_refused_with_both_versions(trt, plan, reported, theirs):
    """TensorRT's "version tag does not match", which names neither."""
    trt.__version__ = reported
    with pytest.raises(ArtefactError, match=rf"built by tensorrt {theirs}, but {reported} is here; .*`edgerkd build`"):
        TensorRTBackend().open(plan)


def test_an_unknown_header_layout_is_left_to_the_library(trt, plan, monkeypatch):
    """A version read from where this layout has something else."""
    content = HEADER[:4] + b"\x2b\0\0\0" + HEADER[8:24] + b"\x09\x09\x09\x09weights"
    plan.write_bytes(content)
    monkeypatch.setattr("tests.exporters.fake_tensorrt.HEADER", content[:28])
    TensorRTBackend().open(plan).__exit__(None, None, None)


def test_check_passes_with_a_gpu_and_leaves_nothing(trt, cuda):
    """A check that holds the GPU, or that only looks whether something is installed."""
    TensorRTBackend().check()
    TensorRTBackend().check_build()
    check_free(cuda)


def test_check_carries_the_reason_why_the_library_does_not_start(trt, cuda):
    """pybind11's TypeError, about a null pointer, shown to the user."""
    trt.refuse = "runtime"
    with pytest.raises(MissingDependencyError, match=r"does not work on Fake GPU.*CUDA initialization failure"):
        TensorRTBackend().check()
    check_free(cuda)


@pytest.mark.parametrize(
    ("driver", "fix"),
    [(0, "there is no NVIDIA driver"), (12060, r'pip install "cuda-bindings==12\.\*"'), (13000, "nvidia-smi")],
)
def test_check_says_how_to_fix_a_gpu_that_does_not_open(trt, cuda, driver, fix):
    """One message for a missing driver, an old one and a broken one."""
    cuda.driver = driver
    cuda.fail["cudaGetDevice"] = 35
    with pytest.raises(MissingDependencyError, match=rf"no CUDA GPU can be used here: .*fake error 35; .*{fix}"):
        TensorRTBackend().check()


def test_the_older_layout_of_the_cuda_binding_serves_as_well(trt, cuda, plan, monkeypatch):
    """cuda-python before 12.6, as JetPack 6 has it: `from cuda import cudart`."""
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setitem(sys.modules, "cuda.cudart", cuda)
    with TensorRTBackend().open(plan) as engine:
        engine(*batch(1))


def test_without_a_cuda_binding_the_install_line_is_given(trt, monkeypatch):
    """A bare ImportError."""
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setitem(sys.modules, "cuda.cudart", None)
    with pytest.raises(MissingDependencyError, match='pip install "cuda-bindings'):
        TensorRTBackend().check()


def test_tensorrt_before_8_5_is_refused(trt, monkeypatch):
    """An AttributeError in the middle of a run on JetPack 4."""
    monkeypatch.delattr(FakeTensorRT.IExecutionContext, "execute_async_v3")
    with pytest.raises(MissingDependencyError, match=r"older than 8\.5"):
        TensorRTBackend().check()


def test_rtx_without_a_gpu_says_so():
    """Trusting that a package which imports can run: the real libraries answer here."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("this machine has a GPU")
    with pytest.raises(MissingDependencyError, match="no CUDA GPU can be used here"):
        TensorRTRTXBackend().check()
