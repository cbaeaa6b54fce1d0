"""Training methods at equal wall-clock: robust accuracy against what it cost.

    python bench/frontier.py --minutes 5 [--methods pgd-at rslad edgerkd ...] [--seeds 3] [--json FILE --svg FILE]
    python bench/frontier.py --data cifar10 --weights FILE.pt --minutes 15 --widths 16 32 64 --attack-n 200 --json FILE

Every method has the same student, teacher, training images (of which edgerkd leaves out those its teacher gets wrong),
batch, augmentation, optimiser, peak learning rates and schedule (edgerkd/core/recipe.py; a value is set otherwise by
`--methods rslad:optimizer=sgd,lr=0.1`), and so many epochs as fit into `--minutes`: what comes once, a step and a
validation are timed on a copy before the run begins. With `--equal-epochs N` every method has N epochs instead, and
cost is what differs. `--train` takes a part of the training images, so that a slow machine ends a few epochs too. The
epoch kept is chosen on the validation split; the figures are of the test split: clean and PGD (20 steps, the worst
case of cross-entropy and margin) on `-n` images, `--attack` (apgd or autoattack) on the first `--attack-n` of them:
with 95 % Wilson intervals of one seed, with mean and standard deviation of several. A pass is one image through a
network, forward or backward; the inner attack's, the teacher's and validation's count.

`--json` is written after each run, and a run that stands in it is not repeated: a stopped benchmark goes on. A file of
another setting is refused.
"""

import argparse
import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import torch
from machine import machine_facts, show_machine
from setting import opened, robust_network, timed
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from edgerkd.core.accuracy import wilson_interval
from edgerkd.core.architecture import Architecture
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe, parse_settings
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset, to_float
from edgerkd.distill.methods.recipes import recipe_for, with_method, with_recipe_settings
from edgerkd.distill.methods.registry import METHODS, UNDEFENDED, load_method
from edgerkd.distill.trainer import Loop, train
from edgerkd.distill.validation import validate
from edgerkd.files.decode import encode_json
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.teachers import batch_for
from edgerkd.models.build import build
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.cost import count_cost
from edgerkd.models.network import Network
from edgerkd.models.store import weights_bytes
from edgerkd.report.markup import Markup, tag

TIMED_STEPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One training run and what came of it; `clean` and `pgd` of `n` test images, `strong` of `strong_n`."""

    method: str
    settings: dict[str, Any]
    seed: int
    student: str
    params: int
    epochs: int
    n: int
    strong_n: int
    minutes: float
    forward: int
    backward: int
    clean: float
    pgd: float
    strong: float


class Passes:
    """Counts the images of this shape that go through networks while it is open, forward and backward.

    At each convolution that sees an image itself: a network's first, in copies made meanwhile as well.
    """

    def __init__(self, image_shape: tuple[int, ...]) -> None:
        self.forward, self.backward = 0, 0
        self._image_shape = image_shape

    def __enter__(self) -> "Passes":
        self._hook = register_module_forward_hook(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _count(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # Any: of whichever module
        if not isinstance(layer, nn.Conv2d) or tuple(inputs[0].shape[1:]) != self._image_shape:
            return
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
    with Passes(architecture.image_shape) as passes:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of what comes `once`, of a `step` (of `steps` an epoch; the average over the run), of a `validation`."""

    once: float
    step: float
    steps: int
    validation: float

    def epochs(self, minutes: float) -> int:
        """How many fit; one at least."""
        return max(1, round((60 * minutes - self.once) / (self.steps * self.step + self.validation)))


def costs(recipe: Recipe, architecture: Architecture, teacher: Network, data: Dataset) -> Costs:
    """Each part of a run timed on a copy, after a warm-up: steps early and late, since method edgerkd has two phases.

    Validation is timed with labels that are the network's own answers and a radius that fools none: the
    longest that it can take, since images that are wrong or fooled leave its attack. How many images an epoch
    shows is told from the first ones.
    """
    few = replace(data, train=data.train.take(np.arange(TIMED_STEPS * recipe.batch)))
    fixed = copy.deepcopy(teacher) if METHODS[recipe.method].needs_teacher else None
    loop = Loop.begin(build(architecture).train(), few, recipe, teacher=fixed)
    once = 0.0
    if METHODS[recipe.method].caches_teacher:
        loop = loop.with_cached_teacher(Silent())
        once = timed(lambda: loop.with_cached_teacher(Silent())) * len(data.train) / len(few.train)
    rows = torch.arange(loop.batch, device=loop.ranks.device)

    def seconds(work: Callable[[], object], times: int) -> float:
        work()
        return median(timed(work) for _ in range(times))

    early, late = (seconds(lambda at=at: loop.step(rows, at), TIMED_STEPS) for at in (0.0, 1.0))
    network, val = loop.state.average.network, loop.dataset.val
    own = TorchClassifier(network, autocast=loop.autocast).logits(to_float(val.images)).argmax(1)
    easy, near = replace(val, labels=own), ThreatModel(norm=recipe.threat_model.norm, eps=Radius("1/1000000"))
    share = float(recipe.options.get("adversarial_share", 1.0))
    return Costs(
        once=once,
        step=(1 - share) * early + share * late,
        steps=len(data.train) * len(loop.rows) // (len(few.train) * loop.batch),
        validation=seconds(lambda: validate(network, easy, near, autocast=loop.autocast), 2),
    )


