"""`edgerkd teacher`: train, import or list robust teachers."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import typer

from edgerkd.cli.options import DATA_OPTIONS, Eps, Seed, radius, with_data
from edgerkd.cli.output import Json, emit_json, progress, show_table
from edgerkd.core.data_request import DataRequest
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


_OPTIONS = {
    Action.list: ("action", "json"),
    Action.train: ("action", "json", *DATA_OPTIONS, "eps", "name", "method", "epochs", "minutes", "seed"),
    Action.imp: ("action", "json", *DATA_OPTIONS, "eps", "name", "source", "sha256", "n", "accept_fragile"),
}


@with_data
def teacher(
    context: typer.Context,
    request: DataRequest,
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.list,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="For import: a file of weights, https://ADDRESS, robustbench:NAME, torchvision:NAME or timm:NAME.",
        ),
    ] = None,
    eps: Eps = None,
    name: Annotated[str | None, typer.Option("--name", help="The name to keep it under.")] = None,
    method: Annotated[
        str | None, typer.Option("--method", help="For train: a method that needs no teacher; what fits if not given.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="For train: epochs; as many as fit if not given.", min=1)
    ] = None,
    minutes: Annotated[
        int | None, typer.Option("--minutes", help="For train: what it may take; 20 if not given.", min=1, max=10**5)
    ] = None,
    seed: Seed = 0,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="For import: the digest that the weights must have.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="For import: validation images to attack.", min=1)] = 500,
    accept_fragile: Annotated[
        bool, typer.Option("--accept-fragile", help="Import a teacher that resists nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """List the robust teachers kept here, train one, or import one and say how accurate and robust it is."""
    if (source is None) is (action is Action.imp):
        raise typer.BadParameter(
            "import needs a file or a name" if source is None else f"{action.value} takes none", param_hint="SOURCE"
        )
    for option in context.command.params:
        name_of = option.name or ""
        if name_of not in _OPTIONS[action] and str(context.get_parameter_source(name_of)).endswith("COMMANDLINE"):
            raise typer.BadParameter(f"{action.value} takes none: leave it out", param_hint=option.opts[0])
    from edgerkd.jobs import teachers as job
    from edgerkd.jobs.data import open_data
    from edgerkd.jobs.teacher_cache import known_teachers
    from edgerkd.jobs.teacher_import import import_teacher

    if action is Action.list:
        cards = known_teachers()
    else:
        with progress() as bars:
            dataset, threat_model = open_data(request, eps=radius(eps), progress=bars)
            if source is None:
                _, card = job.train_teacher(
                    dataset,
                    threat_model,
                    progress=bars,
                    method=method,
                    epochs=epochs,
                    minutes=minutes,
                    seed=seed,
                    name=name,
                )
            else:
                _, card = import_teacher(
                    source,
                    dataset,
                    threat_model,
                    name=name,
                    accept_fragile=accept_fragile,
                    progress=bars,
                    sha256=sha256,
                    n=n,
                )
        cards = (card,)
    if json:
        emit_json(Teachers(teachers=cards))
        return
    rows = [
        (
            c.name,
            c.dataset,
            c.architecture,
            c.clean_acc,
            f"{c.robust_acc} {c.threat_model}",
            c.by_class.worst or "-",
            c.origin,
        )
        for c in cards
    ]
    show_table(["name", "data", "architecture", "clean", "robust (PGD-20)", "worst class", "origin"], rows)
