"""Weights somebody else trained -> one of our networks. Nothing in the file is ever executed."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from edgerkd.core.architecture import Architecture, Family
from edgerkd.core.errors import ArtefactError, ConfigError, EdgerkdError
from edgerkd.files.paths import check_file
from edgerkd.models.build import build, meta_model
from edgerkd.models.layouts import LAYOUTS, layout_of, renamed, unwrapped
from edgerkd.models.network import Network
from edgerkd.models.store import WEIGHTS_LIMIT, check_state, read_safetensors

Moments = tuple[Tensor, Tensor]
"""Mean and standard deviation per channel, of images in [0, 1]."""

# torchvision's residual networks, by: is it of bottlenecks, the width of the first block's conv2, blocks a stage.
_IMAGENET: dict[tuple[bool, int, tuple[int, ...]], str] = {
    (False, 64, (2, 2, 2, 2)): "resnet18",
    (False, 64, (3, 4, 6, 3)): "resnet34",
    (True, 64, (3, 4, 6, 3)): "resnet50",
    (True, 64, (3, 4, 23, 3)): "resnet101",
    (True, 64, (3, 8, 36, 3)): "resnet152",
    (True, 128, (3, 4, 6, 3)): "wide_resnet50_2",
    (True, 128, (3, 4, 23, 3)): "wide_resnet101_2",
}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a plain state dict, floats as float32.

    A pickle that holds anything but tensors and plain containers is refused before any of it runs
    (torch's `weights_only`). Raises ConfigError where there is no file, ArtefactError for one that holds
    anything but dense real tensors.
    """
    check_file(path, limit=WEIGHTS_LIMIT)
    try:
        data = read_safetensors(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except EdgerkdError:
        raise
    except Exception as e:  # torch.load raises what the damage happens to cause, and advises to run what it refused
        raise ArtefactError(
            f"{path} is refused: it is damaged or not a plain state dict of tensors. Nothing in it was executed. "
            "Where it comes from, save its weights alone by `torch.save(model.state_dict(), ...)` or as .safetensors"
        ) from e
    for key in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    if not isinstance(data, Mapping) or not all(isinstance(value, Tensor) for value in data.values()) or not data:
        raise ArtefactError(f"{path}: holds no state dict: expected names mapped to tensors")
    odd = [str(name) for name, value in data.items() if not _is_plain(value)]
    if odd:
        raise ArtefactError(
            f"{path}: {odd[0]}: expected a dense tensor of real numbers with all its elements in the file"
        )
    return {str(name): value.float() if value.is_floating_point() else value for name, value in data.items()}


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is dense and real and holds all its elements: others claim sizes that no memory has."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex() or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def families_of(state: Mapping[str, Tensor], source: Path) -> tuple[Family, ...]:
    """The families that the weights' names and shapes leave open. Raises ArtefactError where there is none."""
    return _named(state, source)[1]


def has_moments(state: Mapping[str, Tensor]) -> bool:
    """Whether the file brings its own normalisation."""
    return {"mean", "std"} <= unwrapped(state).keys()


def network_from_state(
    state: Mapping[str, Tensor],
    source: Path,
    *,
    image_shape: tuple[int, int, int],
    moments: Moments,
    family: Family | None = None,
    classes: int | None = None,
) -> Network:
    """The network of `family`, or of the first of `families_of`, with these weights, in evaluation mode.

    `moments` serve where the file has none. Raises ArtefactError naming what does not fit, ConfigError for
    other channels than the images', or another number of `classes` than this; both before memory is taken.
    """
    tensors, families = _named(state, source)
    family = families[0] if family is None else family
    stem, head = _stem(tensors), tensors["linear.weight"]
    if stem.ndim != 4 or head.ndim != 2:
        raise ArtefactError(f"{source}: the first weights are not a convolution's, or the last not a linear layer's")
    if stem.shape[1] != image_shape[0]:
        raise ConfigError(
            f"{source}: the teacher takes {stem.shape[1]} channels, the data have {image_shape[0]}: "
            "name its data set with --data"
        )
    if classes not in (None, len(head)):
        raise ConfigError(
            f"{source}: the teacher has {len(head)} classes, the data have {classes}: name its data set with --data"
        )
    blocks, widths = _stages(tensors, source)
    if family == "library":
        name = _imagenet_name(tensors, blocks, source)
        plain = unwrapped(state)
        return network_from_library(name, plain, source, classes=len(head), image_shape=image_shape, moments=moments)
    mean, std = _moments(tensors, moments, image_shape[0], source)
    architecture = Architecture(
        family=family,
        widths=widths,
        blocks=blocks,
        channels=image_shape[0],
        height=image_shape[1],
        width=image_shape[2],
        classes=len(head),
        mean=mean,
        std=std,
    )
    return _filled(architecture, tensors, source)


def network_from_library(
    name: str,
    state: Mapping[str, Tensor],
    source: Path,
    *,
    classes: int,
    image_shape: tuple[int, int, int],
    moments: Moments,
) -> Network:
    """The network `torchvision:NAME` or `timm:NAME` with these weights, named as the library names them."""
    mean, std = _moments(state, moments, image_shape[0], source)
    architecture = Architecture(
        family="library",
        library=name,
        widths=(),
        blocks=(),
        channels=image_shape[0],
        height=image_shape[1],
        width=image_shape[2],
        classes=classes,
        mean=mean,
        std=std,
    )
    return _filled(
        architecture, {f"body.{key}": value for key, value in state.items() if key not in ("mean", "std")}, source
    )


def _named(state: Mapping[str, Tensor], source: Path) -> tuple[dict[str, Tensor], tuple[Family, ...]]:
    """The weights under our names, and the families they may be of."""
    plain = unwrapped(state)
    layout = layout_of(plain)
    if layout is None:
        known = "; or ".join(", ".join(known.marks) for known in LAYOUTS)
        raise ArtefactError(
            f"{source}: not a known architecture: WideResNet, PreActResNet and ResNet are known by the weights "
            f"{known}; found {', '.join(list(plain)[:4])} ..."
        )
    tensors = renamed(plain, layout)
    if "linear.weight" not in tensors:
        raise ArtefactError(f"{source}: the last linear layer is missing: expected fc.weight or linear.weight")
    if layout.families != ("resnet",):
        return tensors, layout.families
    if _stem(tensors).shape[-1:] == (7,):
        return tensors, ("library",)
    return tensors, ("resnet-bottleneck" if "stages.0.0.conv3.weight" in tensors else "resnet",)


def _stem(tensors: Mapping[str, Tensor]) -> Tensor:
    return tensors["conv.weight"] if "conv.weight" in tensors else tensors["conv1.weight"]


def _stages(tensors: Mapping[str, Tensor], source: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks and output channels of each stage. Basic blocks are as wide as their conv1, bottlenecks as their conv3."""
    found = {m[0] for name in tensors if (m := re.match(r"(layers|stages)\.\d+\.\d+", name))}
    if not found:
        raise ArtefactError(
            f"{source}: has no stage: expected blocks like layer1.0, each of convolutions and batch norms"
        )
    stages = sorted({block.rpartition(".")[0] for block in found}, key=lambda stage: int(stage.partition(".")[2]))
    widths: list[int] = []
    for stage in stages:
        last = f"{stage}.0.conv3.weight"
        weight = tensors.get(last if last in tensors else f"{stage}.0.conv1.weight")
        if weight is None or weight.ndim != 4:
            raise ArtefactError(f"{source}: {stage}: does not begin with a block of convolutions conv1, conv2 ...")
        widths.append(weight.shape[0])
    blocks = (len([block for block in found if block.startswith(f"{stage}.")]) for stage in stages)
    return tuple(blocks), tuple(widths)


def _imagenet_name(tensors: Mapping[str, Tensor], blocks: tuple[int, ...], source: Path) -> str:
    """The torchvision network with a 7 x 7 stem that has these weights."""
    bottleneck = "stages.0.0.conv3.weight" in tensors
    narrow = tensors["stages.0.0.conv2.weight"].shape[0] if "stages.0.0.conv2.weight" in tensors else 0
    if (bottleneck, narrow, blocks) not in _IMAGENET:
        raise ArtefactError(
            f"{source}: a residual network for large images of {blocks} blocks is not one of torchvision's: "
            f"known are {', '.join(_IMAGENET.values())}"
        )
    return f"torchvision:{_IMAGENET[bottleneck, narrow, blocks]}"


def _moments(
    state: Mapping[str, Tensor], moments: Moments, channels: int, source: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The file's own, else those given. Raises ArtefactError where they are not one finite value a channel."""
    mean, std = (state.get(key, other).flatten() for key, other in zip(("mean", "std"), moments, strict=True))
    for key, values in (("mean", mean), ("std", std)):
        if len(values) != channels or not torch.isfinite(values).all():
            raise ArtefactError(f"{source}: {key}: expected a finite value for each of {channels} channels")
    return tuple(mean.tolist()), tuple(std.tolist())


def _filled(architecture: Architecture, tensors: Mapping[str, Tensor], source: Path) -> Network:
    outline, _ = meta_model(architecture)
    own = outline.state_dict()
    counters = {name: torch.tensor(0) for name in own if name.endswith("num_batches_tracked") and name not in tensors}
    moments = {key: torch.tensor(getattr(architecture, key)).reshape(own[key].shape) for key in ("mean", "std")}
    state = {**tensors, **counters, **moments}
    check_state(outline, state, source)  # first: a small file may claim a network that no memory holds
    network = build(architecture)
    network.load_state_dict(state)
    return network.eval()