def measure(recipe: Recipe, settings: dict[str, Any], args: argparse.Namespace, *parts: Any) -> Result:
    """Train and attack one student."""
    architecture, teacher, data = parts
    student, minutes, passes = run(recipe, architecture, teacher, data)

    def attacked(n: int, attack: str) -> tuple[float, float]:
        found = attack_network(
            student,
            data.test.sample(n, seed=0),
            name=recipe.method,
            split="test",
            of=len(data.test),
            class_names=data.class_names,
            threat_model=recipe.threat_model,
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
        n=args.n,
        strong_n=args.attack_n,
        minutes=minutes,
        forward=passes.forward,
        backward=passes.backward,
        clean=clean,
        pgd=pgd,
        strong=attacked(args.attack_n, args.attack)[1],
    )


def show(results: Sequence[Result], args: argparse.Namespace) -> None:
    """One line a method: of one seed with 95 % intervals, of several the mean and the standard deviation."""

    def cell(values: Sequence[float]) -> str:
        return f"{mean(values):.1f}" + (f" ±{stdev(values):.1f}" if len(values) > 1 else "")

    def share(values: Sequence[float], n: int) -> str:
        if len(values) > 1:
            return cell([100 * value for value in values])
        low, high = wilson_interval(round(values[0] * n), n)
        return f"{100 * values[0]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"

    strong = f"{args.attack} ({args.attack_n})"
    print(f"\n{'method':22}{'seeds':>6}{'epochs':>10}{'minutes':>13}{'M passes':>10}", end="")
    print(f"{f'clean ({args.n})':>20}{f'PGD ({args.n})':>20}{strong:>20}")
    for name in dict.fromkeys(label(r) for r in results):
        own = [r for r in results if label(r) == name]
        epochs = ", ".join(str(r.epochs) for r in own)
        passes = mean((r.forward + r.backward) / 1e6 for r in own)
        print(f"{name:22}{len(own):6}{epochs:>10}{cell([r.minutes for r in own]):>13}{passes:10.2f}", end="")
        clean, pgd = (share([getattr(r, key) for r in own], own[0].n) for key in ("clean", "pgd"))
        print(f"{clean:>20}{pgd:>20}{share([r.strong for r in own], own[0].strong_n):>20}")


def label(result: Result) -> str:
    """The method with what was set otherwise."""
    return " ".join([result.method, *(f"{key}={value}" for key, value in result.settings.items())])


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


def settings_of(text: str) -> tuple[str, dict[str, Any]]:
    """`method:key=value,key=value` as the method and its settings."""
    method, _, rest = text.partition(":")
    return method, parse_settings([part for part in rest.split(",") if part])


def kept(path: Path | None, setting: Mapping[str, object]) -> list[Result]:
    """The results in `path`, if it is there. Ends the program where they are of another setting."""
    if path is None or not path.exists():
        return []
    found = json.loads(path.read_text())
    theirs = found.get("setting", {})
    odd = [f"{key} {theirs.get(key)!r}, not {value!r}" for key, value in setting.items() if theirs.get(key) != value]
    if odd:
        raise SystemExit(f"{path}: holds results of another setting ({'; '.join(odd)}): name another file with --json")
    return [Result(**result) for result in found["results"]]


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

    data, threat_model = opened(args.data)
    teacher = robust_network(data, threat_model, name=args.teacher, weights=args.weights)
    if args.train is not None:
        data = replace(data, train=data.train.sample(args.train, seed=0))
    args.n, args.attack_n = (min(n, len(data.test)) for n in (args.n, args.attack_n))
    blocks = (args.blocks,) * len(args.widths)
    architecture = replace(teacher.architecture, family="resnet", widths=tuple(args.widths), blocks=blocks)

    facts = machine_facts(("torch",))
    show_machine(facts)
    cost = f"{args.equal_epochs} epochs" if args.equal_epochs else f"{args.minutes:g} minutes"
    title = f"{architecture} on {data.name}, {threat_model}, {len(data.train)} training images, {cost} each"
    print(f"\n{title}")
    base = recipe_for(UNDEFENDED, threat_model, epochs=args.equal_epochs or 1, settings={"batch": batch_for(data)})
    setting = {
        "recipe": hashlib.sha256(encode_json(base).encode()).hexdigest()[:12],
        "data": f"{data.name} {data.sha256[:12]}",
        "threat_model": str(threat_model),
        "train": len(data.train),
        "cost": cost,
        "teacher": hashlib.sha256(weights_bytes(teacher)).hexdigest()[:12],
        "n": args.n,
        "attack": args.attack,
        "attack_n": args.attack_n,
    }
    results = kept(args.json, setting)
    for seed in range(args.seeds):
        for text in args.methods:
            method, settings = settings_of(text)
            done = {(r.method, json.dumps(r.settings), r.seed, r.student) for r in results}
            if (method, json.dumps(settings), seed, str(architecture)) in done:
                continue
            recipe = with_method(replace(base, seed=seed), load_method(method))
            recipe = with_recipe_settings(recipe, settings, "--methods")
            if not args.equal_epochs:
                fitting = costs(recipe, architecture, teacher, data).epochs(args.minutes)
                recipe = replace(recipe, epochs=fitting)
            results.append(measure(recipe, settings, args, architecture, teacher, data))
            r = results[-1]
            print(f"seed {seed} {label(r)}: {r.pgd:.3f} {r.strong:.3f} after {r.minutes:.1f} minutes", flush=True)
            if args.json is not None:
                found = {"machine": facts, "what": title, "setting": setting, "results": [asdict(r) for r in results]}
                args.json.write_text(json.dumps(found, indent=1))
    results = [r for r in results if r.student == str(architecture)]
    show(results, args)
    if args.svg is not None:
        args.svg.write_text(frontier_svg(results, title))


if __name__ == "__main__":
    main()
