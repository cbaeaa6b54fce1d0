"""A network as an ONNX graph."""

import io
import warnings

import torch
from torch import nn
from torch.onnx.errors import OnnxExporterError

from edgerkd.core.errors import ExportError
from edgerkd.models.network import Network

OPSET = 17
"""The newest opset every TensorRT from 8.5 (JetPack 5) on reads. Source: onnx-tensorrt's operator notes."""


def onnx_from_network(network: Network) -> bytes:
    """The network as opset-17 ONNX: `images` float32 (batch, c, h, w) in [0, 1] to `logits` (batch, k).

    Normalisation is inside, batch norms after convolutions are folded, branches that only training
    needs are merged, and only the batch axis is dynamic. Raises ExportError for what ONNX does not have.
    """
    module = network.eval().cpu().deployed()
    try:
        return onnx_from_module(module, torch.zeros(2, *network.architecture.image_shape), opset=OPSET)
    except OnnxExporterError as e:
        raise ExportError(f"{network.architecture}: cannot be written as ONNX: {str(e).splitlines()[0]}") from e


def onnx_from_module(module: nn.Module, images: torch.Tensor, *, opset: int, dynamic: bool = True) -> bytes:
    """A module in evaluation mode as ONNX, by running it on `images`, which name its input; `dynamic` is of the batch.

    The TorchScript-based exporter is used because the newer one starts at opset 18 (docs/adr/0013). Raises what it
    raises, and what the module does.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter itself, and of sizes that the module checks
        torch.onnx.export(
            module,
            (images,),
            buffer,  # type: ignore[arg-type]  the annotation forgets the buffers that this exporter takes
            opset_version=opset,
            dynamo=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}} if dynamic else None,
        )
    return buffer.getvalue()
