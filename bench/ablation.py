"""MixACM part by part: channel maps alone, with soft labels, with mixup, with both; and soft labels alone.

    python bench/ablation.py [--data digits] [--epochs 30] [--seeds 3] [--minutes M] [-n N] [--json FILE]
    python bench/ablation.py --data cifar10 --weights FILE.pt --epochs 12 -n 500

One student (the one planned for the profile), one teacher, one schedule; a seed is the student's first weights, the
order of the images and the mixing. All configurations have the labels' cross-entropy: channel maps alone never reach
the last layer. The epoch kept is chosen on the validation split, the accuracies are of the test split: clean, PGD-20
with cross-entropy, and the worst case an image of that, PGD-20 with the margin, APGD-CE and APGD-T. `--minutes`
begins no further seed that would not end in time. Without `--weights` the teacher is the embedded digits' own,
trained once and kept. Published: Awais et al., NeurIPS 2021, supplement A.4, whose data and attack are not known to
us: its order is what can be compared, not its figures.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, combinations, pairwise
from pathlib import Path
from statistics import mean

import torch
from machine import machine_facts, show_machine
from setting import opened, robust_network

from edgerkd.attacks.suite import attacks_named
from edgerkd.core.accuracy import wilson_interval
from edgerkd.core.architecture import Architecture
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe
from edgerkd.data.dataset import Dataset
from edgerkd.distill.methods.recipes import recipe_for, with_recipe_settings
from edgerkd.distill.methods.registry import load_method
from edgerkd.distill.trainer import train
from edgerkd.files.profiles import load_profile
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.teachers import batch_for
from edgerkd.models.build import build
from edgerkd.models.cost import cost_of
from edgerkd.models.network import Network
from edgerkd.plan.search import plan_student

CONFIGURATIONS: Mapping[str, Mapping[str, float]] = {
    "ACM": {"weight_kld": 0.0, "mixup_alpha": 0.0},
    "ACM + soft labels": {"mixup_alpha": 0.0},
    "ACM + mixup": {"weight_kld": 0.0},
    "all three": {},
    "KD only": {"weight_acm": 0.0, "mixup_alpha": 0.0},
}
"""What differs from method mixacm's own recipe."""

