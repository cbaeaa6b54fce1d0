"""`edgerkd verify`: is the deployed engine robust? Runs without torch."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.cli.main import VerdictExit
from edgerkd.cli.model_options import MODEL_OPTIONS, with_model
from edgerkd.cli.options import (
    DATA_OPTIONS,
    AttackName,
    Backend,
    BundleProfile,
    Eps,
    Images,
    MinClean,
    MinRobust,
    Norm,
    Out,
    Seed,
    Variant,
    bundle_folders,
    given_flags,
    radius,
    with_data,
)
from edgerkd.cli.output import Json, emit_json, note, progress, put_line, show_verification
from edgerkd.core.data_request import DataRequest
from edgerkd.core.model_request import ModelRequest

if TYPE_CHECKING:
    from edgerkd.core.progress import Progress
    from edgerkd.core.run import RunFolder
    from edgerkd.core.verification import VerifyReport

EXIT = {"pass": 0, "fail": 1, "inconclusive": 7, "measured": 0}

_OF_A_MODEL = (*DATA_OPTIONS, *MODEL_OPTIONS, "eps", "norm", "n")
"""What says how a bundle is made of a model; a bundle has it already."""


@with_model
@with_data
def verify(
    context: typer.Context,
    request: DataRequest,
    model: ModelRequest,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="BUNDLE|MODEL", help="A bundle's folder, or an ONNX file; the newest run's bundle if not given."
        ),
    ] = None,
    backend: Backend = None,
    variant: Variant = None,
    profile: BundleProfile = None,
    min_clean: MinClean = None,
    min_robust: MinRobust = None,
    measure: Annotated[bool, typer.Option("--measure", help="Report the figures without a verdict.")] = False,
    attack: AttackName = "pgd",
    seed: Seed = 0,
    eps: Eps = None,
    norm: Norm = "Linf",
    n: Images = 500,
    out: Out = None,
    json: Json = False,
) -> None:
    """Attack the deployed engine on this machine, and exit with pass (0), fail (1) or inconclusive (7)."""
    from edgerkd.bundle.read import read_bundle
    from edgerkd.cli.bundle import check_data_given
    from edgerkd.core.requirement import Requirement, check_asked
    from edgerkd.verify.run import verify as run

    requirement = Requirement(min_clean_acc=min_clean, min_robust_acc=min_robust)
    _check_flags(context, source)
    with progress() as bars:
        if source is not None and _is_model(source):
            check_data_given(context)
            if not measure:
                check_asked(requirement)
            found = replace(model, source=source)
            folders = _bundle_of(found, request, eps=eps, norm=norm, n=n, seed=seed, progress=bars)
        else:
            folders = bundle_folders(None if source is None else Path(source))
        found = read_bundle(folders.bundle)
        target = _place(out, folders.verification(found.key))
        report = run(
            found,
            engines=folders.engines,
            backend=backend,
            variant=variant,
            profile=profile,
            requirement=requirement,
            measure=measure,
            attack=attack,
            seed=seed,
            progress=bars,
        )
    _finish(report, target, json=json)


def _place(asked: Path | None, usual: Path) -> Path | None:
    """Where the report goes: None, which is said, where nobody asked for a place and the usual one is read-only."""
    from edgerkd.core.errors import StorageError
    from edgerkd.files.atomic import check_writable
    from edgerkd.files.paths import given_path

    target = usual if asked is None else given_path(asked)
    try:
        check_writable(target)
    except StorageError as e:
        if asked is not None:
            raise
        note(f"note: the report will be shown and not kept, unless --out names a file: {e}")
        return None
    return target


def _finish(report: "VerifyReport", target: Path | None, *, json: bool) -> None:
    """Show the report, keep it, and end with the verdict's exit code."""
    from edgerkd.core.errors import ParityError
    from edgerkd.files.atomic import write_atomic
    from edgerkd.files.decode import encode_json
    from edgerkd.report.words import parity_words

    try:
        emit_json(report) if json else show_verification(report)
    finally:  # what was hard to come by is kept even where nobody can read it now, and the other way round
        if target is not None:
            write_atomic(target, encode_json(report))
    if target is not None and not json:
        put_line(f"evidence: {target}")
    if not report.parity.ok:
        raise ParityError(parity_words(report) + ("" if target is None else f"; the report is in {target}"))
    raise VerdictExit(EXIT[report.verdict])


def _is_model(source: str) -> bool:
    """Whether this is an ONNX graph, and no bundle's folder."""
    return source.endswith(".onnx")


def _check_flags(context: typer.Context, source: str | None) -> None:
    """Raises BadParameter where something is said of a model, and it is a bundle that is verified."""
    from edgerkd.core.errors import ConfigError
    from edgerkd.files.paths import find_kind, given_path, shown

    if source is not None and not _is_model(source) and find_kind(given_path(source)) == "a file":
        raise ConfigError(
            f"{shown(source)} is a file, and verify takes a bundle's folder or an ONNX file: make a bundle of other "
            f"networks first, with `edgerkd bundle`."
        )
    flags = given_flags(context, _OF_A_MODEL)
    if flags and (source is None or not _is_model(source)):
        raise typer.BadParameter("is about a network of your own, and a bundle has it already", param_hint=flags[0])


def _bundle_of(
    model: ModelRequest, request: DataRequest, *, eps: str | None, norm: str, n: int, seed: int, progress: "Progress"
) -> "RunFolder":
    """A bundle made on the spot. The host attacks nothing: what is attacked is the engine, next."""
    from edgerkd.core.model_request import BUNDLES
    from edgerkd.core.requirement import Requirement
    from edgerkd.jobs.bundle import Asked, make_bundle

    asked = Asked(
        eps=radius(eps),
        norm=norm,
        requirement=Requirement(),
        profiles=(),
        format="trt",
        n=n,
        seed=seed,
        attack=None,
    )
    return bundle_folders(make_bundle(BUNDLES / model.name, model, request, asked, progress=progress).path)
