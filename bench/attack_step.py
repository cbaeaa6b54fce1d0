"""An attack's step on a bundle's engine and its gradient twin in ONNX Runtime: opened as deployed, and for attacks.

    python bench/attack_step.py runs/latest/bundle --variant fp32 [--images 50] [--rounds 5]

A step is the engine's logits and the twin's gradient of one batch of noise. The two ways are timed in turns, in this
process, with all the cores it may use.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine_facts, show_machine, spread

from edgerkd.bundle.backend import LiveEngine, open_engine
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import read_bundle

STEPS = 20  # of a round


def step_of(engine: LiveEngine, twin: LiveEngine, shape: tuple[int, ...], classes: int) -> Callable[[], object]:
    """What is timed."""
    generator = np.random.default_rng(0)
    images = generator.random(shape, np.float32)
    cotangent = generator.standard_normal((shape[0], classes), np.float32)
    return lambda: (engine(images), twin(images, cotangent))


def milliseconds(step: Callable[[], object]) -> float:
    """Of a step, the mean of STEPS after one that warms up."""
    step()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - started) / STEPS * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--variant", default="fp32")
    parser.add_argument("--images", type=int, nargs="+", default=[50])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    bundle, backend = read_bundle(given.bundle), load_backend("onnx")
    (variant,) = (each for each in bundle.manifest.variants if each.name == given.variant)
    engine, twin = bundle.path / (variant.engine or variant.graph), bundle.path / variant.twin
    model, facts = bundle.manifest.model, machine_facts(("onnxruntime", "numpy"))
    show_machine(facts)
    with (
        backend.open(engine) as live,
        backend.open(twin) as live_twin,
        open_engine(backend, engine, attacked=True) as attacked,
        open_engine(backend, twin, attacked=True) as attacked_twin,
    ):
        found: dict[str, dict[str, list[float]]] = {}
        for n in given.images:
            shape = (n, *model.image_shape)
            ways = {
                "deployed": step_of(live, live_twin, shape, len(model.classes)),
                "for attacks": step_of(attacked, attacked_twin, shape, len(model.classes)),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(given.rounds):
                for name, step in ways.items():
                    times[name].append(milliseconds(step))
            found[str(n)] = times
            shown = {name: spread(each) for name, each in times.items()}
            print(
                f"{given.variant}, {n} images: "
                + ", ".join(
                    f"{name} {middle:.1f} ms [{low:.1f}, {high:.1f}]" for name, (middle, low, high) in shown.items()
                )
                + f", ratio {shown['deployed'][0] / shown['for attacks'][0]:.2f}"
            )
    if given.json is not None:
        given.json.write_text(json.dumps({"machine": facts, "bundle": str(given.bundle), "ms": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
