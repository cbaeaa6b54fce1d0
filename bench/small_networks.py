"""Small networks as engines would run them: fp32 and int8 graphs with their twins, trained in about a minute each.

Standard training, or adversarial training by N-FGSM (de Jorge et al. 2022): far from anybody's best, and gradients of
the two kinds that attacks meet. The int8 graphs are made by ONNX Runtime's own static quantisation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from setting import opened
from torch import Tensor

from edgerkd.core.architecture import Family
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import to_float
from edgerkd.files.atomic import write_atomic
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.build import build
from edgerkd.models.network import Network
from edgerkd.models.onnx_graph import onnx_from_network

CALIBRATION = 192  # images, as in the precision trial; ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A network to train: `data` as `--data` names it, and how long."""

    data: str
    family: Family
    widths: tuple[int, ...]
    robust: bool
    train: int
    epochs: int

    @property
    def name(self) -> str:
        return f"{self.data}-{self.family}-{'robust' if self.robust else 'standard'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Graphs and twins in `folder`, and test images float32 (n, c, h, w) with their labels (n,)."""

    folder: Path
    images: np.ndarray
    labels: np.ndarray
    threat_model: ThreatModel
    network: Network

    def graph(self, precision: str) -> Path:
        return self.folder / f"{precision}.onnx"

    def twin(self, precision: str) -> Path:
        return self.folder / f"{precision}-twin.onnx"


class _Batches(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._batches = iter([{"images": images[i : i + 32]} for i in range(0, len(images), 32)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def exported(setting: Setting, *, folder: Path, test: int) -> Exported:
    """The setting's network, trained unless its files are in `folder` already."""
    data, threat_model = opened(setting.data)
    blocks = (1,) * len(setting.widths)
    network = build(data.architecture(setting.family, widths=setting.widths, blocks=blocks))
    place = folder / setting.name
    place.mkdir(parents=True, exist_ok=True)
    weights = place / "weights.pt"
    part = data.train.sample(setting.train, seed=0)
    if weights.exists():
        network.load_state_dict(torch.load(weights))
    else:
        train(network, to_float(part.images), part.labels, setting, eps=float(threat_model.eps))
        torch.save(network.state_dict(), weights)
    network.eval()
    found = data.test.sample(min(test, len(data.test)), seed=0)
    images, labels = to_float(found.images).contiguous(), found.labels
    result = Exported(
        folder=place,
        images=images.numpy(),
        labels=labels.numpy(),
        threat_model=threat_model,
        network=network,
    )
    if not result.twin("int8").exists():
        _write(result, to_float(part.images[:CALIBRATION]).contiguous().numpy())
    with torch.no_grad():
        accuracy = float((network(images[:500]).argmax(1) == labels[:500]).float().mean())
    print(f"{setting.name}: clean accuracy {accuracy:.1%}")
    return result


def train(network: Network, images: Tensor, labels: Tensor, setting: Setting, *, eps: float) -> None:
    """Cross-entropy, AdamW and one cycle of the learning rate; where `robust`, on images moved by N-FGSM."""
    torch.manual_seed(0)
    batches = setting.epochs * (len(images) // 128)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=batches)
    network.train()
    for number in range(batches):
        rows = torch.randint(len(images), (128,))
        x = images[rows]
        if setting.robust:
            radius = eps * min(1.0, 2 * number / batches)  # the radius rises: large ones diverge from the start
            x = _n_fgsm(network, x, labels[rows], eps=radius)
        loss = F.cross_entropy(network(x), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cycle.step()


def _n_fgsm(network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, *, eps: float) -> Tensor:
    moved = (images + (torch.rand_like(images) * 4 - 2) * eps).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(moved), labels), moved)
    return (moved + eps * gradient.sign()).clamp(0, 1).detach()


def _write(result: Exported, calibration: np.ndarray) -> None:
    write_atomic(result.graph("fp32"), onnx_from_network(result.network))
    operators = {node.op_type for node in onnx.load(result.graph("fp32")).graph.node}
    quantize_static(
        result.graph("fp32"),
        result.graph("int8"),
        _Batches(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=sorted(operators - {"BatchNormalization"}),  # left float where no convolution takes it in
        extra_options={"ActivationSymmetric": True},
    )
    for precision in ("fp32", "int8"):
        write_atomic(result.twin(precision), gradient_twin(result.graph(precision).read_bytes()))
