"""Predicted latency: a roofline with a price per layer. A guide for choosing; `verify` measures."""

from edgerkd.core.architecture import Cost
from edgerkd.core.profile import Device

_LAUNCH_US = 5.0  # ours: an unfused small kernel on an edge GPU; replaced by a profile's own `launch_us`
_EFFICIENCY = 0.2  # ours: share of the peak that small convolutions reach; untested on devices


def predict_latency_ms(cost: Cost, layers: int, device: Device) -> float | None:
    """Milliseconds for one image in float32; None where the profile does not know the device's speed."""
    if device.fp32_tflops is None or device.memory_gbps is None:
        return None
    compute = 2 * cost.macs / (device.fp32_tflops * 1e12 * _EFFICIENCY)
    traffic = cost.peak_bytes / (device.memory_gbps * 1e9)
    launch = layers * (device.launch_us or _LAUNCH_US) * 1e-6
    return 1e3 * (max(compute, traffic) + launch)
