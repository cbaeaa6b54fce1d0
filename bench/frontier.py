"""Training methods at equal wall-clock: robust accuracy against what it cost.

    python bench/frontier.py --minutes 5 [--methods pgd-at rslad edgerkd ...] [--seeds 3] [--json FILE --svg FILE]
    python bench/frontier.py --data cifar10 --weights FILE.pt --minutes 15 --widths 16 32 64 --attack-n 200 --json FILE

Every method has the same student, teacher, training images, batch, augmentation, peak learning rate and schedule
(edgerkd/core/recipe.py), and so many epochs as fit into `--minutes`: its first epoch's steps are timed on a copy before
the run begins. With `--equal-epochs N` every method has N epochs instead, and cost is what differs. `--train` takes a
part of the training images, so that a slow machine ends a few epochs too. The epoch kept is chosen on the validation
split; the figures are of the test split: clean and PGD (20 steps, the worst case of cross-entropy and margin) on
`-n` images, `--attack` (apgd, or autoattack) on the first `--attack-n` of them. A pass is one image through a network,
forward or backward.

`--json` is written after each run, and a run that stands in it is not repeated: a stopped benchmark goes on.
"""

import argparse
import copy
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from machine import machine_facts, show_machine
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe, load_method
from edgerkd.data.dataset import Dataset
from edgerkd.data.load import load_dataset
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.trainer import train
from edgerkd.jobs.evaluate import attack_network
from edgerkd.jobs.teachers import batch_for, find_teacher
from edgerkd.models.build import build
from edgerkd.models.cost import count_cost
from edgerkd.models.network import Network
from edgerkd.models.teacher_file import network_from_state, read_state_dict
from edgerkd.report.markup import Markup, tag

