"""Building engines: with TensorRT-RTX for real, and the choices for TensorRT 8.5 to 11 against a fake builder."""

import subprocess
import sys
import traceback
from enum import Enum, IntEnum
from types import ModuleType, SimpleNamespace

import pytest

from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd.files.decode import decode_json, encode_json
from edgerkd_exporters._tensorrt import build, logger
from edgerkd_exporters.tensorrt import TENSORRT, TensorRTBackend
from edgerkd_exporters.tensorrt_rtx import TENSORRT_RTX, TensorRTRTXBackend
from tests.exporters.small_graphs import classifier, half_inside, save, twin, unsupported


@pytest.fixture
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")


@pytest.fixture
def graph(tmp_path):
    return save(classifier(), tmp_path / "student.onnx")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "student.plan"


@pytest.mark.parametrize("make", [classifier, twin, half_inside])
def test_rtx_builds_without_a_gpu(rtx, make, tmp_path, target):
    """A build that asks for a GPU, a flag the library refuses, a profile for one input only."""
    backend = TensorRTRTXBackend()
    backend.check_build()
    log = backend.build(save(make(), tmp_path / "graph.onnx"), target, max_batch=8)
    assert log.seconds is not None
    assert log == BuildLog(max_batch=8, tf32=False, typing="strong", seconds=log.seconds)
    assert [path.name for path in target.parent.iterdir()] == ["student.plan"]
    here = bytes(int(part) for part in rtx.__version__.split("."))
    plan = target.read_bytes()
    assert (plan[:4], plan[4:8], plan[24:28]) == (b"vtrt", bytes(4), here), "the header is not what read_plan relies on"


def test_rtx_builder_switches_tf32_off(rtx, graph, target, monkeypatch):
    """A log without the deed: TF32 is on by default and moves logits by 1e-3."""
    configs = []
    make = rtx.Builder.create_builder_config
    monkeypatch.setattr(rtx.Builder, "create_builder_config", lambda self: configs.append(make(self)) or configs[-1])
    build(TENSORRT_RTX, graph, target, 8)
    (config,) = configs
    assert not config.get_flag(rtx.BuilderFlag.TF32)
    assert config.num_optimization_profiles == 1


@pytest.mark.parametrize("content", [b"", b"hello, this is no graph\n" * 9, None])
def test_rtx_refuses_what_is_not_onnx(rtx, graph, target, content):
    """Trusting the parser: it takes text, and an empty file, for a network without layers."""
    graph.write_bytes(graph.read_bytes()[:-9] if content is None else content)
    with pytest.raises(ArtefactError, match=r"student\.onnx: not an ONNX graph"):
        TensorRTRTXBackend().build(graph, target, max_batch=8)
    assert not target.exists()


def test_rtx_refuses_damage_inside_the_graph(rtx, graph, target):
    """A damaged file reported as one the library cannot build."""
    data = graph.read_bytes()
    at = data.index(b"MatMul")
    graph.write_bytes(data[: at - 1] + b"\x7f" + data[at:])  # the length of the operator's name
    with pytest.raises(ArtefactError, match=r"student\.onnx: not an ONNX graph, or damaged"):
        TensorRTRTXBackend().build(graph, target, max_batch=8)


def test_rtx_failure_keeps_nothing_of_the_library(rtx, tmp_path, target):
    """A builder kept by the error: garbage later, whose destruction within a log message hangs the library for ever."""
    with pytest.raises(EngineError) as caught:
        TensorRTRTXBackend().build(save(unsupported(), tmp_path / "odd.onnx"), target, max_batch=8)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert "_plan" in [frame.f_code.co_name for frame in frames]
    assert [kind for frame in frames for kind in frame.f_locals.values() if isinstance(kind, rtx.Builder)] == []


def test_rtx_has_one_logger(rtx):
    """A logger a build: the library sends part of the errors to the first, so that a later failure has no reason."""
    assert logger(rtx) is logger(rtx)


def test_reasons_are_those_of_this_build(monkeypatch, graph, target):
    """The errors of something earlier told again."""
    fake = FakeBuilder("11.4.0.106", fails=["build"])
    logger(fake).log(fake.ILogger.ERROR, "old news")
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            built(monkeypatch, graph, target, fake)
        assert str(caught.value).count("could not find any") == 1
        assert "old news" not in str(caught.value)


def test_rtx_names_every_node_it_cannot_parse(rtx, tmp_path, target):
    """The first failing node only, or the library's log on the terminal instead of an error."""
    with pytest.raises(EngineError) as caught:
        TensorRTRTXBackend().build(save(unsupported(), tmp_path / "odd.onnx"), target, max_batch=8)
    for part in ("odd.onnx", "2 problems", "node 1 'product' (NoSuchOperator)", "node 2 'relu' (NorThisOne)"):
        assert part in str(caught.value)
    assert not target.exists()


def test_rtx_refuses_a_fixed_batch(rtx, tmp_path, target):
    """An engine for one batch size only, found out on the device."""
    with pytest.raises(EngineError, match=r"'images' has shape \(4, 3, 4, 4\): only the first size .* dynamic"):
        TensorRTRTXBackend().build(save(classifier(batch=4), tmp_path / "fixed.onnx"), target, max_batch=8)


