"""The gradient twin of each network that timm and torchvision name, against float64 autograd: docs/zoo.md.

Run by `make check-zoo`, in an environment with timm. Networks have the weights that the library initialises, and batch
statistics of real images: no weights are downloaded. Fails where a twin's error is above three times torch's own in
float32, or is more than rounding in float64.
"""

import argparse
import copy
import gc
import io
import json
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torch.nn.functional as F
import torchvision

from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.onnx_graph import OPSET
from tests.graphs.reference import evaluator

LIMIT = 3.0
"""How many times torch's own float32 error the twin's may be."""
ROUNDING = 1e-5
"""The error that a twin in float64 may have: attributes, such as a hard sigmoid's slope of 1/6, are float32 in ONNX."""
FAMILIES = {
    "ResNet": ("torchvision:resnet18", "torchvision:resnet50", "timm:resnet26d"),
    "ResNeXt": ("torchvision:resnext50_32x4d", "timm:seresnext26d_32x4d"),
    "RegNet": ("torchvision:regnet_x_400mf", "torchvision:regnet_y_400mf"),
    "DenseNet": ("torchvision:densenet121",),
    "GoogLeNet, Inception": ("torchvision:googlenet", "torchvision:inception_v3", "timm:inception_v4"),
    "SqueezeNet": ("torchvision:squeezenet1_0", "torchvision:squeezenet1_1"),
    "ShuffleNetV2": ("torchvision:shufflenet_v2_x1_0",),
    "MnasNet": ("torchvision:mnasnet1_0",),
    "MobileNetV1": ("timm:mobilenetv1_100",),
    "MobileNetV2": ("torchvision:mobilenet_v2", "timm:mobilenetv2_100"),
    "MobileNetV3": ("torchvision:mobilenet_v3_small", "torchvision:mobilenet_v3_large", "timm:mobilenetv3_small_100"),
    "MobileNetV4": ("timm:mobilenetv4_conv_small", "timm:mobilenetv4_hybrid_medium"),
    "EfficientNet": ("torchvision:efficientnet_b0", "torchvision:efficientnet_v2_s", "timm:tf_efficientnet_lite0"),
    "GhostNet": ("timm:ghostnet_100", "timm:ghostnetv2_100"),
    "ConvNeXt": ("torchvision:convnext_tiny", "timm:convnext_atto", "timm:convnextv2_nano"),
    "RepVGG": ("timm:repvgg_a0",),
    "VGG": ("torchvision:vgg11", "torchvision:vgg11_bn"),
    "AlexNet": ("torchvision:alexnet",),
    "ViT": ("torchvision:vit_b_16", "timm:vit_tiny_patch16_224"),
    "DeiT": ("timm:deit_tiny_patch16_224", "timm:deit3_small_patch16_224"),
    "Swin": ("torchvision:swin_t", "timm:swin_tiny_patch4_window7_224", "torchvision:swin_v2_t"),
    "MobileViT": ("timm:mobilevit_xxs", "timm:mobilevitv2_050"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured of one network."""

    family: str
    network: str
    size: int
    params: int
    nodes: int
    twin_nodes: int
    twin_bytes: float
    """As a multiple of the graph's."""
    twin_errors: list[float]
    """By image. Where an activation rounds across a kink, an error is a thousand times rounding, and it strikes images
    of each way to compute it at random: only the mean over several images can be compared."""
    torch_errors: list[float]
    double_error: float
    """Of the twin of the network exported in float64, evaluated in float64, where no activation crosses a kink."""
    forward_s: float
    twin_s: float

    @property
    def ratio(self) -> float:
        """The twin's error as a multiple of torch's: of the means, or of the least where that is smaller."""
        means = fmean(self.twin_errors) / fmean(self.torch_errors)
        return min(means, min(self.twin_errors) / min(self.torch_errors))

    @property
    def ok(self) -> bool:
        """Whether the rules are exact and the twin rounds no worse than torch does."""
        return self.double_error <= ROUNDING and self.ratio <= LIMIT


def network_of(name: str) -> tuple[torch.nn.Module, int]:
    """The network with the library's initial weights, and the size of its images."""
    library, _, model = name.partition(":")
    if library == "timm":
        found: Any = timm.create_model(model, pretrained=False)
        return found, found.default_cfg["input_size"][1]
    given = {"init_weights": True, "aux_logits": False} if model in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(model, weights=None, **given), 299 if model == "inception_v3" else 224


def photographs(archive: Path, n: int, size: int, seed: int) -> torch.Tensor:
    """(n, 3, size, size) images in [0, 1] of the archive's array `images_train`, enlarged."""
    with np.load(archive) as data:
        images = data[next(key for key in ("x_train", "images_train", "train_images") if key in data)]
    chosen = images[np.random.default_rng(seed).permutation(len(images))[:n]]
    small = torch.from_numpy(chosen).float() / 255
    small = small if small.shape[1] == 3 else small.permute(0, 3, 1, 2)
    return F.interpolate(small, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)


def noisy(images: torch.Tensor) -> torch.Tensor:
    """The images with uniform noise of 8/255, as an attack starts from them.

    Without it, smooth enlarged images put many equal elements into one window of a pool, where each of them may be
    called the largest and gradients differ by right.
    """
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + (2 * noise - 1) * 8 / 255).clamp(0, 1)


class Normalised(torch.nn.Module):
    """A network behind the usual normalisation of images in [0, 1]."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body((images - self.mean) / self.std)


def calibrate(network: torch.nn.Module, batches: Iterator[torch.Tensor]) -> None:
    """Set the batch norms' statistics to the mean of those of the batches."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    network.eval()


def graph_of(network: torch.nn.Module, size: int) -> bytes:
    """Exported as edgerkd/models/onnx_graph.py does."""
    buffer = io.BytesIO()
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, size, size, dtype=next(network.parameters()).dtype),),
        buffer,  # type: ignore[arg-type]  the annotation forgets the buffers that this exporter takes
        opset_version=OPSET,
        dynamo=False,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
    )
    return buffer.getvalue()


