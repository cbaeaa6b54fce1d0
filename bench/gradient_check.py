"""How often is a right gradient twin refused, and a wrong one believed? By network, precision and kind of lie.

    python bench/gradient_check.py [--folder DIR] [--runs 340] [--lies 40] [--only digits]

Six networks are trained at first use (small_networks.py, ten minutes in all) and kept in `--folder`: digits, ResNet;
Fashion-MNIST, MobileNetV3 (h-swish); CIFAR-10, PreActResNet; each trained in the standard way and adversarially. Every
one is exported in fp32 and int8 and runs in ONNX Runtime, with its twin. Each run draws its own images and points.
"""

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from machine import machine_facts, show_machine
from small_networks import Exported, Setting, exported

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.classifier import Classifier
from edgerkd.attacks.gradient_check import check_gradients
from edgerkd.core.gradient_check import GradientCheck
from edgerkd.verify.classifier import EngineClassifier
from edgerkd.verify.graph import open_graph

SETTINGS = [
    Setting(data=data, family=family, widths=widths, robust=robust, train=train, epochs=epochs)
    for data, family, widths, train, epochs in (
        ("digits", "resnet", (8, 16), 1200, 40),
        ("fashion-mnist", "mobilenetv3", (8, 16, 16), 12000, 4),
        ("cifar10", "preactresnet", (16, 32, 48), 20000, 4),
    )
    for robust in (False, True)
]

Lie = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""(images, true gradient, cotangent, generator) -> what the twin answers."""


def noise_like(gradient: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Noise as large as the gradient, image by image."""
    size = np.sqrt(np.mean(gradient**2, axis=(1, 2, 3), keepdims=True))
    return (generator.standard_normal(gradient.shape) * size).astype(np.float32)


