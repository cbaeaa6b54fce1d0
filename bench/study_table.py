"""A study's results as Markdown: a table for each case, and differences on the same images.

    python bench/study_table.py docs/measured/long.json [--against RUN] [--case NAME ...] [--run NAME ...]

Of one seed, brackets are the 95 % Wilson interval; of several, the mean and the standard deviation over seeds. With
--against, each run less that one, paired image by image over the seeds that both have: the mean, and a 95 % interval
whose variance is that of the images (of each image's mean over seeds, over n) plus that of the seeds (over their
number). The sum is ours: a figure should hold for other images and other seeds. Of one seed only the images count.
"""

import argparse
import json
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, stdev, variance
from typing import Any

import numpy as np
from result import Result, results_in, unpacked

from edgerkd.core.accuracy import Z95, wilson_interval

_T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}  # Student's t, by degrees of freedom: for few seeds


def share(results: Sequence[Result], attack: str) -> str:
    """What stays right under the attack, in %."""
    found = [unpacked(r.correct[attack]) for r in results]
    values = [100 * float(answers.mean()) for answers in found]
    if len(values) > 1:
        return f"{mean(values):.1f} ±{stdev(values):.1f}"
    low, high = wilson_interval(int(found[0].sum()), len(found[0]))
    return f"{values[0]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def table(results: Sequence[Result]) -> str:
    """A line a run, the most robust by the last attack first."""
    attacks = list(results[0].correct)
    attacks.sort(key=lambda name: name != "clean")
    heads = [f"{name} ({len(unpacked(results[0].correct[name])):,})" for name in attacks]
    lines = [
        "| method | seeds | epochs | core minutes | M passes | T multiply-adds | " + " | ".join(heads) + " |",
        "| --- " * (6 + len(heads)) + "|",
    ]
    by_run = {name: [r for r in results if r.run == name] for name in dict.fromkeys(r.run for r in results)}

    def robust(own: Sequence[Result]) -> float:
        return mean(float(unpacked(r.correct[attacks[-1]]).mean()) for r in own)

    for name, own in sorted(by_run.items(), key=lambda item: -robust(item[1])):
        cells = [
            name,
            str(len(own)),
            ", ".join(str(r.epochs) for r in own),
            f"{mean(r.minutes for r in own):.1f}",
            f"{mean((r.forward + r.backward) / 1e6 for r in own):.2f}",
            f"{mean(r.gmacs / 1e3 for r in own):.1f}",
            *(share(own, attack) for attack in attacks),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paired(results: Sequence[Result], base: Sequence[Result], attack: str) -> tuple[float, float, int] | None:
    """The mean difference in %, half of its 95 % interval, and the seeds both have; None where they have none."""
    theirs = {r.seed: unpacked(r.correct[attack]) for r in base}
    own = {r.seed: unpacked(r.correct[attack]) for r in results}
    seeds = sorted(own.keys() & theirs.keys())
    if not seeds:
        return None
    each = np.stack([own[seed].astype(float) - theirs[seed] for seed in seeds])  # (seeds, images)
    images = each.mean(0)
    of_images = Z95**2 * float(images.var(ddof=1)) / len(images)
    of_seeds = 0.0
    if len(seeds) > 1:
        t = _T95.get(len(seeds) - 1, Z95)
        of_seeds = t**2 * variance(each.mean(1).tolist()) / len(seeds)
    return 100 * float(images.mean()), 100 * sqrt(of_images + of_seeds), len(seeds)


def differences(results: Sequence[Result], against: str) -> str:
    """A line a run: how much more stays right than with the run `against`."""
    base = [r for r in results if r.run == against]
    attacks = sorted(results[0].correct, key=lambda name: name != "clean")
    lines = [f"| less {against} | seeds | " + " | ".join(attacks) + " |", "| --- " * (2 + len(attacks)) + "|"]
    for name in dict.fromkeys(r.run for r in results if r.run != against):
        found = [paired([r for r in results if r.run == name], base, attack) for attack in attacks]
        cells = ["-" if f is None else f"{f[0]:+.1f} ±{f[1]:.1f}{' *' if abs(f[0]) > f[1] else ''}" for f in found]
        lines.append(f"| {name} | {max((f[2] for f in found if f), default=0)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a file that bench/study.py wrote")
    parser.add_argument("--against", help="a run, which the others are compared with")
    parser.add_argument("--case", nargs="+", help="these cases alone")
    parser.add_argument("--run", nargs="+", help="these runs alone")
    args = parser.parse_args()
    plan: dict[str, Any] = json.loads(args.study.read_text())["plan"]
    results = [r for r in results_in(args.study) if args.run is None or r.run in {*args.run, args.against}]
    print(f"**{plan['title']}** (`{args.study}`)")
    for case in args.case or dict.fromkeys(r.case for r in results):
        own = [r for r in results if r.case == case]
        print(f"\n{case}: {own[0].student}, {own[0].params:,} parameters, {own[0].macs / 1e6:.1f} M multiply-adds\n")
        print(table(own))
        if args.against is not None and any(r.run == args.against for r in own):
            print(f"\n{differences(own, args.against)}")


if __name__ == "__main__":
    main()
