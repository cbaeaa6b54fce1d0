"""How long one batch takes."""

import time

import numpy as np

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.core.verification import Latency

_WARMUP, _RUNS = 20, 200


def measure_latency(engine: LiveEngine, images: FloatArray) -> Latency:
    """Milliseconds for this batch, end to end: images in host memory to logits in host memory."""
    for _ in range(_WARMUP):
        engine(images)
    seconds = np.empty(_RUNS)
    for run in range(_RUNS):
        started = time.perf_counter()
        engine(images)
        seconds[run] = time.perf_counter() - started
    p50, p95, p99 = (float(value) for value in np.percentile(seconds * 1e3, (50, 95, 99)))
    return Latency(p50=p50, p95=p95, p99=p99, batch=len(images), runs=_RUNS)
