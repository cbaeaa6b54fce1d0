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

from edgerkd.graphs.twin import gradient_twin

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


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of sizes that tracing fixes, as it should
@pytest.mark.parametrize("family", NETWORKS)
def test_the_twin_of_a_small_network_is_autograd(family):
    """Catches windows that are merged with the batch, rolled or masked, shuffled channels, and pools that round up."""
    torch.manual_seed(0)
    network = NETWORKS[family]().eval()
    buffer = io.BytesIO()
    names = {"input_names": ["images"], "output_names": ["logits"]}
    axes = {"images": {0: "batch"}, "logits": {0: "batch"}}
    example = (torch.zeros(2, 3, 32, 32),)
    torch.onnx.export(network, example, buffer, opset_version=17, dynamo=False, dynamic_axes=axes, **names)
    graph = buffer.getvalue()
    twin = gradient_twin(graph)
    assert len(twin) < len(graph) + 400_000
    images, cotangent = torch.rand(3, 3, 32, 32), torch.randn(3, 10)
    given = images.double().requires_grad_()
    (network.double()(given) * cotangent).sum().backward()
    session = onnxruntime.InferenceSession(twin, providers=["CPUExecutionProvider"])
    found = session.run(["gradient"], {"images": images.numpy(), "cotangent": cotangent.numpy()})[0]
    assert_allclose(found, given.grad.numpy(), atol=1e-4 * np.abs(given.grad.numpy()).max())
