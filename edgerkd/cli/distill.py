"""`edgerkd distill`: a robust student for a device."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.cli.options import (
    DATA_OPTIONS,
    Eps,
    Family,
    ProfileName,
    Seed,
    Teacher,
    given_flags,
    radius,
    run_folder,
    with_data,
)
from edgerkd.cli.output import Json, emit_json, progress, show_parts
from edgerkd.core.data_request import DataRequest
from edgerkd.core.method import MethodFacts
from edgerkd.core.recipe import Option
from edgerkd.core.record import Record

if TYPE_CHECKING:
    from edgerkd.core.evaluation import Evaluation
    from edgerkd.core.run import RunFolder

_RECIPE = ("profile", *DATA_OPTIONS, "teacher", "family", "method", "epochs", "eps", "seed", "set")


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods(Record):
    """Every method, and by its name its own options with their defaults."""

    methods: tuple[MethodFacts, ...]
    options: dict[str, dict[str, Option]]


@with_data
def distill(
    context: typer.Context,
    request: DataRequest,
    profile: ProfileName = "jetson-orin",
    teacher: Teacher = None,
    family: Family = "resnet",
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="NAME", help="The training method, such as rslad; see --list-methods."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="NUMBER", help="Epochs of training.", min=1)] = None,
    eps: Eps = None,
    seed: Seed = 0,
    set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other value of the recipe, such as lr=0.1; repeatable."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="The run's folder; a new one in runs/ if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a stopped run with its own recipe.")] = False,
    list_methods: Annotated[
        bool, typer.Option("--list-methods", help="List the methods and the options of each, for --set; train nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Distill a compact student from a robust teacher, under the device's budget, and evaluate it.

    If the method asks a teacher and the cache has none for these data, one is trained first. run.json holds every value
    of the recipe. Under `torchrun --nproc-per-node=N -m -- edgerkd distill` N processes share each batch.
    """
    if list_methods:
        _show_methods(json=json)
        return
    from edgerkd.files.paths import result_folder
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs import distill as job

    flags = given_flags(context, _RECIPE)
    if resume and flags:
        raise typer.BadParameter(f"resumes with the run's own recipe: leave {flags[0]} out", param_hint="--resume")

    def show(folder: "RunFolder", evaluation: "Evaluation") -> None:
        emit_json(evaluation) if json else _show(folder, evaluation)

    with progress() as bars:
        if resume:
            job.resume(run_folder(run), progress=bars, show=show)
            return
        job.start(
            load_profile(profile),
            request=request,
            teacher=teacher,
            method=method,
            epochs=epochs,
            eps=radius(eps),
            seed=seed,
            folder=None if run is None else result_folder(run, "--run"),
            progress=bars,
            settings=set or (),
            family=family,
            show=show,
        )


def _show_methods(*, json: bool) -> None:
    from edgerkd.distill.methods.recipes import defaults_of
    from edgerkd.distill.methods.registry import METHODS
    from edgerkd.report.text_table import Table

    options = {name: defaults_of(method) for name, method in METHODS.items()}
    if json:
        emit_json(Methods(methods=tuple(method.facts for method in METHODS.values()), options=options))
        return

    def written(value: object) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value).lower()

    rows = tuple(
        (name, method.description, ", ".join(f"{key}={written(value)}" for key, value in options[name].items()))
        for name, method in METHODS.items()
    )
    show_parts(Table(("method", "what it is", "its own options"), rows))


def _show(folder: "RunFolder", evaluation: "Evaluation") -> None:
    from dataclasses import replace

    from edgerkd.report.load import load_facts
    from edgerkd.report.table import class_table, comparison_rows, conditions

    facts = replace(load_facts(folder), student=evaluation)  # which is written only after it is shown
    show_parts(
        comparison_rows(facts),
        "\n".join(conditions(facts)),
        class_table(evaluation.by_class),
        f"run: {folder.path}\nnext: edgerkd export --format trt",
    )
