"""How long one batch takes, and under which conditions."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.backend import FloatArray, LiveEngine, TimedEngine
from edgerkd.core.conditions import DeviceLatency, Timing
from edgerkd.core.kept import histogram_of
from edgerkd.core.verification import Latency
from edgerkd.verify.conditions import read_conditions
from edgerkd.verify.doctor import find_jetson
from edgerkd.verify.energy import find_meter, measure_energy

_RUNS = 200
_WINDOW, _LONGEST = 10, 20  # runs of warm-up that are compared with the ten before, and how many tens at most; ours
_ALIKE = 0.05  # share by which two tens may differ to be as fast as one another; ours
_SECONDS = 2.0  # of warm-up at most, beyond the first two tens; ours


def measure_timing(engine: LiveEngine, images: FloatArray, *, root: Path = Path("/")) -> tuple[Latency, Timing]:
    """Milliseconds for this batch, end to end: images in host memory to logits in host memory.

    With the machine's conditions before and after, the device's own time, and energy where it is told.
    """
    gpu = engine.device.kind == "gpu"
    warmup, settled = warm_up(engine, images)
    before = read_conditions(gpu=gpu, root=root, power_mode=_power_mode(root))
    latency = _latency(_milliseconds(engine, images, _RUNS), images)
    after = read_conditions(gpu=gpu, root=root, power_mode=_power_mode(root))
    device = _device_ms(engine, images)
    timing = Timing(
        warmup=warmup,
        settled=settled,
        before=before,
        after=after,
        device_ms=device,
        energy=measure_energy(find_meter(gpu=gpu, root=root), lambda: engine(images)),
    )
    return latency, timing


def _power_mode(root: Path) -> str | None:
    jetson = find_jetson(root)
    return None if jetson is None else jetson.power_mode


def warm_up(engine: LiveEngine, images: FloatArray) -> tuple[int, bool]:
    """Run until ten runs take as long as the ten before, as their medians say: how many runs, and whether they did."""
    started, before, runs = time.perf_counter(), 0.0, 0
    for window in range(_LONGEST):
        now = float(np.median(_milliseconds(engine, images, _WINDOW)))
        runs += _WINDOW
        if window and abs(now / before - 1) <= _ALIKE:
            return runs, True
        if window and time.perf_counter() - started > _SECONDS:
            break
        before = now
    return runs, False


def _milliseconds(engine: LiveEngine, images: FloatArray, runs: int) -> NDArray[np.float64]:
    taken = np.empty(runs)
    for run in range(runs):
        started = time.perf_counter()
        engine(images)
        taken[run] = time.perf_counter() - started
    return taken * 1e3


def _latency(taken: NDArray[np.float64], images: FloatArray) -> Latency:
    p50, p95, p99 = (float(value) for value in np.percentile(taken, (50, 95, 99)))
    histogram = histogram_of(taken.tolist(), p95=p95)
    return Latency(p50=p50, p95=p95, p99=p99, batch=len(images), runs=len(taken), histogram=histogram)


def _device_ms(engine: LiveEngine, images: FloatArray) -> DeviceLatency | None:
    """The device's own time, where the backend can tell."""
    if not isinstance(engine, TimedEngine):
        return None
    taken = [engine.device_ms(images) for _ in range(_RUNS)]
    p50, p95, p99 = (float(value) for value in np.percentile(taken, (50, 95, 99)))
    return DeviceLatency(p50=p50, p95=p95, p99=p99) if p50 > 0 else None
