"""A graph's cost, counted on it, is that of the network it was exported from."""

import pytest
import torch

from edgerkd.core.errors import ExportError
from edgerkd.graphs.cost import count_graph_cost
from edgerkd.models.cost import count_cost
from edgerkd.models.onnx_graph import onnx_from_network
from tests.graphs.test_adopt import F, graph, small
from tests.zoo import network

FAMILIES = ("resnet", "preactresnet", "mobilenetv2", "mobilenetv3", "repvgg", "wideresnet", "resnet-bottleneck")


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_and_products_are_those_of_the_network(family):
    """Catches batch norms counted twice or not at all, groups ignored, and normalization counted as weights."""
    net = network(family=family, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    found, (expected, _) = count_graph_cost(onnx_from_network(net)), count_cost(net.architecture)
    assert (found.params, found.macs, found.file_bytes) == (expected.params, expected.macs, expected.file_bytes)


def test_activations_are_freed_after_their_last_use():
    """Catches a peak that adds up every layer, and a shortcut that is forgotten."""
    chain = [("Relu", [a], [b], {}) for a, b in ("xa", "ab", "bc")]
    ends = [("GlobalAveragePool", ["d"], ["p"], {}), ("Flatten", ["p"], ["logits"], {})]
    sizes = {"inputs": [("images", F, ["n", 3, 8, 8])], "outputs": [("logits", F, ["n", 3])]}
    one = 4 * 3 * 64
    first = ("Relu", ["images"], ["x"], {})
    plain = graph(first, *chain, ("Relu", ["c"], ["d"], {}), *ends, **sizes)
    shortcut = graph(first, *chain, ("Add", ["c", "x"], ["d"], {}), *ends, **sizes)
    assert count_graph_cost(plain).peak_bytes == 2 * one
    assert count_graph_cost(shortcut).peak_bytes == 3 * one


def test_a_transposed_convolution_is_counted_by_its_inputs():
    """Catches the products of a convolution counted by the output's size."""
    weight = torch.zeros(3, 5, 2, 2).numpy()
    ends = [("GlobalAveragePool", ["c"], ["p"], {}), ("Flatten", ["p"], ["logits"], {})]
    content = graph(
        ("ConvTranspose", ["images", "k"], ["c"], {"strides": [2, 2]}),
        *ends,
        inputs=[("images", F, ["n", 3, 4, 4])],
        outputs=[("logits", F, ["n", 5])],
        weights={"k": weight},
    )
    assert count_graph_cost(content).macs == 4 * 4 * 3 * 5 * 4


def test_a_graph_without_images_has_no_cost():
    """Catches a cost of nothing for a graph that was never adopted."""
    with pytest.raises(ExportError, match="no input `images`"):
        count_graph_cost(small())
