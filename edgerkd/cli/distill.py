"""`edgerkd distill`: a robust student for a device."""

from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import typer

from edgerkd.cli.options import Data, Eps, Family, ProfileName, Seed, Teacher, radius, run_folder
from edgerkd.cli.output import Json, emit_json, progress, show_table
from edgerkd.core.recipe import MethodName

_RECIPE = ("profile", "data", "teacher", "family", "method", "epochs", "eps", "seed", "set")


def distill(
    context: typer.Context,
    profile: ProfileName = "jetson-orin",
    data: Data = "digits",
    teacher: Teacher = None,
    family: Family = "resnet",
    method: Annotated[
        str, typer.Option("--method", help=f"How it is trained: {', '.join(get_args(MethodName))}.")
    ] = "edgerkd",
    epochs: Annotated[int | None, typer.Option("--epochs", help="Epochs of training.", min=1)] = None,
    eps: Eps = None,
    seed: Seed = 0,
    set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other value of the recipe, like lr=0.1; repeatable."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="The run's folder; a new one below runs/ if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run, by its own recipe.")] = False,
    json: Json = False,
) -> None:
    """Distill a compact student from a robust teacher, under the device's budget, and evaluate it.

    run.json holds every value of the recipe. Under `torchrun --nproc-per-node=N -m -- edgerkd distill`
    N processes share each batch.
    """
    from edgerkd.core.recipe import load_method
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs import distill as job

    given = [name for name in _RECIPE if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if resume and given:
        raise typer.BadParameter(f"goes on by the run's own recipe: leave --{given[0]} out", param_hint="--resume")
    with progress() as bars:
        if resume:
            folder = run_folder(run)
            evaluation = job.resume(folder, progress=bars)
        else:
            folder, evaluation = job.start(
                load_profile(profile),
                data=data,
                teacher=teacher,
                method=load_method(method),
                epochs=epochs,
                eps=radius(eps),
                seed=seed,
                folder=run,
                progress=bars,
                settings=set or (),
                family=family,
                warn=partial(typer.echo, err=True),
            )
    if evaluation is None:  # another process of torchrun's speaks
        return
    if json:
        emit_json(evaluation)
        return
    from edgerkd.report.load import load_facts
    from edgerkd.report.table import comparison_rows, conditions

    facts = load_facts(folder)
    show_table(*comparison_rows(facts))
    for line in conditions(facts):
        typer.echo(line)
    typer.echo(f"run: {folder.path}\nnext: edgerkd export --format trt")
