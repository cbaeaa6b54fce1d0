"""What to compute on, and how."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


def compute_device() -> torch.device:
    """The first CUDA GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bf16_pays(device: torch.device) -> bool:
    """Whether bf16 autocast is faster than float32 here: on GPUs from Ampere on, and on CPUs with bf16 instructions.

    Measured on an AVX-512-BF16 CPU: 2.2 to 2.5 times faster for 32 x 32 images (bench/); without
    the instructions bf16 is emulated and slower.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    info = Path("/proc/cpuinfo")
    return info.exists() and any(flag in info.read_text() for flag in ("avx512_bf16", "amx_bf16"))


@contextmanager
def one_thread() -> Iterator[None]:
    """torch with one thread: for images of a few pixels, where a second is no help and waits for the first.

    Where other programs keep the cores busy it waits a hundred times as long (docs/measured/start-up.md).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def images_at_once(image_shape: tuple[int, int, int]) -> int:
    """How many images of this (channels, height, width) are attacked together: 256 of up to 64 x 64, fewer of larger.

    So that what a network keeps of them for its gradient stays within some hundred megabytes. Ours.
    """
    _, height, width = image_shape
    return max(8, min(256, 256 * 64 * 64 // (height * width)))


_LOCK = threading.Lock()
_BEFORE: list[list[Any]] = []  # Any: whatever torch takes for a precision
"""One entry for each use of `exact_float32` that has begun and not ended; the first has what was set before."""


@contextmanager
def exact_float32() -> Iterator[None]:
    """float32 that is float32: without TF32, which torch's convolutions use on GPUs from Ampere on.

    TF32 keeps 10 bits of the mantissa: figures of the host would not be those of an fp32 engine. Recurrent layers, of
    which there are none here, are set as well: torch refuses to say what holds where the two differ.
    """
    cudnn: Any = torch.backends.cudnn  # Any: torch's stubs do not know its parts
    settings = (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul)
    with _LOCK:  # threads may be in here together: the first sets, and the last puts back what the first found
        if not _BEFORE:
            _BEFORE.append([setting.fp32_precision for setting in settings])
            for setting in settings:
                setting.fp32_precision = "ieee"
        else:
            _BEFORE.append([])
    try:
        yield
    finally:
        with _LOCK:
            if len(_BEFORE) == 1:
                for setting, precision in zip(settings, _BEFORE[0], strict=True):
                    setting.fp32_precision = precision
            _BEFORE.pop()