def autograd(network: torch.nn.Module, images: torch.Tensor, cotangent: torch.Tensor) -> np.ndarray:
    given = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((network(given) * cotangent).sum(), given)
    return gradient.detach().double().numpy()


def errors(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """By image, max |found - exact| / max |exact|."""
    return np.abs(found - exact).max((1, 2, 3)) / np.abs(exact).max((1, 2, 3))


def double_error(
    network: torch.nn.Module, size: int, images: torch.Tensor, cotangent: torch.Tensor, exact: np.ndarray
) -> float:
    twin = evaluator(gradient_twin(graph_of(network, size)))
    found = twin.run(["gradient"], {"images": images.numpy(), "cotangent": cotangent.numpy()})[0]
    return float(errors(found, exact).max())


def session(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def seconds(run: Any, repeats: int = 3) -> float:
    """The least of a few runs."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(family: str, name: str, given: argparse.Namespace) -> Row:
    torch.manual_seed(given.seed)
    body, size = network_of(name)
    network = Normalised(body)
    calibrate(network, (photographs(given.data, 8, size, seed) for seed in range(1, 4)))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    graph = graph_of(network, size)
    twin = gradient_twin(graph)
    images = noisy(photographs(given.data, given.images, size, 0))
    with torch.no_grad():
        logits = network(images)
    cotangent = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    double = copy.deepcopy(network).double()
    exact = autograd(double, images.double(), cotangent.double())
    own = autograd(network, images, cotangent)
    student, both = session(graph, given.threads), session(twin, given.threads)
    feeds = {"images": images.numpy(), "cotangent": cotangent.numpy()}
    two = {name: value[:2] for name, value in feeds.items()}
    found = both.run(["gradient"], feeds)[0].astype(np.float64)
    return Row(
        family=family,
        network=name,
        size=size,
        params=sum(p.numel() for p in body.parameters()),
        nodes=len(onnx.load_from_string(graph).graph.node),
        twin_nodes=len(onnx.load_from_string(twin).graph.node),
        twin_bytes=len(twin) / len(graph),
        twin_errors=errors(found, exact).tolist(),
        torch_errors=errors(own, exact).tolist(),
        double_error=double_error(double, size, images[:1].double(), cotangent[:1].double(), exact[:1]),
        forward_s=seconds(lambda: student.run(None, {"images": two["images"]})),
        twin_s=seconds(lambda: both.run(None, two)),
    )


def table(rows: list[Row]) -> str:
    names = "family, network, size, params, nodes, twin nodes, bytes, twin's error, torch's, ratio, in float64, seconds"
    head = f"| {names.replace(', ', ' | ')} |"
    lines = [head, "| --- | --- | " + "--: | " * 10]
    lines += [
        f"| {row.family} | {row.network} | {row.size} | {row.params / 1e6:.1f} M | {row.nodes} | {row.twin_nodes} "
        f"| {row.twin_bytes:.3f} | {fmean(row.twin_errors):.1e}, {min(row.twin_errors):.1e} "
        f"| {fmean(row.torch_errors):.1e}, {min(row.torch_errors):.1e} | {row.ratio:.2f} | {row.double_error:.1e} "
        f"| {row.forward_s:.3f}, {row.twin_s:.3f} |"
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path.home() / ".cache/edgerkd-data/cifar10.npz")
    parser.add_argument("--only", default="", help="families or networks, by commas; all unless given")
    parser.add_argument(
        "--rows", type=Path, default=Path("build/zoo.jsonl"), help="rows so far; networks there are not run again"
    )
    parser.add_argument("--out", type=Path, help="a page to write the table into, between its two marks")
    parser.add_argument("--images", type=int, default=16, help="images whose gradients are compared")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    given.rows.parent.mkdir(parents=True, exist_ok=True)
    lines = given.rows.read_text().splitlines() if given.rows.exists() else []
    done = {row.network: row for row in (Row(**json.loads(line)) for line in lines)}
    chosen = set(given.only.split(",")) - {""}
    rows = []
    for family, name in ((family, name) for family, names in FAMILIES.items() for name in names):
        if chosen and not chosen & {family, name}:
            continue
        if name not in done:
            done[name] = measure(family, name, given)
            with given.rows.open("a") as file:
                file.write(json.dumps(asdict(done[name])) + "\n")
            gc.collect()
        rows.append(done[name])
        print(table([rows[-1]]).splitlines()[-1], flush=True)
    if given.out:
        first, _, rest = given.out.read_text().partition("<!-- table -->\n")
        given.out.write_text(f"{first}<!-- table -->\n{table(rows)}\n<!-- end -->{rest.partition('<!-- end -->')[2]}")
    worse = [f"{row.network} ({row.ratio:.1f}, {row.double_error:.1e})" for row in rows if not row.ok]
    if worse:
        print(
            f"above {LIMIT:g} times torch's own error, or {ROUNDING:g} in float64: {', '.join(worse)}", file=sys.stderr
        )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
