"""Small versions of the published families against float64 autograd; `make check-zoo` tries the published sizes."""

import io
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.testing import assert_allclose
from torchvision.models import ConvNeXt, DenseNet, ShuffleNetV2, SqueezeNet, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from edgerkd.graphs.precision.fp16 import halved, widened
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.graphs.twin import gradient_twin
from edgerkd.verify.graph import graph_logits

swin = partial(SwinTransformer, [2, 2], 8, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, num_classes=10)
NETWORKS = {
    "vit": partial(VisionTransformer, 32, 8, 2, 2, 16, 32, num_classes=10),
    "swin": swin,
    "swin-v2": partial(swin, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
    "convnext": partial(ConvNeXt, [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=10),
    "densenet": partial(DenseNet, 8, (2, 2), 8, num_classes=10),
    "shufflenet": partial(ShuffleNetV2, [1, 1, 1], [8, 16, 24, 32, 48], num_classes=10),
    "squeezenet": partial(SqueezeNet, "1_1", num_classes=10),
}


def made(family: str) -> tuple[torch.nn.Module, bytes]:
    """A network with random weights, and its graph."""
    torch.manual_seed(0)
    network = NETWORKS[family]().eval()
    buffer = io.BytesIO()
    names = {"input_names": ["images"], "output_names": ["logits"]}
    axes = {"images": {0: "batch"}, "logits": {0: "batch"}}
    example = (torch.zeros(2, 3, 32, 32),)
    torch.onnx.export(network, example, buffer, opset_version=17, dynamo=False, dynamic_axes=axes, **names)
    return network, buffer.getvalue()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of sizes that tracing fixes, as it should
@pytest.mark.parametrize("family", NETWORKS)
def test_the_twin_of_a_small_network_is_autograd(family):
    """Catches windows that are merged with the batch, rolled or masked, shuffled channels, and pools that round up."""
    network, graph = made(family)
    twin = gradient_twin(graph)
    assert len(twin) < len(graph) + 400_000
    images, cotangent = torch.rand(3, 3, 32, 32), torch.randn(3, 10)
    given = images.double().requires_grad_()
    (network.double()(given) * cotangent).sum().backward()
    session = onnxruntime.InferenceSession(twin, providers=["CPUExecutionProvider"])
    found = session.run(["gradient"], {"images": images.numpy(), "cotangent": cotangent.numpy()})[0]
    assert_allclose(found, given.grad.numpy(), atol=1e-4 * np.abs(given.grad.numpy()).max())


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "family", [name if name == "vit" else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_a_foreign_network_has_lower_precisions_that_answer_like_it(family):
    """Catches types that an attribute decides, masks built of shapes, and weights that are no layer's."""
    _, graph = made(family)
    images = np.random.default_rng(0).random((4, 3, 32, 32), np.float32)
    expected, ranges = graph_logits(graph, images), find_ranges(graph, [images])
    half = halved(graph)
    lower = {
        half: 0.005,
        widened(half): 0.005,
        **{quantized(graph, ranges, placement=p, keep=layers(graph)[-1:]): 0.1 for p in ("signed", "unsigned")},
    }
    for changed, limit in lower.items():
        assert_allclose(graph_logits(changed, images), expected, atol=limit * max(1e-3, np.abs(expected).max()))
