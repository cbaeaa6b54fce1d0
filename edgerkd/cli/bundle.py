"""`edgerkd bundle`: a bundle from a network of one's own."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgerkd.cli.model_options import with_model
from edgerkd.cli.options import (
    DATA_OPTIONS,
    DEFAULT_ATTACK,
    AttackName,
    Eps,
    Images,
    License,
    MinClean,
    MinRobust,
    Norm,
    PrecisionAsked,
    Seed,
    Sign,
    given_flags,
    radius,
    signer_of,
    with_data,
)
from edgerkd.cli.output import Json, emit_json, identity_lines, progress, put_line
from edgerkd.core.data_request import DataRequest
from edgerkd.core.model_request import BUNDLES, ModelRequest
from edgerkd.core.model_spec import UNKNOWN_LICENSE


@with_model
@with_data
def bundle(
    context: typer.Context,
    request: DataRequest,
    model: ModelRequest,
    source: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="An ONNX file, TorchScript, an exported program, or torchvision:NAME."),
    ] = None,
    eps: Eps = None,
    norm: Norm = "Linf",
    min_clean: MinClean = None,
    min_robust: MinRobust = None,
    profile: Annotated[
        list[str] | None, typer.Option("--profile", metavar="NAME", help="A device it is for; repeatable.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="The backend it is for: onnx, openvino, trt, trt-rtx.")
    ] = "trt",
    precision: PrecisionAsked = "auto",
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            metavar="DATA",
            help="Images for fp16 and int8, an .npz file or a folder, without labels; some of the data's if not given.",
        ),
    ] = None,
    n: Images = 500,
    attack: AttackName = DEFAULT_ATTACK,
    seed: Seed = 0,
    license: License = UNKNOWN_LICENSE,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The bundle's folder; bundles/NAME if not given.")
    ] = None,
    sign: Sign = None,
    json: Json = False,
) -> None:
    """Make a bundle from a network of your own, with the images it is to be verified on."""
    from edgerkd.core.requirement import Requirement
    from edgerkd.files.paths import find_kind, result_folder
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs.bundle import Asked, make_bundle
    from edgerkd.report.words import bundle_lines

    check_data_given(context)
    found = replace(model, source=source)
    asked = Asked(
        eps=radius(eps),
        norm=norm,
        requirement=Requirement(min_clean_acc=min_clean, min_robust_acc=min_robust),
        profiles=tuple(load_profile(name) for name in profile or ()),
        format=format,
        n=n,
        seed=seed,
        attack=attack,
        precision=precision,
        calibration=calibration,
        license=license,
    )
    folder, signer = BUNDLES / found.name if out is None else result_folder(out, "--out"), signer_of(sign)
    replaced = find_kind(folder) == "a folder"
    with progress() as bars:
        made = make_bundle(folder, found, request, asked, signer=signer, progress=bars)
    if json:
        emit_json(made.manifest)
        return
    for line in bundle_lines(made.manifest):
        put_line(line)
    put_line(f"bundle: {made.path}{', in place of the one that was there' if replaced else ''}")
    for line in identity_lines(made, signer):
        put_line(line)
    put_line(f"next: edgerkd verify {shlex.quote(str(made.path))}")


def check_data_given(context: typer.Context) -> None:
    """Raises BadParameter where no data were named: the digits are nobody's own."""
    if not given_flags(context, DATA_OPTIONS):
        raise typer.BadParameter(
            "say which labelled images the network is judged on: an .npz file or a folder of pictures",
            param_hint="--data",
        )
    if given_flags(context, ("flip",)):
        raise typer.BadParameter("is about training, and nothing is trained here", param_hint="--flip")
