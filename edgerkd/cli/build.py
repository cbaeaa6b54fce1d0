"""`edgerkd build`: bundle -> engine, on the device."""

from pathlib import Path
from typing import Annotated

import typer

from edgerkd.cli.options import Backend, BundleProfile, Variant, bundle_folders
from edgerkd.cli.output import Json, emit_json, note, put_line

Bundle = Annotated[
    Path | None, typer.Argument(metavar="BUNDLE", help="The bundle's folder; the newest run's if not given.")
]


def build(
    bundle: Bundle = None,
    backend: Backend = None,
    variant: Variant = None,
    profile: BundleProfile = None,
    json: Json = False,
) -> None:
    """Build the engine of a bundle for this machine, which `verify` also does where there is none."""
    from edgerkd.bundle.read import read_bundle
    from edgerkd.core.requirement import choose_profile
    from edgerkd.report.words import build_words, skipped_words
    from edgerkd.verify.build import build_engine, choose_backend, preferred_backends

    folders = bundle_folders(bundle)
    found = read_bundle(folders.bundle)
    device = choose_profile(found.manifest.profiles, profile)
    chosen, skipped = choose_backend(backend, preferred_backends(found, device))
    built = build_engine(
        found, found.manifest.variant_for(chosen.name, chosen.placement, variant), chosen, folders.engines, again=True
    )
    for line in (*skipped_words(skipped), *build_words(built.record.log)):
        note(line)
    if json:
        emit_json(built.record)
    else:
        put_line(f"engine: {built.engine}")