TIMED_STEPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One training run and what came of it."""

    method: str
    settings: dict[str, float]
    seed: int
    student: str
    params: int
    epochs: int
    minutes: float
    forward: int
    backward: int
    clean: float
    pgd: float
    strong: float


class Passes:
    """Counts the images that go through networks while it is open, forward and backward."""

    def __init__(self, *networks: nn.Module) -> None:
        self.forward, self.backward = 0, 0
        self._first = [next(m for m in network.modules() if isinstance(m, nn.Conv2d)) for network in networks]

    def __enter__(self) -> "Passes":
        self._hooks = [layer.register_forward_hook(self._count) for layer in self._first]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _count(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.forward += len(output)
        if output.requires_grad:
            output.register_hook(self._count_back)

    def _count_back(self, gradient: Tensor) -> None:
        self.backward += len(gradient)


def run(recipe: Recipe, architecture: Architecture, teacher: Network, data: Dataset) -> tuple[Network, float, Passes]:
    """A student trained by `recipe`, the minutes it took (validation included) and its passes."""
    torch.manual_seed(recipe.seed)
    student = build(architecture)
    fixed = copy.deepcopy(teacher) if METHODS[recipe.method].needs_teacher else None
    with Passes(student, *([] if fixed is None else [fixed])) as passes:
        started = time.perf_counter()
        trained = train(
            student,
            data,
            recipe,
            teacher=fixed,
            checkpoint=None,
            resume=False,
            on_epoch=lambda epoch: None,
            progress=Silent(),
        )
        minutes = (time.perf_counter() - started) / 60
    return trained.network, minutes, passes


def epochs_within(minutes: float, recipe: Recipe, architecture: Architecture, teacher: Network, data: Dataset) -> int:
    """How many epochs fit: a few steps are timed, for `edgerkd` in each of its two phases."""
    few = replace(data, train=data.train.head(TIMED_STEPS * recipe.batch), val=data.val.head(1))
    shares = (0.0, 1.0) if recipe.method == "edgerkd" else (recipe.adversarial_share,)
    seconds: list[float] = []
    for share in shares:
        timed = replace(recipe, epochs=1, adversarial_share=share)
        run(timed, architecture, teacher, replace(few, train=few.train.head(2 * recipe.batch)))  # warms up
        seconds.append(60 * run(timed, architecture, teacher, few)[1] / TIMED_STEPS)
    late = recipe.adversarial_share
    step = seconds[0] if len(seconds) == 1 else (1 - late) * seconds[0] + late * seconds[1]
    return max(1, round(60 * minutes / (step * (len(data.train) // recipe.batch))))


def measure(recipe: Recipe, settings: dict[str, float], args: argparse.Namespace, *parts: Any) -> Result:
    """Train and attack one student."""
    architecture, teacher, data = parts
    student, minutes, passes = run(recipe, architecture, teacher, data)

    def attacked(n: int, attack: str) -> tuple[float, float]:
        found = attack_network(
            student,
            data.test.head(n),
            name=recipe.method,
            where="test",
            threat_model=data.threat_model,
            seed=0,
            progress=Silent(),
            attack=attack,
        ).evaluation
        return found.clean_acc.value, found.robust_acc.value

    clean, pgd = attacked(args.n, "pgd")
    return Result(
        method=recipe.method,
        settings=settings,
        seed=recipe.seed,
        student=str(architecture),
        params=count_cost(architecture)[0].params,
        epochs=recipe.epochs,
        minutes=minutes,
        forward=passes.forward,
        backward=passes.backward,
        clean=clean,
        pgd=pgd,
        strong=attacked(args.attack_n, args.attack)[1],
    )


def show(results: Sequence[Result], args: argparse.Namespace) -> None:
    """One line a method: the mean over seeds, and the standard deviation where there is more than one."""

    def cell(values: Sequence[float], scale: float = 1, digits: int = 1) -> str:
        spread = f" ±{scale * stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{scale * mean(values):.{digits}f}{spread}"

    strong = f"{args.attack} ({args.attack_n})"
    print(f"\n{'method':22}{'seeds':>6}{'epochs':>8}{'minutes':>13}{'M passes':>10}", end="")
    print(f"{'clean':>13}{f'PGD ({args.n})':>13}{strong:>18}")
    for name in dict.fromkeys(label(r) for r in results):
        own = [r for r in results if label(r) == name]
        passes = mean((r.forward + r.backward) / 1e6 for r in own)
        print(f"{name:22}{len(own):6}{own[0].epochs:8}{cell([r.minutes for r in own]):>13}{passes:10.2f}", end="")
        clean, pgd, hard = (cell([getattr(r, key) for r in own], 100) for key in ("clean", "pgd", "strong"))
        print(f"{clean:>13}{pgd:>13}{hard:>18}")


def label(result: Result) -> str:
    """The method with what was set otherwise."""
    return " ".join([result.method, *(f"{key}={value:g}" for key, value in result.settings.items())])


def frontier_svg(results: Sequence[Result], title: str) -> Markup:
    """Robust accuracy under the strong attack against minutes; a dot a run."""
    left, right, top, bottom = 60.0, 500.0, 30.0, 320.0
    latest = 1.1 * max(r.minutes for r in results)
    highest = max(0.1, 1.1 * max(r.strong for r in results))

    def x(minutes: float) -> str:
        return f"{left + (right - left) * minutes / latest:.1f}"

    def y(share: float) -> str:
        return f"{bottom - (bottom - top) * share / highest:.1f}"

    names = list(dict.fromkeys(label(r) for r in results))
    hue = {name: f"hsl({360 * i // len(names)} 70% 40%)" for i, name in enumerate(names)}
    parts = [
        tag("rect", x=0, y=0, width=740, height=370, fill="white"),
        tag("text", title, x=left, y=18),
        tag("line", x1=left, x2=right, y1=bottom, y2=bottom, stroke="black"),
        tag("line", x1=left, x2=left, y1=top, y2=bottom, stroke="black"),
        tag("text", "minutes of training", x=(left + right) / 2, y=bottom + 38, text_anchor="middle"),
    ]
    for i in range(6):
        minutes, share = latest * i / 5, highest * i / 5
        parts.append(tag("text", f"{minutes:.1f}", x=x(minutes), y=bottom + 18, text_anchor="middle"))
        parts.append(tag("text", f"{share:.0%}", x=left - 8, y=y(share), text_anchor="end"))
    for r in results:
        words = tag("title", f"{label(r)}, seed {r.seed}: {r.strong:.1%} in {r.minutes:.1f} minutes")
        parts.append(tag("circle", words, cx=x(r.minutes), cy=y(r.strong), r=5, fill=hue[label(r)]))
    for i, name in enumerate(names):
        parts.append(tag("circle", cx=right + 20, cy=top + 20 * i, r=5, fill=hue[name]))
        parts.append(tag("text", name, x=right + 32, y=top + 20 * i + 4))
    return tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox="0 0 740 370", font_family="sans-serif")


def settings_of(text: str) -> tuple[str, dict[str, float]]:
    """`method:key=value,key=value` as the method and its settings."""
    method, _, rest = text.partition(":")
    pairs = (part.split("=") for part in rest.split(",") if part)
    return method, {key: json.loads(value) for key, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["pgd-at", "trades", "n-fgsm", "rslad", "mixacm", "edgerkd"])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--teacher", help="a robust teacher's name, as `teacher list` shows it")
    parser.add_argument("--weights", type=Path, help="a robust teacher: a file `teacher import` takes")
    parser.add_argument("--widths", nargs="+", type=int, default=[16, 32, 64], help="the student's, a stage each")
    parser.add_argument("--blocks", type=int, default=1, help="of each stage")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training, for each method and seed")
    parser.add_argument("--equal-epochs", type=int, help="instead of --minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, help="training images, at most")
    parser.add_argument("-n", type=int, default=1000, help="test images for clean and PGD accuracy, at most")
    parser.add_argument("--attack", default="apgd")
    parser.add_argument("--attack-n", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()

    data = load_dataset(args.data)
    if args.weights is None:
        teacher, _ = find_teacher(args.teacher, data, progress=Silent())
    else:
        channels, height, width = data.train.images.shape[1:]
        moments = torch.tensor(data.mean), torch.tensor(data.std)
        state = read_state_dict(args.weights)
        teacher = network_from_state(state, args.weights, image_shape=(channels, height, width), moments=moments)
    if args.train is not None:
        data = replace(data, train=data.train.head(args.train))
    args.n, args.attack_n = (min(n, len(data.test)) for n in (args.n, args.attack_n))
    blocks = (args.blocks,) * len(args.widths)
    architecture = replace(teacher.architecture, family="resnet", widths=tuple(args.widths), blocks=blocks)

    facts = machine_facts(("torch",))
    show_machine(facts)
    cost = f"{args.equal_epochs} epochs" if args.equal_epochs else f"{args.minutes:g} minutes"
    title = f"{architecture} on {data.name}, {data.threat_model}, {len(data.train)} training images, {cost} each"
    print(f"\n{title}")
    results: list[Result] = []
    if args.json is not None and args.json.exists():
        results = [Result(**found) for found in json.loads(args.json.read_text())["results"]]
    for seed in range(args.seeds):
        for text in args.methods:
            method, settings = settings_of(text)
            done = {(r.method, json.dumps(r.settings), r.seed, r.student) for r in results}
            if (method, json.dumps(settings), seed, str(architecture)) in done:
                continue
            recipe = Recipe(
                method=load_method(method),
                threat_model=data.threat_model,
                epochs=args.equal_epochs or 1,
                seed=seed,
                batch=batch_for(data),
                **settings,  # type: ignore[arg-type]  the record checks them
            )
            if not args.equal_epochs:
                recipe = replace(recipe, epochs=epochs_within(args.minutes, recipe, architecture, teacher, data))
            results.append(measure(recipe, settings, args, architecture, teacher, data))
            r = results[-1]
            print(f"seed {seed} {label(r)}: {r.pgd:.3f} {r.strong:.3f} after {r.minutes:.1f} minutes", flush=True)
            if args.json is not None:
                found = {"machine": facts, "what": title, "results": [asdict(r) for r in results]}
                args.json.write_text(json.dumps(found, indent=1))
    show([r for r in results if r.student == str(architecture)], args)
    if args.svg is not None:
        args.svg.write_text(frontier_svg(results, title))


if __name__ == "__main__":
    main()
