"""`edgerkd report`: one HTML page of a run."""

import typer

from edgerkd.cli.options import Run, run_folder
from edgerkd.cli.output import Json, emit_json


def report(run: Run = None, json: Json = False) -> None:
    """Write the HTML page of the newest run and print where it is; with --json print its facts."""
    from edgerkd.report.load import load_facts, undone
    from edgerkd.report.page import write_page

    folder = run_folder(run)
    facts, page = load_facts(folder), write_page(folder)
    if json:
        emit_json(facts)
        return
    typer.echo(page)
    for line in undone(facts):
        typer.echo(line, err=True)