PUBLISHED = {"ACM": 48.38, "ACM + soft labels": 49.53, "ACM + mixup": 52.29, "all three": 56.65}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`n` test images were attacked; the accuracies are shares of them."""

    configuration: str
    seed: int
    n: int
    clean: float
    pgd: float
    apgd: float
    seconds: float


def measure(
    name: str, seed: int, *, base: Recipe, architecture: Architecture, teacher: Network, data: Dataset, n: int
) -> Result:
    """One student, trained and attacked."""
    started = time.perf_counter()
    recipe = with_recipe_settings(base, {"seed": seed, **CONFIGURATIONS[name]}, name)
    torch.manual_seed(seed)
    student = train(
        build(architecture),
        data,
        recipe,
        teacher=teacher,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=Silent(),
    ).network
    stronger, _ = attacks_named("apgd", classes=data.classes)
    found = attack_network(
        student,
        data.test.sample(n, seed=0),
        name=name,
        split="test",
        of=len(data.test),
        class_names=data.class_names,
        threat_model=recipe.threat_model,
        seed=0,
        progress=Silent(),
        attack="pgd",
        more=stronger,
    ).evaluation
    return Result(
        configuration=name,
        seed=seed,
        n=found.n,
        clean=found.clean_acc.value,
        pgd=found.rows[0].robust_acc.value,
        apgd=found.robust_acc.value,
        seconds=time.perf_counter() - started,
    )


def order(values: Mapping[str, float]) -> str:
    """The names from the lowest value to the highest."""
    names = sorted(values, key=values.__getitem__)
    signs = (" < " if values[lower] < values[higher] else " = " for lower, higher in pairwise(names))
    return "".join(chain.from_iterable(zip(names, [*signs, ""], strict=True)))


def pairs_in_order(values: Mapping[str, float]) -> int:
    """How many of the six pairs of published configurations stand in the published order."""
    pairs = combinations(sorted(PUBLISHED, key=PUBLISHED.__getitem__), 2)
    return sum(values[lower] < values[higher] for lower, higher in pairs)


def span(values: Sequence[float], n: int) -> tuple[float, float]:
    """The lowest and the highest share over seeds; of one seed the 95 % interval of a share of `n` images."""
    return (min(values), max(values)) if len(values) > 1 else wilson_interval(round(values[0] * n), n)


def pairs_beyond(spans: Mapping[str, tuple[float, float]]) -> int:
    """How many of those pairs stand in the published order with spans that do not meet."""
    pairs = combinations(sorted(PUBLISHED, key=PUBLISHED.__getitem__), 2)
    return sum(spans[lower][1] < spans[higher][0] for lower, higher in pairs)


def show(results: Sequence[Result]) -> None:
    """The mean over seeds with its span; and the orders, with how many pairs are apart by more than that."""
    print(f"\n{'':20}{'clean':>20}{'PGD-20 CE':>20}{'with APGD-CE, -T':>20}{'published':>12}")
    means: dict[str, dict[str, float]] = {"pgd": {}, "apgd": {}}
    spans: dict[str, dict[str, tuple[float, float]]] = {"pgd": {}, "apgd": {}}
    for name in CONFIGURATIONS:
        cells = ""
        for what in ("clean", "pgd", "apgd"):
            found = [getattr(result, what) for result in results if result.configuration == name]
            low, high = span(found, results[0].n)
            cells += f"{f'{100 * mean(found):.1f} ({100 * low:.1f}-{100 * high:.1f})':>20}"
            if what in means:
                means[what][name], spans[what][name] = mean(found), (low, high)
        print(f"{name:20}{cells}{PUBLISHED.get(name, '-'):>12}")
    print(f"\npublished:          {order(PUBLISHED)}")
    for what, title in (("pgd", "by PGD-20 CE:"), ("apgd", "with APGD-CE, -T:")):
        counted = (
            f"{pairs_in_order(means[what])} of 6 pairs as published, {pairs_beyond(spans[what])} beyond the spread"
        )
        print(f"{title:20}{order(means[what])}   {counted}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--weights", type=Path, help="a robust teacher: a file `teacher import` takes")
    parser.add_argument("--profile", default="jetson-orin")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="for everything; the first seed is run in any case")
    parser.add_argument("-n", type=int, default=1000, help="test images, at most")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    data, threat_model = opened(args.data)
    teacher = robust_network(data, threat_model, weights=args.weights)
    architecture = plan_student(load_profile(args.profile), teacher.architecture, cost_of(teacher)).chosen.architecture
    base = recipe_for(load_method("mixacm"), threat_model, epochs=args.epochs, settings={"batch": batch_for(data)})
    facts = machine_facts(("torch",))
    show_machine(facts)
    print(f"\n{architecture} on {data.name}, {threat_model}, {args.epochs} epochs, {args.n} test images at most")

    started, results = time.perf_counter(), list[Result]()
    for seed in range(args.seeds):
        spent = time.perf_counter() - started
        if seed and args.minutes is not None and spent * (seed + 1) / seed > 60 * args.minutes:
            print(f"{seed} of {args.seeds} seeds: another one would end after {args.minutes:g} minutes")
            break
        for name in CONFIGURATIONS:
            result = measure(name, seed, base=base, architecture=architecture, teacher=teacher, data=data, n=args.n)
            results.append(result)
            print(f"seed {seed}, {name}: {result.pgd:.3f} in {result.seconds:.0f} s", file=sys.stderr)
    show(results)
    if args.json:
        args.json.write_text(
            json.dumps(
                {
                    "machine": facts,
                    "data": data.name,
                    "teacher": str(args.weights or "the digits' own"),
                    "student": str(architecture),
                    "epochs": args.epochs,
                    "n": min(args.n, len(data.test)),
                    "published": PUBLISHED,
                    "results": [asdict(result) for result in results],
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