def test_rtx_reports_the_builders_reason(rtx, graph, target):
    """A builder's null pointer written as an engine, or an error without the reason that the log has."""
    with pytest.raises(EngineError, match=r"(?s)student\.onnx: tensorrt_rtx .* cannot build it: .*MIN<=OPT<=MAX"):
        build(TENSORRT_RTX, graph, target, 0)
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plan: b"ftrt" + plan[4:], r"begins with b'ftrt', not b'vtrt'"),
        (lambda plan: plan[:20], "not a tensorrt_rtx engine"),
        (lambda plan: plan[:24] + bytes([1, 2, 3, 4]) + plan[28:], r"built by tensorrt_rtx 1\.2\.3\.4, but 1\.\d"),
    ],
)
def test_rtx_open_reads_the_header_before_it_asks_for_a_gpu(rtx, graph, target, change, reason):
    """A foreign engine blamed on the GPU, or handed to the library."""
    build(TENSORRT_RTX, graph, target, 8)
    target.write_bytes(change(target.read_bytes()))
    with pytest.raises(ArtefactError, match=rf"student\.plan: .*{reason}.*`edgerkd build`"):
        TensorRTRTXBackend().open(target)


@pytest.mark.parametrize(("flavour", "extra"), [(TENSORRT, "trt"), (TENSORRT_RTX, "trt-rtx")])
def test_without_the_library_the_install_line_is_given(graph, target, monkeypatch, flavour, extra):
    """A bare ImportError."""
    monkeypatch.setitem(sys.modules, flavour.module, None)
    with pytest.raises(MissingDependencyError, match=rf'pip install "edgerkd\[{extra}\]"'):
        build(flavour, graph, target, 8)


def test_all_modules_import_with_numpy_alone():
    """An import of a backend's library at the top of a module."""
    absent = ["tensorrt", "tensorrt_rtx", "cuda", "onnxruntime", "onnx", "torch"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
    code += "import edgerkd_exporters.onnx, edgerkd_exporters.tensorrt, edgerkd_exporters.tensorrt_rtx"
    subprocess.run([sys.executable, "-c", code], check=True)


class FakeBuilder(ModuleType):
    """The building half of `tensorrt`: 8.5, 10.3 or 11.4, by the flags each has. Records every attempt."""

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class IExecutionContext:
        execute_async_v3 = None

    class ErrorCode(Enum):
        MODEL_DESERIALIZE_FAILED = 3
        INVALID_NODE = 6

    DataType = Enum("DataType", ["FLOAT", "HALF", "INT8"])
    LayerType = Enum("LayerType", ["CONVOLUTION", "QUANTIZE"])

    def __init__(self, version, types=("FLOAT",), fails=()) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        typing = {"8.5.2.2": ["EXPLICIT_BATCH"], "10.3.0": ["EXPLICIT_BATCH", "STRONGLY_TYPED"]}
        members = typing.get(version, ["STRONGLY_TYPED"])
        self.NetworkDefinitionCreationFlag = IntEnum("NetworkDefinitionCreationFlag", members, start=0)
        precisions = [] if version.startswith("11") else ["FP16", "INT8"]
        self.BuilderFlag = Enum("BuilderFlag", ["TF32", *precisions])
        self.types, self.fails = types, fails
        self.reason = "could not find any implementation"
        self.attempts: list[SimpleNamespace] = []

    def Builder(self, log):  # noqa: N802  TensorRT's name
        attempt = SimpleNamespace(flags={"TF32"}, profile={})
        self.attempts.append(attempt)

        def create_network(flags):
            attempt.network = [m.name for m in self.NetworkDefinitionCreationFlag if flags & 1 << m.value]
            layers = [
                SimpleNamespace(
                    num_outputs=1,
                    type=self.LayerType.QUANTIZE if kind == "QUANTIZE" else self.LayerType.CONVOLUTION,
                    get_output=lambda i, kind=kind: SimpleNamespace(
                        dtype=self.DataType[kind.replace("QUANTIZE", "FLOAT")]
                    ),
                )
                for kind in self.types
            ]
            images = SimpleNamespace(name="images", shape=(-1, 3, 4, 4))
            return SimpleNamespace(
                num_inputs=1, get_input=lambda i: images, num_layers=len(layers), get_layer=layers.__getitem__
            )

        def build_serialized_network(network, config):
            if "build" in self.fails and "STRONGLY_TYPED" in attempt.network:
                log.log(self.ILogger.ERROR, self.reason)
                return None
            return memoryview(b"plan")

        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=lambda: SimpleNamespace(
                add_optimization_profile=lambda profile: 0,
                clear_flag=lambda flag: attempt.flags.remove(flag.name),
                set_flag=lambda flag: attempt.flags.add(flag.name),
            ),
            create_optimization_profile=lambda: SimpleNamespace(
                set_shape=lambda name, *shapes: attempt.profile.update({name: shapes})
            ),
            build_serialized_network=build_serialized_network,
        )

    def OnnxParser(self, network, log):  # noqa: N802  TensorRT's name
        strong = "STRONGLY_TYPED" in self.attempts[-1].network
        # As in 8.5: no node_name, no node_operator.
        error = SimpleNamespace(code=lambda: self.ErrorCode.INVALID_NODE, node=lambda: 3, desc=lambda: "no half Gemm")
        fails = ("parse" in self.fails and strong) or "always" in self.fails
        return SimpleNamespace(parse=lambda data: not fails, num_errors=1, get_error=lambda i: error)


