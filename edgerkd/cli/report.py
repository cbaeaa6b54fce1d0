"""`edgerkd report`: one HTML page of a run."""

from edgerkd.cli.options import Out, Run, run_folder
from edgerkd.cli.output import Json, emit_json, note, put_line


def report(run: Run = None, out: Out = None, json: Json = False) -> None:
    """Write a run's HTML page and print its path, or with --json its facts."""
    from edgerkd.files.paths import given_path
    from edgerkd.report.load import load_facts, undone
    from edgerkd.report.page import write_page

    folder = run_folder(run)
    facts = load_facts(folder)
    if json:
        emit_json(facts)
    page = write_page(folder, None if out is None else given_path(out))
    if json:
        return
    put_line(str(page))
    for line in undone(facts):
        note(line)
