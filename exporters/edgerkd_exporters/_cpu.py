"""The CPU of this machine."""

import platform
from pathlib import Path

from edgerkd.core.engine import DeviceRecord


def cpu() -> DeviceRecord:
    """Such as x86_64, AMD EPYC 9V74; without the model where the kernel does not tell it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    machine = platform.machine() or "unknown"
    return DeviceRecord(kind="cpu", name=models[0] if models and models[0] else machine, machine=machine)
