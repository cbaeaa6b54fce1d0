"""`edgerkd export`: the bundle, and an engine where one can be built here."""

from typing import Annotated

import typer

from edgerkd.cli.options import Run, run_folder
from edgerkd.cli.output import Json, emit_json, note, progress, put_line


def export(
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="The exporter: onnx, trt, trt-rtx, or another one's name.")
    ] = "trt",
    run: Run = None,
    json: Json = False,
) -> None:
    """Export a run's student as a bundle for the device, and build its engine where that is possible here."""
    from edgerkd.jobs.export import export as job

    folder = run_folder(run)
    with progress() as bars:
        bundle, engine = job(folder, exporter_name=format, progress=bars)
    if json:
        note(engine)
        emit_json(bundle.manifest)
        return
    put_line(f"{engine}\nbundle: {bundle.path}\nnext: edgerkd verify")
