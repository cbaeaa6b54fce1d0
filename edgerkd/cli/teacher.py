"""`edgerkd teacher`: train, import or list robust teachers."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgerkd.cli.options import Data, Seed
from edgerkd.cli.output import Json, emit_json, progress, show_table
from edgerkd.core.record import Record
from edgerkd.core.teacher import TeacherCard


class Action(str, Enum):
    """What to do with teachers."""

    list = "list"
    train = "train"
    imp = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Teachers(Record):
    """Every teacher in the cache, or the one just made."""

    teachers: tuple[TeacherCard, ...]


def teacher(
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.list,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="For import: a file of weights.")] = None,
    data: Data = "digits",
    name: Annotated[str | None, typer.Option("--name", help="The name to keep it under.")] = None,
    epochs: Annotated[int, typer.Option("--epochs", help="For train: epochs.", min=1)] = 30,
    seed: Seed = 0,
    accept_fragile: Annotated[
        bool, typer.Option("--accept-fragile", help="Import a teacher that resists nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """List the robust teachers kept here, train one, or import one from a file of weights."""
    if (file is None) is (action is Action.imp):
        raise typer.BadParameter(
            "import needs a file" if file is None else f"{action.value} takes no file", param_hint="FILE"
        )
    from edgerkd.data.load import load_dataset
    from edgerkd.jobs import teachers as job
    from edgerkd.jobs.teacher_cache import known_teachers

    if action is Action.list:
        cards = known_teachers()
    else:
        dataset = load_dataset(data)
        with progress() as bars:
            if file is None:
                _, card = job.train_teacher(dataset, progress=bars, epochs=epochs, seed=seed, name=name)
            else:
                _, card = job.import_teacher(file, dataset, name=name, accept_fragile=accept_fragile, progress=bars)
        cards = (card,)
    if json:
        emit_json(Teachers(teachers=cards))
        return
    rows = [
        (c.name, c.dataset, c.architecture, c.clean_acc, f"{c.robust_acc} {c.threat_model}", c.origin) for c in cards
    ]
    show_table(["name", "data", "architecture", "clean", "robust (PGD-20)", "origin"], rows)
