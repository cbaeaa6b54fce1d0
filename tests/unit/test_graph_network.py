"""An ONNX graph as a network among torch's: the same function, features and gradient, and a teacher like any other."""

import copy
import hashlib
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from edgerkd.core.architecture import Architecture
from edgerkd.core.errors import ArtefactError, ConfigError, ExportError
from edgerkd.core.progress import Silent
from edgerkd.distill import trainer
from edgerkd.distill.trainer import train
from edgerkd.files.atomic import sha256_of, write_atomic
from edgerkd.models import graph_network as graph_network_module
from edgerkd.models.build import build
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.cost import cost_of
from edgerkd.models.graph_network import BATCH, GraphNetwork, graph_network
from edgerkd.models.network import Features, Network
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.models.store import GRAPH, load_network, save_network
from tests.recipes import recipe_of
from tests.zoo import architecture, dataset, network


def pair(family: str = "preactresnet", **changes) -> tuple[Network, GraphNetwork]:
    """A network, and the graph it is exported to."""
    given = {"widths": (16, 24), "blocks": (1, 1), "classes": 3, **changes}
    net = network(seed=7, family=family, **given)
    own = net.architecture
    return net, graph_network(onnx_from_network(net), mean=own.mean, std=own.std)


def images(n: int = 6) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(n))


class Perceptron(Network):
    """Two linear maps of the pixels: no feature maps."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__(architecture(classes=3))
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), activation, nn.Linear(12, 3))

    def features(self, images: torch.Tensor) -> Features:
        hidden = self.body[:-1](images - self.mean)
        return Features(self.body[-1](hidden), (), hidden)


@pytest.mark.parametrize("n", [1, 6, BATCH + 1])
@pytest.mark.parametrize("family", ["resnet", "preactresnet", "mobilenetv2", "repvgg", "resnet-bottleneck"])
def test_a_graph_gives_the_features_of_the_network_it_came_from(family, n):
    """Catches a stage's map taken before its activation, an order turned round, and images lost between batches."""
    net, graph = pair(family)
    with torch.no_grad():
        expected, found = net.features(images(n)), graph.features(images(n))
        assert_close(graph(images(n)), expected.logits, rtol=0, atol=1e-5)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_autograd():
    """Catches a cotangent that is dropped or taken twice, and images of channels_last read in another order."""
    net, graph = pair(channels=3)
    x = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    expected, found = (TorchClassifier(each).gradient(x, torch.cos) for each in (net, graph))
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_gradient_flows_on_through_both_ends():
    """Catches a function that only works where images are leaves and logits the loss."""
    net, graph = pair()
    found = []
    for each in (net, graph):
        shift = torch.zeros(1, 1, 8, 8, requires_grad=True)
        each.features(images() + shift).logits.log_softmax(1)[:, 0].sum().backward()
        found.append(shift.grad)
    assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", ["taps", "penultimate"])
def test_a_gradient_through_features_is_refused(part):
    """Catches a zero gradient, which would look like a network that nothing moves."""
    _, graph = pair()
    found = getattr(graph.features(images().requires_grad_()), part)
    with pytest.raises(ConfigError, match=r"ONNX graph: a gradient through its features .* hold them constant"):
        (found if part == "penultimate" else found[0]).sum().backward()


def test_the_gradient_of_a_gradient_is_refused():
    """Catches a second derivative of zero."""
    _, graph = pair()
    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(graph(x).square().sum(), x, create_graph=True)
    with pytest.raises(ConfigError, match="gradient twin is not differentiable"):
        gradient.square().sum().backward()


def test_nothing_is_trained_and_everything_that_torch_asks_is_harmless():
    """Catches a session in a copy, which a copy cannot take along, and weights that an optimiser would look for."""
    _, graph = pair()
    expected = graph(images())
    assert not list(graph.parameters())
    assert set(graph.state_dict()) == {"mean", "std"}
    for again in (
        copy.deepcopy(graph),
        graph.to("cpu").train().requires_grad_(False),
    ):
        assert_close(again(images()), expected, rtol=0, atol=0)


