"""The ONNX backend: ONNX Runtime, for real on the CPU."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgerkd.bundle.backend import AttackedBackend, open_engine
from edgerkd.bundle.plugins import load_backend
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd.files.onnx_frame import read_onnx
from edgerkd_exporters import onnx as backend
from edgerkd_exporters import onnx_gpu
from edgerkd_exporters.onnx_gpu import OnnxCudaBackend, OnnxTensorRTBackend
from tests.exporters.small_graphs import SHAPE, classifier, half_inside, model, quantised, save, unsupported

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture
def graph(tmp_path):
    return save(classifier(), tmp_path / "student.onnx")


def damaged(path, how):
    data = path.read_bytes()
    texts = {"empty": b"", "text": b"hello, this is no graph\n" * 9, "no graph": data[:2]}
    texts |= {"cut": data[:-9], "cut by one": data[:-1], "longer": data + b"x", "a fixed-size field": data + b"\x7d\0"}
    path.write_bytes(texts[how])
    return path


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
    with pytest.raises(EngineError, match=r"odd\.onnx: onnxruntime .* cannot load it: .*GroupNormalization"):
        backend.OnnxBackend().open(save(unsupported(), tmp_path / "odd.onnx"))


def test_open_refuses_ends_that_are_not_float32(tmp_path):
    """Half precision at the ends, which every caller would feed with float32."""
    half = model([helper.make_node("Neg", ["a"], ["b"])], {"a": (2,)}, {"b": (2,)}, kind=TensorProto.FLOAT16)
    with pytest.raises(ArtefactError, match=r"must be float32, not a: tensor\(float16\), b"):
        backend.OnnxBackend().open(save(half, tmp_path / "half.onnx"))


def test_a_session_on_other_providers_is_refused(graph, monkeypatch):
    """Trusting the request: ONNX Runtime is known to add providers of its own."""
    monkeypatch.setattr(
        ort.InferenceSession, "get_providers", lambda self: ["XnnpackExecutionProvider", backend.CPU.name]
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


@pytest.mark.parametrize(
    ("make", "provider"),
    [(OnnxCudaBackend, "CUDAExecutionProvider"), (OnnxTensorRTBackend, "TensorrtExecutionProvider")],
)
def test_a_provider_that_is_not_there_is_an_error(graph, make, provider):
    """Catches ONNX Runtime's habit of running on the CPU, with a warning, where a GPU was asked for."""
    with pytest.raises(MissingDependencyError, match=rf"has no {provider}\): pip install .edgerkd\[ort-gpu\]"):
        make().check()
    with pytest.raises(EngineError, match=f"has no {provider}"):
        make().open(graph)


class Granted:
    """A session of an ONNX Runtime that grants these providers; it remembers what it was asked for."""

    asked: ClassVar[dict] = {}

    def __init__(self, model, options, providers, **rest):
        name = "session.disable_cpu_ep_fallback"
        self.asked.update(providers=providers, alone=options.get_session_config_entry(name), fallback=True)

    def disable_fallback(self):
        self.asked["fallback"] = False

    def get_providers(self):
        return self.asked["granted"]


@pytest.mark.parametrize(
    ("make", "granted", "fine"),
    [
        (OnnxCudaBackend, ["CUDAExecutionProvider", "CPUExecutionProvider"], True),
        (OnnxCudaBackend, ["CPUExecutionProvider"], False),
        (OnnxTensorRTBackend, ["CUDAExecutionProvider", "CPUExecutionProvider"], False),
        (OnnxTensorRTBackend, ["TensorrtExecutionProvider", "CPUExecutionProvider"], True),
    ],
)
def test_only_the_provider_that_was_asked_for_counts(monkeypatch, make, granted, fine):
    """Catches a session on another provider, nodes that go to the CPU, and a call repeated there when it fails."""
    monkeypatch.setattr(Granted, "asked", {"granted": granted})
    monkeypatch.setattr(ort, "InferenceSession", Granted)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [make.provider.name, "CPUExecutionProvider"])
    if not fine:
        with pytest.raises(EngineError, match=f"not on {make.provider.name} alone"):
            backend._session(ort, b"", make.provider)
        return
    backend._session(ort, b"", make.provider)
    assert Granted.asked["providers"] == [(make.provider.name, dict(make.provider.options))]
    assert Granted.asked["alone"] == "1"
    assert Granted.asked["fallback"] is False


@pytest.mark.parametrize(
    ("make", "int8", "fp16"), [(classifier, "0", "0"), (half_inside, "0", "1"), (quantised, "1", "0")]
)
def test_tensorrt_below_onnx_runtime_may_use_the_precisions_of_the_graph_alone(monkeypatch, tmp_path, make, int8, fp16):
    """Catches float16 for a float32 graph, and a quantised one that TensorRT refuses without its flag."""
    opened = []
    monkeypatch.setattr(onnx_gpu, "Session", lambda path, provider: opened.append(provider))
    OnnxTensorRTBackend().open(save(make(), tmp_path / "graph.onnx"))
    assert opened[0].options == {"trt_int8_enable": int8, "trt_fp16_enable": fp16}
    assert opened[0].backend == "onnx-trt"


def test_an_engine_opened_for_attacks_answers_image_by_image_as_the_engine_does(tmp_path, monkeypatch):
    """Catches parts of a batch in another order, or left out, an output of two, and threads for a single image."""
    monkeypatch.setattr("edgerkd_exporters.onnx.usable_cores", lambda: 3)
    path = save(classifier(), tmp_path / "student.onnx")
    images = np.random.default_rng(0).random((65, *SHAPE), np.float32)
    backend = load_backend("onnx")
    with backend.open(path) as engine, open_engine(backend, path, attacked=True) as attacked:
        assert (attacked.backend, attacked.version, attacked.device) == (engine.backend, engine.version, engine.device)
        for n in (1, 2, 3, 64, 65):
            np.testing.assert_allclose(attacked(images[:n])[0], engine(images[:n])[0], rtol=0, atol=1e-6)
        with pytest.raises(EngineError, match="must have shape"):
            attacked(images[:, :2])
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda _: attacked(images)[0], range(8)))
    for each in together:
        np.testing.assert_allclose(each, together[0], rtol=0, atol=0)


def test_only_the_cpu_is_opened_for_attacks_in_a_way_of_its_own(tmp_path):
    """Catches a GPU's engine, or a plug-in's own, of which another one than the deployed is attacked."""
    assert isinstance(load_backend("onnx"), AttackedBackend)
    assert not isinstance(OnnxCudaBackend(), AttackedBackend)
    assert not isinstance(OnnxTensorRTBackend(), AttackedBackend)
