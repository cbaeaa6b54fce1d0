"""An int8 engine is attacked through the twin of its own quantised graph, on NumPy, as the student is on torch."""

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import assess_chunk
from edgerkd.attacks.suite import attacks_named
from edgerkd.bundle.plugins import load_backend
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.verify.classifier import EngineClassifier
from tests.zoo import network

N = 200


class Images(CalibrationDataReader):
    """Calibration images, one batch after the other."""

    def __init__(self, images: np.ndarray) -> None:
        self.batches = iter([{"images": images[i : i + 20]} for i in range(0, len(images), 20)])

    def get_next(self):
        return next(self.batches, None)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A network, its fp32 and int8 graphs with their twins, and images it answers with labels of its own."""
    folder = tmp_path_factory.mktemp("int8")
    net = network(seed=3, widths=(8, 16), blocks=(1, 1), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    images = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    (folder / "fp32.onnx").write_bytes(onnx_from_network(net))
    quantize_static(
        folder / "fp32.onnx",
        folder / "int8.onnx",
        Images(images.numpy()),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True},
    )
    for name in ("fp32", "int8"):
        (folder / f"{name}-twin.onnx").write_bytes(gradient_twin((folder / f"{name}.onnx").read_bytes()))
    return folder, net, images


def task_of(images, labels) -> AttackInputs:
    threat_model = ThreatModel(norm="Linf", eps=Radius("24/255"))
    return AttackInputs(images=images, labels=labels, threat_model=threat_model, seed=0, index=np.arange(N))


def robust(classifier, inputs):
    attacks = attacks_named("apgd-ce", classes=10)[0]
    return assess_chunk(classifier, attacks, inputs).robust


class OnTorch:
    """An engine whose arrays are torch tensors: the same function, on the other array library."""

    def __init__(self, engine: EngineClassifier) -> None:
        self.engine = engine

    def logits(self, images):
        return torch.from_numpy(self.engine.logits(images.numpy()))

    def gradient(self, images, cotangent):
        found = self.engine.gradient(images.numpy(), lambda z: cotangent(torch.from_numpy(z)).numpy())
        return tuple(torch.from_numpy(part) for part in found)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_engine_is_as_robust_on_numpy_as_on_torch(case, precision):
    """Catches a twin whose gradient is not the engine's, and an attack that means another thing on NumPy."""
    folder, net, images = case
    backend = load_backend("onnx")
    with backend.open(folder / f"{precision}.onnx") as live, backend.open(folder / f"{precision}-twin.onnx") as twin:
        engine = EngineClassifier(live, twin)
        labels = engine.logits(images.numpy()).argmax(1)
        on_numpy = robust(engine, task_of(images.numpy(), labels))
        reference = TorchClassifier(net) if precision == "fp32" else OnTorch(engine)
        on_torch = robust(reference, task_of(images, torch.from_numpy(labels)))
    assert (on_numpy != on_torch).mean() <= 0.005
    assert 0.05 < on_numpy.mean() < 0.95


def test_the_int8_graph_is_quantised_and_its_twin_sees_through_it(case):
    """Catches a fake int8 graph, and a gradient that is zero behind the first rounding."""
    folder, net, images = case
    ops = {node.op_type for node in onnx.load(folder / "int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= ops
    with load_backend("onnx").open(folder / "int8-twin.onnx") as twin:
        cotangent = np.random.default_rng(0).normal(size=(N, 10)).astype(np.float32)
        _, gradient = twin(images.numpy(), cotangent)
    _, expected = TorchClassifier(net).gradient(images, lambda _: torch.from_numpy(cotangent))
    a, b = gradient.reshape(N, -1), expected.numpy().reshape(N, -1)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert np.median(cosine) > 0.95