def test_a_graph_without_a_twin_answers_until_its_gradient_is_asked_for(monkeypatch):
    """Catches a graph refused for what nobody asked of it, and an error of the twin's that is lost in autograd."""

    def no_twin(graph: bytes) -> bytes:
        raise ExportError("operator Odd has no gradient rule")

    monkeypatch.setattr(graph_network_module, "gradient_twin", no_twin)
    _, graph = pair()
    logits = graph(images().requires_grad_())
    assert logits.shape == (6, 3)
    with pytest.raises(ExportError, match="operator Odd"):
        logits.sum().backward()


def test_a_graph_is_kept_and_read_as_it_is(tmp_path):
    """Catches a graph written anew, which has another digest, and one that does not fit its architecture."""
    _, graph = pair()
    save_network(graph, tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["architecture.json", GRAPH]
    again = load_network(tmp_path / "kept")
    assert isinstance(again, GraphNetwork)
    assert (again.graph, again.architecture) == (graph.graph, graph.architecture)
    _, other = pair(classes=4)
    write_atomic(tmp_path / "kept" / GRAPH, other.graph)
    with pytest.raises(ArtefactError, match=rf"{GRAPH}.*to 4 classes, and .* to 3 are expected"):
        load_network(tmp_path / "kept")


@pytest.mark.parametrize("content", [b"", b"no graph", bytes(range(256))])
def test_what_is_no_graph_is_refused(tmp_path, content):
    """Catches a traceback of protobuf's."""
    _, graph = pair()
    save_network(graph, tmp_path / "kept")
    write_atomic(tmp_path / "kept" / GRAPH, content)
    with pytest.raises(ArtefactError, match=GRAPH):
        load_network(tmp_path / "kept")


def test_a_graph_is_not_built_from_its_architecture():
    """Catches a KeyError where a file says that a student is a graph."""
    _, graph = pair()
    assert str(graph.architecture) == "ONNX graph"
    with pytest.raises(ConfigError, match="is its ONNX graph"):
        build(graph.architecture)
    with pytest.raises(ConfigError, match="widths"):
        replace(graph.architecture, widths=(8,), blocks=(1,))


def test_a_graph_is_counted_by_itself():
    """Catches the cost of an architecture, which says nothing of a graph."""
    net, graph = pair(widths=(16, 32))
    expected, found = cost_of(net), cost_of(graph)
    assert found.macs == expected.macs
    assert abs(found.params / expected.params - 1) < 0.05


SETTINGS = {"batch": 16, "attack_steps": 2, "ema_decay": 0.5, "lr": 0.05, "lr_muon": 0.02}


def student_of(teacher: Network, method: str, **changes) -> Network:
    torch.manual_seed(1)
    return train(
        build(architecture(classes=3)),
        dataset(n=240),
        recipe_of(method, **SETTINGS, **changes),
        teacher=teacher,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=Silent(),
    ).network


@pytest.mark.parametrize("method", ["edgerkd", "rslad", "mixacm", "adaad", "igdm-rslad", "covariance"])
def test_a_student_of_a_graph_is_the_student_of_its_network(monkeypatch, method):
    """Catches a teacher that teaches something else: other taps, scores, or in adaad another image gradient."""
    monkeypatch.setattr(trainer, "bf16_pays", lambda device: False)  # ONNX Runtime computes in float32
    expected, found = (student_of(teacher, method).state_dict() for teacher in pair())
    for name, value in expected.items():
        assert_close(found[name], value, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_a_teacher_without_feature_maps_teaches_what_it_can():
    """Catches a stack of no losses after minutes of training, and a teacher refused for maps that nobody compares."""
    graph = graph_network(onnx_from_network(Perceptron(nn.ReLU()).eval()))
    with pytest.raises(
        ConfigError, match=r"method mixacm compares feature maps, and the teacher \(ONNX graph\) has none"
    ):
        student_of(graph, "mixacm")
    with pytest.raises(ConfigError, match="compares feature maps"):
        student_of(graph, "edgerkd", adversarial_share=0.5)
    for method, changes in (("mixacm", {"weight_acm": 0.0}), ("edgerkd", {}), ("rslad", {})):
        assert isinstance(student_of(graph, method, **changes).architecture, Architecture)


def test_the_digest_of_a_kept_graph_is_that_of_its_bytes(tmp_path):
    """Catches a card that names the digest of something else than the file beside it."""
    _, graph = pair()
    save_network(graph, tmp_path / "kept")
    assert sha256_of(tmp_path / "kept" / GRAPH) == hashlib.sha256(graph.graph).hexdigest()
