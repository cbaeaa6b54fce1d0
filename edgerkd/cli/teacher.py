"""`edgerkd teacher`: train, import or list robust teachers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from edgerkd.cli.help import ListingGroup, PlainCommand, command_group
from edgerkd.cli.options import Eps, Seed, radius, with_data
from edgerkd.cli.output import Json, emit_json, progress, show_parts
from edgerkd.core.data_request import DataRequest
from edgerkd.core.record import Record
from edgerkd.core.teacher import TeacherCard

teacher = command_group("teacher", "List the robust teachers in the cache, train one, or import one.", cls=ListingGroup)

Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The teacher's name in the cache.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teachers(Record):
    """Every teacher in the cache, or the one just made."""

    teachers: tuple[TeacherCard, ...]


@teacher.command("list", cls=PlainCommand)
def list_teachers(json: Json = False) -> None:
    """List the robust teachers in the cache, with their clean and robust accuracy."""
    from edgerkd.jobs.teacher_cache import known_teachers

    _show(known_teachers(), json=json)


@teacher.command("train", cls=PlainCommand)
@with_data
def train(
    request: DataRequest,
    eps: Eps = None,
    name: Name = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="A method that needs no teacher; if not given, the time limit decides.",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", metavar="NUMBER", help="Epochs of training; if not given, the time limit decides.", min=1
        ),
    ] = None,
    minutes: Annotated[
        int | None,
        typer.Option(
            "--minutes", metavar="NUMBER", help="The time limit in minutes; 20 if not given.", min=1, max=10**5
        ),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train a robust teacher on the data and keep it in the cache.

    Without --method and --epochs, a few steps are timed and the longest training that ends within the time limit is
    chosen. A training that was stopped resumes when the same command is given again.
    """
    from edgerkd.jobs.data import open_data
    from edgerkd.jobs.teachers import train_teacher

    with progress() as bars:
        dataset, threat_model = open_data(request, eps=radius(eps), progress=bars)
        _, card = train_teacher(
            dataset, threat_model, progress=bars, method=method, epochs=epochs, minutes=minutes, seed=seed, name=name
        )
    _show([card], json=json)


@teacher.command("import", cls=PlainCommand)
@with_data
def import_(
    request: DataRequest,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A file of weights, an ONNX file, https://ADDRESS, robustbench:NAME, torchvision:NAME or timm:NAME.",
        ),
    ],
    eps: Eps = None,
    name: Name = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="DIGEST", help="The SHA-256 digest that the weights must have."),
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="NUMBER", help="Validation images to attack.", min=1)] = 500,
    accept_fragile: Annotated[
        bool, typer.Option("--accept-fragile", help="Import the teacher even if it is not robust.")
    ] = False,
    json: Json = False,
) -> None:
    """Import a robust teacher from a file or by name, and measure its clean and robust accuracy."""
    from edgerkd.jobs.data import open_data
    from edgerkd.jobs.teacher_import import import_teacher

    with progress() as bars:
        dataset, threat_model = open_data(request, eps=radius(eps), progress=bars)
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
    _show([card], json=json)


def _show(cards: Sequence[TeacherCard], *, json: bool) -> None:
    from edgerkd.report.text_table import Table

    if json:
        emit_json(Teachers(teachers=tuple(cards)))
        return
    rows = [
        (
            c.name,
            c.dataset,
            str(c.architecture),
            str(c.clean_acc),
            f"{c.robust_acc} {c.threat_model}",
            c.by_class.worst or "-",
            c.origin,
        )
        for c in cards
    ]
    headers = ("name", "data", "architecture", "clean", "robust (PGD-20)", "worst class", "origin")
    show_parts(Table(headers, tuple(rows)))