def on_rows(lies: np.ndarray, gradient: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.where(lies[:, None, None, None], noise_like(gradient, generator), gradient)


def share(p: float) -> Lie:
    return lambda x, g, c, rng: on_rows(rng.random(len(g)) < p, g, rng)


def masked(gradient: np.ndarray, quantile: float) -> np.ndarray:
    """The largest entries left out."""
    size = np.abs(gradient)
    return np.where(size <= np.quantile(size, quantile, axis=(1, 2, 3), keepdims=True), gradient, 0)


def near(x: np.ndarray, images: np.ndarray, eps: float) -> np.ndarray:
    """Which points lie in the ball around one of the images."""
    return np.asarray([np.abs(images - point).max(axis=(1, 2, 3)).min() <= eps * 1.01 for point in x])


def beyond(x: np.ndarray, images: np.ndarray, eps: float) -> np.ndarray:
    """Which points are moved as by an attack: most pixels at the ball's surface."""
    flat, known = x.reshape(len(x), -1), images.reshape(len(images), -1)
    centres = [known[np.abs(known - point).max(1).argmin()] for point in flat]
    moved = np.abs(flat - np.stack(centres))
    return np.asarray([np.median(row[row > 0]) > 0.7 * eps if (row > 0).any() else False for row in moved])


def lies_about(case: Exported, other: Classifier) -> dict[str, Lie]:
    """Every kind of lying twin, by name."""
    eps, known = float(case.threat_model.eps), case.images[:32]
    return {
        "zero": lambda x, g, c, rng: np.zeros_like(g),
        "noise": lambda x, g, c, rng: noise_like(g, rng),
        "noise, a thousandth": lambda x, g, c, rng: noise_like(g, rng) * np.float32(1e-3),
        "sign flipped": lambda x, g, c, rng: -g,
        "shuffled over images": lambda x, g, c, rng: np.roll(g, 1, axis=0),
        "another network": lambda x, g, c, rng: other.gradient(x, lambda z: c)[1],
        "right on 32 images": lambda x, g, c, rng: on_rows(~near(x, known, eps), g, rng),
        "right on clean images": lambda x, g, c, rng: on_rows(
            np.abs(x * 255 - np.rint(x * 255)).max((1, 2, 3)) > 0.01, g, rng
        ),
        "wrong at attacked points": lambda x, g, c, rng: on_rows(beyond(x, case.images, eps), g, rng),
        "right for class 0": lambda x, g, c, rng: on_rows(c.argmin(1) != 0, g, rng),
        "a thousandth": lambda x, g, c, rng: g * np.float32(1e-3),
        "with 3 times as much noise": lambda x, g, c, rng: g + 3 * noise_like(g, rng),
        "largest tenth left out": lambda x, g, c, rng: masked(g, 0.9),
        "largest half left out": lambda x, g, c, rng: masked(g, 0.5),
        "noise on 50 %": share(0.5),
        "noise on 30 %": share(0.3),
        "noise on 20 %": share(0.2),
        "noise on 10 %": share(0.1),
    }


class Lying:
    """A classifier whose gradient is replaced."""

    def __init__(self, right: Classifier, lie: Lie, generator: np.random.Generator) -> None:
        self.right, self.lie, self.generator = right, lie, generator

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.right.logits(images)

    def gradient(self, images: np.ndarray, cotangent: Callable) -> tuple[np.ndarray, np.ndarray]:
        used: list[np.ndarray] = []

        def kept(logits: np.ndarray) -> np.ndarray:
            used.append(cotangent(logits))
            return used[-1]

        logits, gradient = self.right.gradient(images, kept)
        return logits, self.lie(images, gradient, used[-1], self.generator)


@contextmanager
def live(case: Exported, precision: str) -> Iterator[EngineClassifier]:
    with open_graph(case.graph(precision).read_bytes(), case.twin(precision).read_bytes()) as found:
        yield found


def inputs_of(case: Exported) -> AttackInputs:
    index = np.arange(len(case.images))
    return AttackInputs(images=case.images, labels=case.labels, threat_model=case.threat_model, seed=0, index=index)


def checks(classifier: Classifier, inputs: AttackInputs, precision: str, runs: int) -> list[GradientCheck]:
    return [
        check_gradients(classifier, inputs, precision=precision, generator=np.random.default_rng(seed))
        for seed in range(runs)
    ]


def show(name: str, found: list[GradientCheck]) -> None:
    refused = sum(not each.ok for each in found)
    correlation = np.asarray([each.correlation for each in found])
    astray = np.asarray([each.disagreeing for each in found])
    print(
        f"{name:62} refused {refused:4} of {len(found):4}  disagreeing {astray.mean():5.2f} (most {astray.max():2})  "
        f"flat {np.mean([each.flat for each in found]):5.2f}  correlation {correlation.mean():+.3f} "
        f"({correlation.min():+.3f} to {correlation.max():+.3f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/gradient-check"), help="where networks are kept")
    parser.add_argument("--runs", type=int, default=340, help="checks of each right twin")
    parser.add_argument("--lies", type=int, default=40, help="checks of each lying twin")
    parser.add_argument("--only", default="", help="networks whose name begins so")
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # ONNX Runtime's quantiser asks for a step that changes nothing here
    show_machine(machine_facts(["numpy", "onnxruntime"]))
    chosen = [setting for setting in SETTINGS if setting.name.startswith(args.only)]
    cases = {setting.name: exported(setting, folder=args.folder, test=2000) for setting in chosen}
    for name, case in cases.items():
        for precision in ("fp32", "int8"):
            started = time.perf_counter()
            with live(case, precision) as right:
                show(f"{name}, {precision}: right", checks(right, inputs_of(case), precision, args.runs))
            print(f"    {(time.perf_counter() - started) / max(args.runs, 1):.2f} s a check")
    for name, case in cases.items():
        partner = name.replace("robust", "standard") if "robust" in name else name.replace("standard", "robust")
        for precision in ("fp32", "int8"):
            with live(case, precision) as right, live(cases[partner], precision) as other:
                for kind, lie in lies_about(case, other).items() if args.lies else ():
                    liar = Lying(right, lie, np.random.default_rng(0))
                    show(f"{name}, {precision}: {kind}", checks(liar, inputs_of(case), precision, args.lies))


if __name__ == "__main__":
    main()
