"""Weights somebody else trained -> one of our networks. Nothing in the file is ever executed."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edgerkd.core.architecture import Architecture
from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.models.build import build
from edgerkd.models.network import Network
from edgerkd.models.store import fill

# Names in the wild -> ours, in this order: layer1.0.conv1, shortcut.0, linear; and the short layer1.0.c1, sc, fc.
_RENAMES = (
    (r"^(module|model|_orig_mod)\.", ""),
    (r"^layer(\d+)\.", lambda m: f"layers.{int(m[1]) - 1}."),
    (r"\.c([12])\.", r".conv\1."),
    (r"\.(sc|shortcut\.0)\.", ".shortcut."),
    (r"^fc\.", "linear."),
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a plain state dict, floats as float32.

    A pickle that holds anything but tensors and plain containers is refused before any of it runs
    (torch's `weights_only`). Raises ArtefactError.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    try:
        data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, OSError) as e:
        raise ArtefactError(f"{path}: not a readable safetensors file: {e}") from e
    except Exception as e:  # torch.load raises what the damage happens to cause
        raise ArtefactError(
            f"{path}: refused: it is not a plain state dict of tensors, and nothing in it was executed; save it with "
            f"`torch.save(model.state_dict(), ...)` or as .safetensors ({(str(e) or type(e).__name__).splitlines()[0]})"
        ) from e
    for key in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    if not isinstance(data, Mapping) or not all(isinstance(value, Tensor) for value in data.values()) or not data:
        raise ArtefactError(f"{path}: holds no state dict: wanted names mapped to tensors")
    return {str(name): value.float() if value.is_floating_point() else value for name, value in data.items()}


def network_from_state(
    state: Mapping[str, Tensor], source: Path, *, image_shape: tuple[int, int, int], moments: tuple[Tensor, Tensor]
) -> Network:
    """A PreActResNet that fits the weights. `moments` (mean, std per channel) serve where the file has none.

    Raises ArtefactError naming what does not fit.
    """
    renamed = {_ours(name): value for name, value in state.items()}
    stages = sorted({int(m[1]) for name in renamed if (m := re.match(r"layers\.(\d+)\.", name))})
    if "conv1.weight" not in renamed or "linear.weight" not in renamed or not stages:
        raise ArtefactError(
            f"{source}: not a known architecture: PreActResNet weights are named conv1, layer1.0.bn1 ..., bn, linear; "
            f"found {', '.join(list(state)[:4])} ..."
        )
    if renamed["conv1.weight"].ndim != 4 or renamed["linear.weight"].ndim != 2:
        raise ArtefactError(f"{source}: conv1.weight and linear.weight are no convolution and no linear map")
    blocks = tuple(len({n.split(".")[2] for n in renamed if n.startswith(f"layers.{s}.")}) for s in stages)
    widths = tuple(_width(renamed, f"layers.{s}.0.conv1.weight", source) for s in stages)
    channels = renamed["conv1.weight"].shape[1]
    if channels != image_shape[0]:
        raise ConfigError(
            f"{source}: the teacher takes {channels} channels, the data have {image_shape[0]}: "
            "name its data with --data"
        )
    mean, std = (renamed.pop(key, moment).flatten() for key, moment in zip(("mean", "std"), moments, strict=True))
    network = build(
        Architecture(
            family="preactresnet",
            widths=widths,
            blocks=blocks,
            channels=channels,
            height=image_shape[1],
            width=image_shape[2],
            classes=len(renamed["linear.weight"]),
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
        )
    )
    own = network.state_dict()
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked") and name not in renamed}
    fill(network, {**renamed, **counters, "mean": own["mean"], "std": own["std"]}, source)
    return network.eval()


def _ours(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _width(state: Mapping[str, Tensor], name: str, source: Path) -> int:
    if name not in state:
        raise ArtefactError(f"{source}: {name} is missing: not a PreActResNet of basic blocks")
    return state[name].shape[0] if state[name].ndim else 0