def built(monkeypatch, graph, target, fake):
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return build(TENSORRT, graph, target, 8)


@pytest.mark.parametrize(
    ("version", "types", "network", "flags"),
    [
        ("8.5.2.2", ["FLOAT"], ["EXPLICIT_BATCH"], set()),
        ("8.5.2.2", ["FLOAT", "HALF"], ["EXPLICIT_BATCH"], {"FP16"}),
        ("8.5.2.2", ["QUANTIZE", "FLOAT"], ["EXPLICIT_BATCH"], {"INT8"}),
        ("8.5.2.2", ["INT8", "HALF"], ["EXPLICIT_BATCH"], {"FP16", "INT8"}),
        ("10.3.0", ["INT8", "HALF"], ["STRONGLY_TYPED"], set()),
        ("11.4.0.106", ["INT8", "HALF"], ["STRONGLY_TYPED"], set()),
    ],
)
def test_flags_for_each_generation(monkeypatch, graph, target, version, types, network, flags):
    """TF32 left on; precision flags where the network is strongly typed, or none where 8.5 needs them."""
    fake = FakeBuilder(version, types)
    log = built(monkeypatch, graph, target, fake)
    (attempt,) = fake.attempts
    assert (attempt.network, attempt.flags) == (network, flags)
    assert attempt.profile == {"images": ((1, 3, 4, 4), (1, 3, 4, 4), (8, 3, 4, 4))}
    strong = network == ["STRONGLY_TYPED"]
    assert (log.max_batch, log.tf32, log.fallback) == (8, False, None)
    assert (log.typing, set(log.precisions)) == (("strong", set()) if strong else ("weak", {"FP32"} | flags))
    assert target.read_bytes() == b"plan"


@pytest.mark.parametrize(("step", "reason"), [("parse", "node 3: no half Gemm"), ("build", "could not find any")])
def test_10_falls_back_to_weak_typing_and_says_so(monkeypatch, graph, target, step, reason):
    """No second attempt, a silent one, or one without the flags that it needs."""
    fake = FakeBuilder("10.3.0", ["HALF"], [step])
    log = built(monkeypatch, graph, target, fake)
    assert [attempt.network for attempt in fake.attempts] == [["STRONGLY_TYPED"], ["EXPLICIT_BATCH"]]
    assert fake.attempts[1].flags == {"FP16"}
    assert reason in str(log.fallback)
    assert (log.typing, log.precisions) == ("weak", ("FP32", "FP16"))


def test_11_has_nothing_to_fall_back_to(monkeypatch, graph, target):
    """A weak attempt on 11, where it would be another strong one under a false name."""
    fake = FakeBuilder("11.4.0.106", fails=["build"])
    with pytest.raises(EngineError, match=r"student\.onnx: tensorrt 11\.4\.0\.106 cannot build it: could not find any"):
        built(monkeypatch, graph, target, fake)
    assert len(fake.attempts) == 1
    assert not target.exists()


def test_both_attempts_failing_is_an_error(monkeypatch, graph, target):
    """A loop, or a log in place of the error."""
    with pytest.raises(EngineError, match="node 3: no half Gemm"):
        built(monkeypatch, graph, target, FakeBuilder("10.3.0", fails=["always"]))


def test_a_long_reason_for_the_fallback_still_fits_its_record(monkeypatch, graph, target):
    """A record of a failed build that cannot be written or read, for its text is longer than any may be."""
    fake = FakeBuilder("10.3.0", ["HALF"], ["build"])
    fake.reason = "tactic\x1b[31m failed " * 10_000
    log = built(monkeypatch, graph, target, fake)
    assert log.fallback is not None
    assert "\x1b" not in log.fallback
    path = target.with_name("log.json")
    path.write_text(encode_json(log))
    again = decode_json(BuildLog, path)
    assert again.fallback is not None
    assert again.fallback[:2000] == log.fallback[:2000]


def test_trt_build_needs_a_gpu(monkeypatch, graph, target):
    """A build that crashes on a machine without a GPU instead of saying so: the real CUDA binding answers here."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("this machine has a GPU")
    monkeypatch.setitem(sys.modules, "tensorrt", FakeBuilder("10.3.0"))
    backend = TensorRTBackend()
    for action in (backend.check, backend.check_build, lambda: backend.build(graph, target, max_batch=8)):
        with pytest.raises(MissingDependencyError, match="no CUDA GPU can be used here: cudaGetDevice"):
            action()
