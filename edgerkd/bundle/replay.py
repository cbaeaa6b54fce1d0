"""The replay set: images with the host's adversarial versions of them and the host's answers to both."""

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ArtefactError, problems_text
from edgerkd.files.arrays import read_arrays

LIMIT = 1 << 30
"""Bytes of one array. Ours: 500 colour images of 224 x 224 pixels are 0.3 GB."""


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
    replay = ReplaySet(**read_arrays(path, tuple(_TYPES), limit=LIMIT))
    n, problems = replay.labels.shape[0] if replay.labels.ndim == 1 else 0, list[str]()
    shapes = {
        "images": (n, *replay.images.shape[1:]),
        "images_adv": replay.images.shape,
        "labels": (n,),
        "logits": (n, *replay.logits.shape[1:]),
        "logits_adv": replay.logits.shape,
        "host_robust": (n,),
    }
    for name, expected in _TYPES.items():
        array = getattr(replay, name)
        if n == 0 or array.dtype != expected or array.shape != shapes[name]:
            problems.append(f"{name} is {array.dtype} {array.shape}: expected {expected.__name__} {shapes[name]}")
        elif not np.isfinite(array).all():
            problems.append(f"{name} holds NaN or infinite values")
        elif name.startswith("images") and (array.ndim != 4 or array.min() < 0 or array.max() > 1):
            problems.append(f"{name} must be (n, c, h, w) within [0, 1]")
    if not problems:
        answers, answers_adv = replay.logits.argmax(1), replay.logits_adv.argmax(1)
        if replay.labels.min() < 0 or replay.labels.max() >= replay.logits.shape[1]:
            reach = f"{replay.labels.min()} to {replay.labels.max()}"
            problems.append(f"labels reach from {reach}: there are no such classes")
        elif (replay.host_robust & ((answers != replay.labels) | (answers_adv != replay.labels))).any():
            problems.append("host_robust names images that the host's own logits answer wrong")
    if problems:
        raise ArtefactError(problems_text(path, problems))
    return replay
