"""`edgerkd distill`: profile, data and teacher to an evaluated student in a run folder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save

from edgerkd.core.data_request import DataRequest
from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ConfigError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.profile import Profile
from edgerkd.core.progress import Progress, Silent
from edgerkd.core.recipe import Recipe, eps_warmup_for, parse_settings
from edgerkd.core.run import RUNS, RunFolder, check_latest, mark_latest
from edgerkd.core.run_record import RunRecord
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import DEFAULT, load_method
from edgerkd.distill.trainer import train
from edgerkd.files.atomic import check_writable, claim, claimed_folder, write_atomic
from edgerkd.files.decode import decode_json, decode_lines, encode_json, encode_line
from edgerkd.files.paths import find_kind, shown
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.data import open_data, reopen_data
from edgerkd.jobs.evaluation_state import digest_of
from edgerkd.jobs.events import event_writer
from edgerkd.jobs.ranks import Ranks, open_ranks
from edgerkd.jobs.teachers import batch_for, find_teacher, teacher_for
from edgerkd.jobs.versions import host_versions
from edgerkd.models.build import build
from edgerkd.models.cost import cost_of
from edgerkd.models.network import Network
from edgerkd.models.store import save_network
from edgerkd.plan.search import Plan, check_family, plan_student, warning

EPOCHS = 30
TEST_IMAGES = 1000  # of the test split, at most; the figure's interval is about 3 points either way then

T = TypeVar("T")

Show = Callable[[RunFolder, Evaluation], None]
"""Shows a result, before it is written: what was hard to come by is not lost where it cannot be kept."""


def start(
    profile: Profile,
    *,
    request: DataRequest,
    teacher: str | None,
    method: str | None,
    epochs: int | None,
    eps: Radius | None,
    seed: int,
    folder: Path | None,
    progress: Progress,
    settings: Sequence[str] = (),
    family: str = "resnet",
    show: Show = lambda run, evaluation: None,
) -> tuple[RunFolder, Evaluation | None]:
    """Plan, train and evaluate a student in a new run folder, which becomes the newest.

    `method` is a method's name, None the default; `settings` are further values of the recipe and of the method's
    options, as `KEY=VALUE`; `family` is the student's. A method that asks no teacher may have none (`teacher_for`). The
    processes of torchrun train together; the first alone writes, and returns an evaluation. Raises ConfigError for
    settings that neither has and for a folder that holds something, UnknownNameError for the method and the family,
    BudgetError where no student fits, StorageError where the run cannot be written.
    """
    changed, chosen = parse_settings(settings), DEFAULT if method is None else load_method(method)
    check_family(family)
    check_run_folder(folder)
    with open_ranks() as ranks:
        progress = progress if ranks.first else Silent()
        dataset, threat_model = _first_alone(ranks, lambda: open_data(request, eps=eps, progress=progress))
        own = {"seed": seed, "batch": batch_for(dataset), "eps_warmup": eps_warmup_for(threat_model)}
        recipe = recipe_for(chosen, threat_model, epochs=EPOCHS if epochs is None else epochs, settings=own | changed)
        with _claimed(folder, f"{dataset.name}-{profile.name}-{chosen.name}", ranks) as run:
            beside = _first_alone(ranks, lambda: teacher_for(chosen, teacher, dataset, threat_model, progress=progress))
            network, card = (None, None) if beside is None else beside
            plan = _planned(profile, dataset, network, family, progress)
            record = RunRecord(
                request=request,
                data=dataset.facts,
                teacher=None if card is None else card.name,
                teacher_sha256=None if card is None else card.weights_sha256,
                profile=profile,
                recipe=recipe,
                method=chosen.facts,
                architecture=plan.chosen.architecture,
                cost=plan.chosen.cost,
                versions=host_versions(),
                processes=ranks.world,
            )
            ranks.agree(digest_of({"run": encode_json(record)}))
            if ranks.first:
                write_atomic(run.recipe, encode_json(record))
                mark_latest(run)
            evaluation = _carry_out(
                run, record, dataset, network, resume=False, progress=progress, ranks=ranks, show=show
            )
        return run, evaluation


def _planned(profile: Profile, dataset: Dataset, teacher: Network | None, family: str, progress: Progress) -> Plan:
    """The student beside its teacher, where it has one. Says where it is the larger of the two."""
    like = dataset.architecture("resnet", widths=(8,), blocks=(1,)) if teacher is None else teacher.architecture
    plan = plan_student(profile, like, None if teacher is None else cost_of(teacher), family)
    if (line := warning(plan)) is not None:
        progress.say(line)
    return plan


def resume(run: RunFolder, *, progress: Progress, show: Show = lambda run, evaluation: None) -> Evaluation | None:
    """Go on with a stopped run from where it was last kept, by its own recipe; under torchrun as `start` does.

    Raises ConfigError where the data, the teacher or the number of processes are no longer what they were.
    """
    record = decode_json(RunRecord, run.recipe)
    with open_ranks() as ranks:
        if run.evaluation.exists() and run.student.exists():  # there is nothing left to do, and nothing to overwrite
            found = decode_json(Evaluation, run.evaluation) if ranks.first else None
            if found is not None:
                show(run, found)
            return found
        if ranks.world != record.processes:
            raise ConfigError(
                f"{run.recipe}: the run was started with {record.processes} processes, and with {ranks.world} the "
                f"training would change. Resume it with {record.processes} (torchrun's --nproc-per-node)."
            )
        progress = progress if ranks.first else Silent()
        with ExitStack() as stack:
            if ranks.first and not stack.enter_context(claim(run.path)):
                raise ConfigError(f"{shown(run.path)}: another process is training this run: wait until it ends.")
            dataset, network = _first_alone(ranks, lambda: load_inputs(run, record, progress=progress))
            ranks.agree(digest_of({"run": encode_json(record)}))
            return _carry_out(run, record, dataset, network, resume=True, progress=progress, ranks=ranks, show=show)


def check_run_folder(folder: Path | None) -> None:
    """Whether a run can be begun there, before any work. Raises ConfigError, and StorageError where nothing can."""
    check_latest()
    check_writable(RUNS / "link")  # beside `latest`, which will name the run
    if folder is None:
        return
    kind = find_kind(folder)
    if kind == "a folder" and RunFolder(folder).recipe.exists():
        raise ConfigError(
            f"--run: {shown(folder)} already holds a run: resume it with --resume, or name another folder."
        )
    if kind is not None and (kind != "a folder" or any(folder.iterdir())):
        raise ConfigError(f"--run: {shown(folder)} must be empty or not exist.")
    check_writable(folder.with_name(f"{folder.name}.run"))


@contextmanager
def _claimed(folder: Path | None, stem: str, ranks: Ranks) -> Iterator[RunFolder]:
    """A folder that this run alone has: the one named, or `runs/STEM-1` or the next number that nobody has.

    Raises ConfigError where another run has the one named.
    """
    if not ranks.first:
        yield RunFolder(Path(ranks.tell("")))
        return
    with ExitStack() as stack:
        number = 1
        path = folder or RUNS / f"{stem}-1"
        while not stack.enter_context(claimed_folder(path)):
            if folder is not None:
                raise ConfigError(f"--run: {shown(folder)} has just been taken by another run: name another folder.")
            number += 1
            path = RUNS / f"{stem}-{number}"
        yield RunFolder(Path(ranks.tell(str(path))))


def _first_alone(ranks: Ranks, work: Callable[[], T]) -> T:
    """The same work by every process, by the first before the others: it may decode pictures or train a teacher."""
    if not ranks.first:
        ranks.wait()
        return work()
    found = work()
    ranks.wait()
    return found


def load_inputs(run: RunFolder, record: RunRecord, *, progress: Progress) -> tuple[Dataset, Network | None]:
    """The data and the teacher a run began with, if any. Raises ConfigError where either is no longer what it was."""
    dataset = reopen_data(record.request, record.data.sha256, run.recipe, progress=progress)
    if record.teacher is None:
        return dataset, None
    network, card = find_teacher(record.teacher, dataset, record.recipe.threat_model, progress=progress)
    if card.weights_sha256 != record.teacher_sha256:
        raise ConfigError(f"{run.recipe}: the teacher {card.name!r} is not the one the run was started with.")
    return dataset, network


def _carry_out(
    run: RunFolder,
    record: RunRecord,
    dataset: Dataset,
    teacher: Network | None,
    *,
    resume: bool,
    progress: Progress,
    ranks: Ranks,
    show: Show,
) -> Evaluation | None:
    recipe = record.recipe
    torch.manual_seed(recipe.seed)
    with event_writer(run.path) as write_events:

        def on_epoch(epoch: Epoch) -> None:
            write_events(epoch)
            write_metrics(run, epoch)

        student, adapters = train(
            build(record.architecture),
            dataset,
            recipe,
            teacher=teacher if load_method(recipe.method).needs_teacher else None,
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
    if teacher is not None:
        write_atomic(run.teacher, encode_json(evaluated(teacher, "teacher", dataset, recipe, progress)))
    found = evaluated(student, "student", dataset, recipe, progress)
    try:
        show(run, found)
    finally:
        write_atomic(run.evaluation, encode_json(found))
    return found


def evaluated(network: Network, name: str, dataset: Dataset, recipe: Recipe, progress: Progress) -> Evaluation:
    """What PGD leaves of it on test images, which over-reports: `edgerkd evaluate` and `verify` attack harder."""
    return attack_network(
        network,
        dataset.test.sample(TEST_IMAGES, seed=recipe.seed),
        name=name,
        split="test",
        of=len(dataset.test),
        class_names=dataset.class_names,
        threat_model=recipe.threat_model,
        seed=recipe.seed,
        progress=progress,
    ).evaluation


def write_metrics(run: RunFolder, epoch: Epoch) -> None:
    """Add a line to metrics.jsonl, dropping those of epochs that are being repeated."""
    earlier = decode_lines(Epoch, run.metrics) if run.metrics.exists() else ()
    kept = [encode_line(line) for line in earlier if line.epoch < epoch.epoch]
    write_atomic(run.metrics, "".join([*kept, encode_line(epoch)]))
