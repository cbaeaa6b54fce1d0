"""ONNX Runtime on an NVIDIA GPU, by CUDA's kernels or TensorRT's; CUDA's were verified on an H200 (docs/measured)."""

from dataclasses import replace
from pathlib import Path

from edgerkd.bundle.backend import LiveEngine
from edgerkd.files.onnx_frame import read_onnx
from edgerkd_exporters import _cuda
from edgerkd_exporters._checks import CASTS_TO_HALF
from edgerkd_exporters.onnx import OnnxBackend, Provider, Session

_INSTALL = 'pip install "edgerkd[ort-gpu]", and no onnxruntime beside it'
# TF32 is off, so fp32 is fp32. Source: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
CUDA = Provider(backend="onnx-cuda", name="CUDAExecutionProvider", install=_INSTALL, options={"use_tf32": "0"})
TENSORRT = Provider(
    backend="onnx-trt", name="TensorrtExecutionProvider", install=f"{_INSTALL}; and its version of TensorRT"
)


class OnGpu(OnnxBackend):
    """What the two have in common."""

    def free_bytes(self) -> int:
        """See `_cuda.free_bytes`."""
        return _cuda.free_bytes()


class OnnxCudaBackend(OnGpu):
    """The ONNX graph is the engine, on the kernels of CUDA and cuDNN.

    It runs no int8 graph: of such a one ONNX Runtime 1.30 gave nodes to the CPU, which is an error here (on an H200).
    """

    provider = CUDA
    name = CUDA.backend
    placement = None


class OnnxTensorRTBackend(OnGpu):
    """The ONNX graph is the engine; TensorRT builds its own when the graph is loaded, and keeps none.

    The precisions that it may use are those in the graph: it has no strongly typed mode. A layer in float32 beside
    others in float16 may be computed in either; `trt` is the backend that keeps to the types.
    """

    provider = TENSORRT
    name = TENSORRT.backend
    placement = "signed"

    def open(self, engine: Path) -> LiveEngine:
        """As OnnxBackend's, with the precisions that the graph has."""
        content = read_onnx(engine)
        options = {"trt_int8_enable": str(int(b"QuantizeLinear" in content))}
        options["trt_fp16_enable"] = str(int(CASTS_TO_HALF in content))
        return Session(engine, replace(self.provider, options=options))
