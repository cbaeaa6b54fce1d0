"""An NVIDIA GPU's own state and energy counter, by NVML, which comes with the driver. Nothing here can fail."""

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
_CLOCK_SM, _TEMPERATURE_GPU = 1, 0  # nvmlClockType_t and nvmlTemperatureSensors_t, nvml.h
_REASONS = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}
"""Source: nvml.h, nvmlClocksEventReason*; an idle or user-set clock is no reason to doubt a latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """What the driver says now; None where it does not."""

    clock_hz: int | None = None
    celsius: float | None = None
    held_back: tuple[str, ...] = ()


def read_gpu() -> GpuState:
    """The state of the only GPU of this machine; nothing where there are several, for which one serves is not known."""
    with _only_gpu() as gpu:
        if gpu is None:
            return GpuState()
        clock = gpu.number("nvmlDeviceGetClockInfo", ctypes.c_uint, _CLOCK_SM)
        celsius = gpu.number("nvmlDeviceGetTemperature", ctypes.c_uint, _TEMPERATURE_GPU)
        reasons = gpu.number("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong) or 0
        return GpuState(
            clock_hz=clock * 1_000_000 if clock else None,
            celsius=None if celsius is None else float(celsius),
            held_back=tuple(f"gpu: {name}" for bit, name in _REASONS.items() if reasons & bit),
        )


def gpu_millijoules() -> int | None:
    """The energy that the only GPU has taken since its driver was loaded. Source: nvml.h, since Volta."""
    with _only_gpu() as gpu:
        return None if gpu is None else gpu.number("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong)


class _Gpu:
    def __init__(self, library: Any, handle: ctypes.c_void_p) -> None:  # Any: a library without types
        self._library, self._handle = library, handle

    def number(self, name: str, kind: type[Any], *arguments: int) -> int | None:
        """What a query answers, None where it cannot."""
        query, value = getattr(self._library, name, None), kind()
        if query is None or query(self._handle, *arguments, ctypes.byref(value)) != 0:
            return None
        return int(value.value)


@contextmanager
def _only_gpu() -> Generator[_Gpu | None]:
    try:
        library: Any = ctypes.CDLL(_LIBRARY)
        started = library.nvmlInit_v2() == 0
    except (OSError, AttributeError):
        yield None
        return
    if not started:
        yield None
        return
    try:
        count, handle = ctypes.c_uint(), ctypes.c_void_p()
        one = library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 and count.value == 1
        found = one and library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)) == 0
        yield _Gpu(library, handle) if found else None
    finally:
        library.nvmlShutdown()
