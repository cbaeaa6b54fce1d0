"""The replay set: images with the host's adversarial versions of them and the host's answers to both."""

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ArtefactError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySet:
    """`images`, `images_adv` float32 (n, c, h, w); `labels` int64 (n,); host `logits`, `logits_adv` float32 (n, k).

    `host_robust` (n,) says which images the host's student got right under every attack of the host.
    """

    images: NDArray[np.float32]
    images_adv: NDArray[np.float32]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    logits_adv: NDArray[np.float32]
    host_robust: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


_TYPES: dict[str, Any] = {  # Any: NumPy scalar types have no common public type
    "images": np.float32,
    "images_adv": np.float32,
    "labels": np.int64,
    "logits": np.float32,
    "logits_adv": np.float32,
    "host_robust": np.bool_,
}


def replay_bytes(replay: ReplaySet) -> bytes:
    """The set as an uncompressed .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **{f.name: getattr(replay, f.name) for f in fields(replay)})
    return buffer.getvalue()


def read_replay(path: Path) -> ReplaySet:
    """Raises ArtefactError for a file that is no replay set, or one with arrays of wrong type, length or range."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            replay = ReplaySet(**{name: arrays[name] for name in _TYPES})
    except (OSError, ValueError, KeyError, EOFError) as e:
        raise ArtefactError(f"{path}: not a replay set: {e}") from e
    for name, wanted in _TYPES.items():
        array = getattr(replay, name)
        if array.dtype != wanted or len(array) != len(replay):
            raise ArtefactError(
                f"{path}: {name} is {array.dtype} of length {len(array)}: "
                f"wanted {wanted.__name__}, and {len(replay)} labels"
            )
    for name in ("images", "images_adv"):
        array = getattr(replay, name)
        if array.ndim != 4 or not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ArtefactError(f"{path}: {name} must be (n, c, h, w) within [0, 1]")
    return replay
