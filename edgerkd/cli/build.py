"""`edgerkd build`: bundle -> engine, on the device."""

from pathlib import Path
from typing import Annotated

import typer

from edgerkd.cli.options import bundle_folders
from edgerkd.cli.output import Json, emit_json, note, put_line

Bundle = Annotated[
    Path | None, typer.Argument(metavar="BUNDLE", help="The bundle's folder; the newest run's if not given.")
]


def build(
    bundle: Bundle = None,
    runtime: Annotated[str | None, typer.Option("--runtime", metavar="NAME", help="The runtime to build for.")] = None,
    json: Json = False,
) -> None:
    """Build the engine of a bundle for this machine, which `verify` also does where there is none."""
    from edgerkd.bundle.read import read_bundle
    from edgerkd.verify.build import build_engine, choose_runtime

    folders = bundle_folders(bundle)
    found = read_bundle(folders.bundle)
    chosen, why_not = choose_runtime(runtime, found.manifest.profile.runtimes)
    built = build_engine(found, chosen.exporter, folders.engines, again=True)
    for line in (*why_not, *built.record.notes):
        note(line)
    if json:
        emit_json(built.record)
    else:
        put_line(f"engine: {built.student}")
