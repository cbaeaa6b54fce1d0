"""A study: students trained by a plan, attacked, and kept in one JSON file that grows run by run.

    python bench/study.py bench/plans/ablation.toml [--only TEXT ...] [--until MINUTES] [--out docs/measured]
    python bench/study_table.py docs/measured/ablation.json

A run that stands in the file is not repeated, and one that was stopped goes on where it was (its checkpoint is in
--work): a study is begun, stopped and continued at will, beside other work. Every method has the same student,
teacher, training images, batch, augmentation, optimiser and schedule, unless its run says otherwise. A plan's `minutes`
are of one core's own time, so that other work there is not counted; what comes once, a step and a validation are timed
before the run begins. Its `tera_macs` are counted instead, and are the same on every machine. Start with
OMP_NUM_THREADS=1, and `taskset -c N` for each of several at once.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine_facts, show_machine
from plan import Case, Plan, Run, length_of, read_plan
from result import Result
from setting import opened, robust_network
from student import correct_under, epochs_of, key_of, size_of, trained

from edgerkd.core.recipe import Recipe, eps_warmup_for
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Dataset, Split
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import load_method
from edgerkd.files.atomic import claim, locked, write_atomic
from edgerkd.jobs.teachers import batch_for
from edgerkd.models.network import Network
from edgerkd.models.store import weights_bytes

TEACHERS = (Path("../shared/teachers"), Path("build/study"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a study's files are: `out` its results, `work` checkpoints and trained students, `teachers` weights."""

    out: Path
    work: Path
    teachers: tuple[Path, ...]

    def of_run(self, case: Case, run: Run, seed: int, suffix: str) -> Path:
        """A file of one run: `PLAN-CASE-RUN-SEED` with this suffix, in `work`."""
        name = f"{self.out.stem}-{case.name}-{run.name}-{seed}"
        return self.work / (name.replace(" ", "-").replace("/", "-") + suffix)

    def teacher_file(self, name: str) -> Path:
        """Raises SystemExit where no folder has it."""
        for folder in self.teachers:
            if (folder / name).exists():
                return folder / name
        raise SystemExit(
            f"{name}: not in {', '.join(map(str, self.teachers))}: make it, or name its folder (--teachers)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A case with its data, the images to judge by, its teacher, None where no run asks one, and its start, if any."""

    case: Case
    data: Dataset
    judged: Split
    threat_model: ThreatModel
    teacher: Network | None
    start: Network | None


def open_case(case: Case, plan: Plan, place: Place) -> Opened:
    """The case's data, cut to its training images, its teacher and start. Raises SystemExit for weights that differ."""
    data, threat_model = opened(case.data)
    judged = {"val": data.val, "test": data.test, "rest": data.train}[plan.split]
    if case.train is not None:
        shown = data.train.sample(case.train, seed=0)
        if plan.split == "rest":
            judged = data.train.take(np.flatnonzero(~np.isin(data.train.index, shown.index)))
        data = replace(data, train=shown)
    teacher = None
    if any(load_method(run.method).needs_teacher for run in plan.runs):
        weights = None if case.teacher is None else place.teacher_file(case.teacher)
        teacher = robust_network(data, threat_model, weights=weights)
    start = None if case.start is None else robust_network(data, threat_model, weights=place.teacher_file(case.start))
    if start is not None and str(start.architecture) != str(case.architecture(data)):  # mean and std may differ
        raise SystemExit(f"{case.start}: its network is {start.architecture}, the case's {case.architecture(data)}")
    return Opened(case=case, data=data, judged=judged, threat_model=threat_model, teacher=teacher, start=start)


def recipe_of(run: Run, seed: int, opened: Opened) -> Recipe:
    """The run's recipe, without its length."""
    own = {"seed": seed, "batch": batch_for(opened.data), "eps_warmup": eps_warmup_for(opened.threat_model)}
    return recipe_for(load_method(run.method), opened.threat_model, epochs=1, settings=own | run.set, where=run.name)


def measure(plan: Plan, run: Run, seed: int, opened: Opened, place: Place, machine: str) -> Result:
    """Train and attack one student; its weights are kept as `PLAN-CASE-RUN-SEED.safetensors` in `work`."""
    case, data, teacher = opened.case, opened.data, opened.teacher
    architecture = case.architecture(data) if opened.start is None else opened.start.architecture
    recipe = recipe_of(run, seed, opened)
    length = length_of(run, plan)
    folder = place.work / key_of(recipe, architecture, length, case)
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "epochs"
    if not told.exists():
        write_atomic(told, str(epochs_of(length, recipe, architecture, teacher, data)))
    recipe = replace(recipe, epochs=int(told.read_text()))
    found = trained(recipe, architecture, teacher, data, folder=folder, start=opened.start)
    write_atomic(place.of_run(case, run, seed, ".safetensors"), weights_bytes(found.network))
    return Result(
        case=case.name,
        run=run.name,
        method=run.method,
        set=run.set,
        seed=seed,
        student=str(architecture),
        **size_of(architecture),
        epochs=len(found.epochs),
        minutes=found.seconds / 60,
        forward=found.work.forward,
        backward=found.work.backward,
        gmacs=round(found.work.macs / 1e9),
        epochs_acc=[[e.val_clean_acc, e.val_robust_acc] for e in found.epochs],
        correct=correct_under(plan.attacks, found.network, opened.judged, data, recipe, exact=plan.exact),
        machine=machine,
    )


def all_runs(plan: Plan) -> Iterator[tuple[Case, Run, int]]:
    """One seed of everything before the next, so that a study stopped early has the whole table of fewer seeds."""
    most = max([plan.seeds, *(run.seeds or 1 for run in plan.runs)])
    for seed in range(most):
        for case in plan.cases:
            for run in plan.runs:
                if seed < (run.seeds or plan.seeds):
                    yield case, run, seed


def kept(path: Path) -> list[dict[str, Any]]:
    """The results in the study's file, none where there is no such file."""
    return json.loads(path.read_text())["results"] if path.exists() else []


def add(place: Place, plan: Plan, result: Result) -> None:
    """One result more in the file, which another process may be filling as well. A result of the same run gives way."""
    with locked(place.work / f"{place.out.stem}.lock"):
        same = (result.case, result.run, result.seed)
        others = [r for r in kept(place.out) if (r["case"], r["run"], r["seed"]) != same]
        content = {"plan": asdict(plan), "results": [*others, asdict(result)]}
        write_atomic(place.out, json.dumps(content, indent=1) + "\n")


def carry_out(plan: Plan, place: Place, *, only: list[str], until: float | None) -> None:
    """Every run that is not in the file yet; of two processes each takes what the other has not claimed."""
    facts = machine_facts(("torch",))
    show_machine(facts)
    card = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    machine = f"{card}{facts['cpu']}, {facts['threads']}, torch {facts['torch']}"
    started, cases = time.monotonic(), dict[str, Opened]()
    for case, run, seed in all_runs(plan):
        named = f"{case.name} {run.name} {seed}"
        if not all(word in named for word in only):
            continue
        if until is not None and time.monotonic() - started > 60 * until:
            return
        done = {(r["case"], r["run"], r["seed"]) for r in kept(place.out)}
        if (case.name, run.name, seed) in done:
            continue
        lock = place.of_run(case, run, seed, ".run")
        lock.mkdir(parents=True, exist_ok=True)
        with claim(lock) as mine:
            if not mine:
                continue
            print(f"{place.out.stem}: {named}", flush=True)
            if case.name not in cases:
                cases[case.name] = open_case(case, plan, place)
            add(place, plan, measure(plan, run, seed, cases[case.name], place, machine))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, help="a file of bench/plans")
    parser.add_argument(
        "--only", nargs="+", default=[], help="runs whose case, name and seed have all of these in them"
    )
    parser.add_argument("--until", type=float, help="begin no further run after so many minutes")
    parser.add_argument("--out", type=Path, default=Path("docs/measured"))
    parser.add_argument("--work", type=Path, default=Path("build/study"))
    parser.add_argument(
        "--teachers", type=Path, nargs="+", default=TEACHERS, help="folders that hold teachers' weights"
    )
    args = parser.parse_args()
    place = Place(out=args.out / f"{args.plan.stem}.json", work=args.work, teachers=tuple(args.teachers))
    carry_out(read_plan(args.plan), place, only=args.only, until=args.until)


if __name__ == "__main__":
    sys.exit(main())
