"""`edgerkd distill`: profile, data and teacher to an evaluated student in a run folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save

from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ConfigError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.profile import Profile
from edgerkd.core.progress import Progress, Silent
from edgerkd.core.recipe import MethodName, Recipe, parse_settings
from edgerkd.core.run import RUNS, RunFolder, mark_latest
from edgerkd.core.run_record import RunRecord
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset
from edgerkd.data.load import load_dataset
from edgerkd.distill.methods.registry import NEEDS_TEACHER
from edgerkd.distill.trainer import train
from edgerkd.files.atomic import write_atomic
from edgerkd.files.decode import decode_json, encode_json, with_settings
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.evaluation_state import digest_of
from edgerkd.jobs.events import event_writer
from edgerkd.jobs.ranks import Ranks, open_ranks
from edgerkd.jobs.teachers import batch_for, find_teacher, with_eps
from edgerkd.jobs.versions import host_versions
from edgerkd.models.build import build
from edgerkd.models.network import Network
from edgerkd.models.store import save_network
from edgerkd.plan.search import check_family, plan_student, warning

SCHEMA = 1
EPOCHS = 30
TEST_IMAGES = 1000  # of the test split, at most; the figure's interval is about 3 points wide then

T = TypeVar("T")


def start(
    profile: Profile,
    *,
    data: str,
    teacher: str | None,
    method: MethodName,
    epochs: int | None,
    eps: Radius | None,
    seed: int,
    folder: Path | None,
    progress: Progress,
    settings: Sequence[str] = (),
    family: str = "resnet",
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[RunFolder, Evaluation | None]:
    """Plan, train and evaluate a student in a new run folder, which becomes the newest.

    `settings` are further values of the recipe, as `KEY=VALUE`; `family` is the student's; `warn` is told
    of a student larger than its teacher. The processes of torchrun train together; the first alone
    writes, and returns an evaluation. Raises ConfigError for settings no recipe has and for a folder
    that holds a run, UnknownNameError for the family, BudgetError where no student fits.
    """
    changed = parse_settings(settings)
    check_family(family)
    if folder is not None and RunFolder(folder).recipe.exists():
        raise ConfigError(f"--run: {folder} holds a run already: go on with --resume, or name another folder")
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--run: {folder} is no empty folder: name one that is, or that is not there yet")
    with open_ranks() as ranks:
        progress = progress if ranks.first else Silent()
        dataset = with_eps(load_dataset(data), eps)
        recipe = Recipe(
            method=method,
            threat_model=dataset.threat_model,
            epochs=EPOCHS if epochs is None else epochs,
            seed=seed,
            batch=batch_for(dataset),
        )
        recipe = with_settings(recipe, changed, "--set")
        network, card = _first_alone(ranks, lambda: find_teacher(teacher, dataset, progress=progress))
        plan = plan_student(profile, network.architecture, family)
        if ranks.first and (line := warning(plan)) is not None:
            warn(line)
        record = RunRecord(
            schema=SCHEMA,
            data=data,
            dataset=dataset.name,
            data_sha256=dataset.sha256,
            teacher=card.name,
            teacher_sha256=card.weights_sha256,
            profile=profile,
            recipe=recipe,
            architecture=plan.chosen.architecture,
            cost=plan.chosen.cost,
            versions=host_versions(),
            processes=ranks.world,
        )
        run = RunFolder(folder if folder is not None else _new_folder(f"{dataset.name}-{profile.name}-{method}"))
        ranks.agree(digest_of({"run": encode_json(record)}))
        if ranks.first:
            mark_latest(run)
            write_atomic(run.recipe, encode_json(record))
        return run, _carry_out(run, record, dataset, network, resume=False, progress=progress, ranks=ranks)


def resume(run: RunFolder, *, progress: Progress) -> Evaluation | None:
    """Go on with a stopped run from its last whole epoch, by its own recipe; under torchrun as `start` does.

    Raises ConfigError where the data, the teacher or the number of processes are no longer what they were.
    """
    record = decode_json(RunRecord, run.recipe)
    with open_ranks() as ranks:
        if run.evaluation.exists() and run.student.exists():  # there is nothing left to do, and nothing to overwrite
            return decode_json(Evaluation, run.evaluation) if ranks.first else None
        if ranks.world != record.processes:
            raise ConfigError(
                f"{run.recipe}: the run began with {record.processes} processes and would go on with {ranks.world}, "
                f"which is another training: resume it with {record.processes} (torchrun's --nproc-per-node)"
            )
        progress = progress if ranks.first else Silent()
        dataset, network = _first_alone(ranks, lambda: load_inputs(run, record, progress=progress))
        ranks.agree(digest_of({"run": encode_json(record)}))
        return _carry_out(run, record, dataset, network, resume=True, progress=progress, ranks=ranks)


def _first_alone(ranks: Ranks, work: Callable[[], T]) -> T:
    """The same work by every process, by the first before the others: it may train a teacher and keep it."""
    if not ranks.first:
        ranks.wait()
        return work()
    found = work()
    ranks.wait()
    return found


def load_inputs(run: RunFolder, record: RunRecord, *, progress: Progress) -> tuple[Dataset, Network]:
    """The data and the teacher a run began with. Raises ConfigError where either is no longer what it was."""
    dataset = replace(load_dataset(record.data), threat_model=record.recipe.threat_model)
    if dataset.sha256 != record.data_sha256:
        raise ConfigError(f"{run.recipe}: the data {record.data!r} are no longer those the run began with")
    network, card = find_teacher(record.teacher, dataset, progress=progress)
    if card.weights_sha256 != record.teacher_sha256:
        raise ConfigError(f"{run.recipe}: the teacher {card.name!r} is no longer the one the run began with")
    return dataset, network


def _carry_out(
    run: RunFolder,
    record: RunRecord,
    dataset: Dataset,
    teacher: Network,
    *,
    resume: bool,
    progress: Progress,
    ranks: Ranks,
) -> Evaluation | None:
    recipe = record.recipe
    torch.manual_seed(recipe.seed)
    with event_writer(run.path) as write_events:
        write_line = _metrics_writer(run)

        def on_epoch(epoch: Epoch) -> None:
            write_events(epoch)
            write_line(epoch)

        student, adapters = train(
            build(record.architecture),
            dataset,
            recipe,
            teacher=teacher if recipe.method in NEEDS_TEACHER else None,
            checkpoint=run.checkpoint,
            resume=resume,
            on_epoch=on_epoch,
            progress=progress,
            ranks=ranks,
        )
    if not ranks.first:
        return None
    save_network(student, run.student)
    if adapters is not None:
        write_atomic(run.adapters, save(adapters.cpu().state_dict()))
    test = dataset.test.head(TEST_IMAGES)
    evaluations = [
        attack_network(
            network,
            test,
            name=name,
            split="test",
            threat_model=recipe.threat_model,
            seed=recipe.seed,
            progress=progress,
        ).evaluation
        for name, network in (("teacher", teacher), ("student", student))
    ]
    write_atomic(run.teacher, encode_json(evaluations[0]))
    write_atomic(run.evaluation, encode_json(evaluations[1]))
    return evaluations[1]


def _metrics_writer(run: RunFolder) -> Callable[[Epoch], None]:
    """Writes metrics.jsonl anew after each epoch, dropping lines of epochs that are being repeated."""

    def write(epoch: Epoch) -> None:
        old = run.metrics.read_text().splitlines() if run.metrics.exists() else []
        kept = [line for line in old if json.loads(line)["epoch"] < epoch.epoch]
        write_atomic(run.metrics, "\n".join([*kept, json.dumps(json.loads(encode_json(epoch)))]) + "\n")

    return write


def _new_folder(stem: str) -> Path:
    """`runs/STEM-1`, or the next number that is free."""
    number = 1
    while (RUNS / f"{stem}-{number}").exists():
        number += 1
    return RUNS / f"{stem}-{number}"
