"""What a rule of keeping an epoch costs and gains, on images that no rule has seen.

    OMP_NUM_THREADS=1 python bench/kept_epoch.py bench/plans/kept-epoch.toml --out docs/measured/kept-epoch.json
    python bench/kept_epoch.py --table docs/measured/kept-epoch.json

Each run of the plan is trained by the trainer's own loop, and the averaged weights after each epoch of its second half
are judged by clean accuracy and PGD-10, as validation does, on so many of the left-out images as the plan's `pgd`
says. The file grows run by run, and one that stands in it is not repeated. The table says for each rule which epoch it
keeps by the validation images, and how much more or less accurate and robust that epoch is on the others than the one
of highest robust accuracy.
"""

import argparse
import copy
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean

import torch
from plan import Run, read_plan
from study import TEACHERS, Opened, Place, all_runs, open_case, recipe_of

from edgerkd.core.progress import Silent
from edgerkd.distill.kept_epoch import KeptEpoch, least_robust
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.trainer import Keeper, Loop
from edgerkd.distill.validation import validate
from edgerkd.files.atomic import write_atomic
from edgerkd.models.build import build

Accuracies = tuple[float, float]
"""Clean, and under PGD-10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One run: each epoch's accuracies on `n_val` validation images, and on `n` others, None of those not judged."""

    case: str
    run: str
    seed: int
    n_val: int
    n: int
    val: Sequence[Accuracies]
    judged: Sequence[Accuracies | None]


def judge(opened: Opened, run: Run, seed: int, *, epochs: int, n: int) -> Judged:
    """Train one student and judge its epochs."""
    data, recipe = opened.data, replace(recipe_of(run, seed, opened), epochs=epochs)
    torch.manual_seed(seed)
    teacher = copy.deepcopy(opened.teacher) if METHODS[run.method].needs_teacher else None
    loop = Loop.begin(build(opened.case.architecture(data)), data, recipe, teacher=teacher)
    if loop.method.caches_teacher:
        loop = loop.with_cached_teacher(Silent())
    others = opened.judged.sample(min(n, len(opened.judged)), seed=1)
    val: list[Accuracies] = []
    judged: list[Accuracies | None] = []
    while not loop.state.done(recipe):
        keeper = Keeper(None, loop.state, recipe)
        epoch = loop.epoch(lambda done, words: None, keeper=keeper, say=lambda line: None)
        val.append((epoch.val_clean_acc, epoch.val_robust_acc))
        late, network = 2 * epoch.epoch > epochs, loop.state.average.network
        found = validate(network, others, opened.threat_model, autocast=loop.autocast) if late else None
        judged.append(None if found is None else (found.clean_acc, found.robust_acc))
    return Judged(
        case=opened.case.name, run=run.name, seed=seed, n_val=len(data.val), n=len(others), val=val, judged=judged
    )


def most_robust(run: Judged) -> int:
    """The epoch of highest robust accuracy on validation images, of equal ones the most accurate, then the last."""
    return max(range(len(run.val)), key=lambda at: (run.val[at][1], run.val[at][0], at))


def near_it(errors: float) -> Callable[[Judged], int]:
    """The most accurate of those that lie at most so many standard errors below the most robust one."""

    def rule(run: Judged) -> int:
        least = least_robust(run.val[most_robust(run)][1], run.n_val, errors=errors)
        return max((at for at, (_, robust) in enumerate(run.val) if robust >= least), key=lambda at: (run.val[at], at))

    return rule


def todays(run: Judged) -> int:
    """What the trainer keeps, epoch by epoch."""
    kept = KeptEpoch(n=run.n_val)
    for number, (clean, robust) in enumerate(run.val, 1):
        kept = kept.after(number, robust=robust, clean=clean)
    return kept.epoch - 1


RULES: Mapping[str, Callable[[Judged], int]] = {
    "the trainer's": todays,
    "half a standard error": near_it(0.5),
    "one standard error": near_it(1.0),
    "highest sum": lambda run: max(range(len(run.val)), key=lambda at: (sum(run.val[at]), at)),
    "the last": lambda run: len(run.val) - 1,
}


def table(runs: Sequence[Judged]) -> str:
    """A line a run, and the means: for each rule its epoch and what it gains, clean and robust, in points."""
    lines = [
        "| run | most robust | " + " | ".join(RULES) + " |",
        "| --- | --- " + "| --- " * len(RULES) + "|",
    ]
    gains: dict[str, list[Accuracies]] = {name: [] for name in RULES}
    for run in runs:
        base = run.judged[(first := most_robust(run))]
        cells = [f"{run.case} {run.run} {run.seed}", f"{first + 1}"]
        for name, rule in RULES.items():
            other = run.judged[(at := rule(run))]
            if base is None or other is None:
                cells.append(f"{at + 1}, not judged")
                continue
            gains[name].append((other[0] - base[0], other[1] - base[1]))
            cells.append(f"{at + 1}: {_points(gains[name][-1])}")
        lines.append("| " + " | ".join(cells) + " |")
    means = [_points((mean(g[0] for g in found), mean(g[1] for g in found))) for found in gains.values()]
    lines.append("| **mean** | | " + " | ".join(f"**{cell}**" for cell in means) + " |")
    return "\n".join(lines)


def _points(gain: Accuracies) -> str:
    return ", ".join(f"{100 * value:+.1f}" for value in gain)


def runs_in(path: Path) -> list[Judged]:
    """What stands in the file, nothing where there is none."""
    return [Judged(**run) for run in json.loads(path.read_text())] if path.exists() else []


def carry_out(plan_file: Path, out: Path, teachers: tuple[Path, ...]) -> None:
    """Every run of the plan that is not in the file yet."""
    plan, place = read_plan(plan_file), Place(out=out, work=out.parent, teachers=teachers)
    assert plan.epochs is not None
    cases: dict[str, Opened] = {}
    for case, run, seed in all_runs(plan):
        if any((r.case, r.run, r.seed) == (case.name, run.name, seed) for r in runs_in(out)):
            continue
        if case.name not in cases:
            cases[case.name] = open_case(case, plan, place)
        found = judge(cases[case.name], run, seed, epochs=plan.epochs, n=plan.attacks["pgd"])
        write_atomic(out, json.dumps([asdict(r) for r in [*runs_in(out), found]], indent=1) + "\n")
        print(table([found]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, nargs="?", help="a file of bench/plans")
    parser.add_argument("--out", type=Path, default=Path("docs/measured/kept-epoch.json"))
    parser.add_argument("--table", type=Path, metavar="FILE", help="show what stands in it, train nothing")
    parser.add_argument("--teachers", type=Path, nargs="+", default=TEACHERS)
    args = parser.parse_args()
    if args.table is None and args.plan is None:
        parser.error("give a plan, or --table FILE")
    if args.table is None:
        carry_out(args.plan, args.out, tuple(args.teachers))
    print(table(runs_in(args.table or args.out)))


if __name__ == "__main__":
    sys.exit(main())
