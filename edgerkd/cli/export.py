"""`edgerkd export`: the bundle, and an engine where one can be built here."""

from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.cli.options import (
    Images,
    License,
    MinClean,
    MinRobust,
    PrecisionAsked,
    Run,
    Sign,
    run_folder,
    signer_of,
)
from edgerkd.cli.output import Json, emit_json, identity_lines, note, progress, put_line
from edgerkd.core.model_spec import UNKNOWN_LICENSE

if TYPE_CHECKING:
    from edgerkd.core.manifest import Manifest
    from edgerkd.jobs.export import Exported


def export(
    format: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="The bundle's backend: onnx, openvino, trt, trt-rtx, or another's name."
        ),
    ] = "trt",
    precision: PrecisionAsked = "auto",
    run: Run = None,
    n: Images = 500,
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", metavar="NAME", help="One more device whose requirements the bundle carries."),
    ] = None,
    min_clean: MinClean = None,
    min_robust: MinRobust = None,
    license: License = UNKNOWN_LICENSE,
    sign: Sign = None,
    transfer_from: Annotated[
        list[str] | None,
        typer.Option(
            "--transfer-from",
            metavar="RUN|MODEL",
            help="A run's folder or an ONNX file: adversarial images made against it go into the bundle; repeatable.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Export a run's student as a bundle for the device, and build its engine where that is possible here."""
    from edgerkd.core.requirement import Requirement
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs.export import export as job
    from edgerkd.report.words import precision_lines

    folder, profiles = run_folder(run), tuple(load_profile(name) for name in profile or ())
    signer = signer_of(sign)
    own = Requirement(min_clean_acc=min_clean, min_robust_acc=min_robust)
    with progress() as bars:
        exported = job(
            folder,
            format=format,
            precision=precision,
            profiles=profiles,
            requirement=own if own.asks_accuracy else None,
            license=license,
            transfer_from=tuple(transfer_from or ()),
            n=n,
            signer=signer,
            progress=bars,
        )
    if json:
        note(engine_line(exported))
        emit_json(exported.bundle.manifest)
        return
    for line in precision_lines(exported.bundle.manifest):
        put_line(line)
    put_line(f"{engine_line(exported)}\nbundle: {exported.bundle.path}")
    for line in identity_lines(exported.bundle, signer):
        put_line(line)
    put_line(f"next: {verify_command(exported.bundle.manifest)}")


def verify_command(manifest: "Manifest") -> str:
    """The command that verifies the bundle: where its profile and its maker ask no accuracy of it, the user has to."""
    from edgerkd.core.requirement import combined, required_by

    asked = required_by(manifest.profiles[0], manifest.reference, floor=0.0)
    if combined(asked, manifest.requirement).asks_accuracy:
        return "edgerkd verify"
    return "edgerkd verify --min-clean SHARE --min-robust SHARE (no teacher says what would be good enough)"


def engine_line(exported: "Exported") -> str:
    """Where the engine is, or when it will be built."""
    if exported.engine is not None:
        return f"engine: {exported.engine}"
    name = exported.bundle.manifest.format
    return f"the {name} engine will be built on the device, by `edgerkd verify` there ({exported.postponed})"
