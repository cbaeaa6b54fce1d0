"""`edgerkd evaluate`: clean and robust accuracy of a run's student."""

from typing import Annotated

import typer

from edgerkd.cli.options import Eps, Run, Seed, radius, run_folder
from edgerkd.cli.output import Json, emit_json, progress, show_table


def evaluate(
    run: Run = None,
    eps: Eps = None,
    n: Annotated[int | None, typer.Option("-n", help="Test images; all of them if not given.", min=1)] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Attack the student of the newest run, on the host, and print its clean and robust accuracy."""
    from edgerkd.jobs.evaluate import evaluate_run

    folder = run_folder(run)
    with progress() as bars:
        found = evaluate_run(folder, eps=radius(eps), n=n, seed=seed, progress=bars)
    if json:
        emit_json(found)
        return
    rows = [("clean", "", found.clean_acc), *((row.attack, row.source, row.robust_acc) for row in found.rows)]
    show_table(["attack", "source", "accuracy"], [*rows, ("worst case", "", found.robust_acc)])
    typer.echo(f"{found.threat_model}, {found.n} test images")
