"""`edgerkd verify`: is the deployed engine robust? Runs without torch."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from edgerkd.cli.junit import begun, errors_in
from edgerkd.cli.main import VerdictExit
from edgerkd.cli.model_options import MODEL_OPTIONS, with_model
from edgerkd.cli.options import (
    DATA_OPTIONS,
    DEFAULT_ATTACK,
    AttackName,
    Backend,
    BundleProfile,
    DrawnSeed,
    Eps,
    Images,
    MinClean,
    MinRobust,
    Norm,
    Out,
    Trusted,
    Variant,
    bundle_folders,
    given_flags,
    radius,
    trusted_keys,
    with_data,
)
from edgerkd.cli.output import Json, emit_json, note, progress, put_line, show_verification
from edgerkd.core.data_request import DataRequest
from edgerkd.core.model_request import ModelRequest
from edgerkd.core.text import is_sha256

if TYPE_CHECKING:
    from edgerkd.bundle.keys import Key, Signer
    from edgerkd.core.progress import Progress
    from edgerkd.core.run import RunFolder
    from edgerkd.core.verification import Verdict, VerifyReport

EXIT = {"pass": 0, "fail": 1, "inconclusive": 7, "measured": 0, "pass as claimed": 8}

_OF_A_VERDICT = ("attack", "full", "min_robust", "min_clean")
_OF_OWN_SAMPLES = ("data", "classes", "skip_bad", "n")
_OF_A_MODEL = (*(name for name in DATA_OPTIONS if name not in _OF_OWN_SAMPLES), *MODEL_OPTIONS, "norm")
"""What says how a bundle is made of a model; a bundle has it already."""
_OF_A_CHECK = {"source", "check", "trust", "json"}
"""What can be said beside --check."""


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
    no_attack: Annotated[
        bool, typer.Option("--no-attack", help="Report accuracy, parity and latency alone, without an attack.")
    ] = False,
    attack: AttackName = DEFAULT_ATTACK,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Judge all images, with 9 targets for APGD-T and 5,000 queries for Square, before the verdict.",
        ),
    ] = False,
    seed: DrawnSeed = None,
    eps: Eps = None,
    norm: Norm = "Linf",
    n: Images = 500,
    out: Out = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="A JUnit XML file to write, for CI systems: a test case a gate."),
    ] = None,
    trust: Trusted = None,
    expect_sha256: Annotated[
        str | None,
        typer.Option("--expect-sha256", metavar="HEX", help="The SHA-256 that the bundle's manifest.json must have."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="REPORT", help="An earlier report to check in place of a verification."),
    ] = None,
    json: Json = False,
) -> None:
    """Attack the deployed engine here, and exit with pass (0), fail (1), inconclusive (7) or pass as claimed (8).

    Images are attacked in random order until it is 99 % sure whether every gate is met.
    """
    from edgerkd.bundle.kept import kept_path
    from edgerkd.bundle.read import read_bundle
    from edgerkd.core.requirement import Requirement, check_asked
    from edgerkd.jobs.own_samples import bring
    from edgerkd.report.plain import plain_lines
    from edgerkd.verify.own import Brought
    from edgerkd.verify.run import verify as run
    from edgerkd.verify.trust import trust_in

    cases = None if junit is None else begun(junit, out=out)
    with errors_in(cases):
        keys = trusted_keys(trust)
        asked = None if out is None else _asked_place(out)
    if check is not None:
        _check_report(context, check, source, keys, json=json)
    expected = None if expect_sha256 is None else _digest(expect_sha256)
    requirement = Requirement(min_clean_acc=min_clean, min_robust_acc=min_robust)
    measure = measure or no_attack
    with progress() as bars, errors_in(cases):
        _check_flags(context, source)
        if source is not None and _is_model(source):
            if not measure:
                check_asked(requirement)
            model = replace(model, source=source)
            folders = _bundle_of(model, request, eps=eps, norm=norm, n=n, seed=seed or 0, progress=bars)
            found, brought = read_bundle(folders.bundle), Brought(made_here=True)
        else:
            folders = bundle_folders(None if source is None else Path(source))
            found = read_bundle(folders.bundle)
            given = request if given_flags(context, ("data",)) else None
            brought = bring(given, found.manifest, n=n, eps=radius(eps), progress=bars)
        believed = trust_in(found, keys=keys, sha256=expected)
        target = asked or _usual_place(folders.verification(found.key))
        report = run(
            found,
            engines=folders.engines,
            backend=backend,
            variant=variant,
            profile=profile,
            requirement=requirement,
            measure=measure,
            attack=None if no_attack else attack,
            full=full,
            seed=seed,
            brought=brought,
            heard=lambda plain: bars.say("\n".join(plain_lines(plain))),
            trust=believed,
            keep=None if target is None else kept_path(target),
            progress=bars,
        )
    _finish(report, target, cases, json=json)


def _asked_place(out: Path) -> Path:
    """The file that --out names. Raises ConfigError and StorageError where no report can be written there."""
    from edgerkd.bundle.kept import kept_path
    from edgerkd.core.errors import ConfigError
    from edgerkd.files.atomic import check_writable
    from edgerkd.files.paths import find_kind, given_path, shown
    from edgerkd.files.replaceable import VERIFICATION, check_replaceable
    from edgerkd.verify.signed_report import signature_of

    path = given_path(out)
    check_replaceable(path, VERIFICATION, "--out")
    beside = (kept_path(path), signature_of(path))
    fresh = find_kind(path) is None or not path.stat().st_size
    if fresh and (taken := [each for each in beside if find_kind(each) is not None]):
        raise ConfigError(
            f"--out: {shown(taken[0])} is there, and would be replaced by what belongs to {shown(path.name)}: name "
            "another file, or move that one away."
        )
    for each in (path, *beside):
        check_writable(each)
    return path


def _usual_place(path: Path) -> Path | None:
    """Where a report goes that nobody asked a place for: None, which is said, where that is read-only."""
    from edgerkd.bundle.kept import kept_path
    from edgerkd.core.errors import StorageError
    from edgerkd.files.atomic import check_writable

    try:
        for each in (path, kept_path(path)):
            check_writable(each)
    except StorageError as e:
        note(f"note: the report will be shown and not kept, unless --out names a file: {e}")
        return None
    return path


def _finish(report: "VerifyReport", target: Path | None, junit: Path | None, *, json: bool) -> None:
    """Show the report, keep it, signed, and end with the verdict's exit code."""
    from edgerkd.files.atomic import write_atomic
    from edgerkd.report.junit import junit_xml
    from edgerkd.verify.signed_report import write_report

    try:
        emit_json(report) if json else show_verification(report)
    finally:  # what was hard to come by is kept even where nobody can read it now, and the other way round
        with errors_in(junit):
            if target is not None:
                write_report(target, report, _reporter())
            if junit is not None:
                write_atomic(junit, junit_xml(report))
    if target is not None and not json:
        put_line(f"evidence: {target}")
    _end(report, report.verdict, target)


def _end(report: "VerifyReport", verdict: "Verdict", target: Path | None) -> NoReturn:
    from edgerkd.core.errors import ParityError
    from edgerkd.report.words import parity_words

    if not report.parity.ok:
        raise ParityError(parity_words(report) + ("" if target is None else f"; the report is in {target}"))
    raise VerdictExit(EXIT[verdict])


def _reporter() -> "Signer | None":
    """Who answers for the report; nobody where this machine has no key and can keep none, which is said."""
    from edgerkd.bundle.keys import own_signer
    from edgerkd.core.errors import EdgerkdError

    try:
        return own_signer()
    except EdgerkdError as e:
        note(f"note: the report is not signed: {e}")
        return None


def _check_report(
    context: typer.Context, check: Path, source: str | None, keys: "tuple[Key, ...]", *, json: bool
) -> NoReturn:
    """Check an earlier report, against the bundle too where one is named; end with its verdict's exit code."""
    from edgerkd.bundle.kept import kept_path
    from edgerkd.bundle.read import read_bundle
    from edgerkd.files.paths import given_path
    from edgerkd.verify.signed_report import check_report

    if flags := given_flags(context, {p.name for p in context.command.params if p.name} - _OF_A_CHECK):
        raise typer.BadParameter("says nothing of a report that was made earlier", param_hint=flags[0])
    path = given_path(check)
    checked = check_report(path, None if source is None else read_bundle(given_path(source)), keys)
    emit_json(checked.report) if json else show_verification(checked.report)
    whose = (
        "a key you trust" if checked.trusted else "a key that is not known here; --trust KEY would settle whose it is"
    )
    about = "" if source is None else f", and about {source}"
    (note if json else put_line)(f"checked: as the key {checked.key} signed it, {whose}{about}")
    if checked.report.kept is not None and not (images := kept_path(path)).exists():
        note(f"note: {images.name} is not beside it: each image's outcome was not checked")
    _end(checked.report, checked.verdict, path)


def _digest(text: str) -> str:
    """The digest written. Raises BadParameter for what is no SHA-256."""
    if not is_sha256(text):
        raise typer.BadParameter("a SHA-256 has 64 hexadecimal digits", param_hint="--expect-sha256")
    return text


def _is_model(source: str) -> bool:
    """Whether this is an ONNX graph, and no bundle's folder."""
    return source.endswith(".onnx")


def _check_flags(context: typer.Context, source: str | None) -> None:
    """Raises BadParameter for what does not go together, ConfigError for a file that is no ONNX graph."""
    from edgerkd.cli.bundle import check_data_given
    from edgerkd.core.errors import ConfigError
    from edgerkd.files.paths import find_kind, given_path, shown

    if source is not None and not _is_model(source) and find_kind(given_path(source)) == "a file":
        raise ConfigError(
            f"{shown(source)} is a file, and verify takes a bundle's folder or an ONNX file: make a bundle of other "
            f"networks first, with `edgerkd bundle`."
        )
    if given_flags(context, ("no_attack",)) and (others := given_flags(context, _OF_A_VERDICT)):
        raise typer.BadParameter("is about attacks and verdicts, and --no-attack makes none", param_hint=others[0])
    if given_flags(context, ("measure",)) and (others := given_flags(context, ("min_robust", "min_clean"))):
        raise typer.BadParameter("asks for a verdict, and --measure makes none", param_hint=others[0])
    if given_flags(context, ("factory",)):
        raise typer.BadParameter(
            "verify takes a bundle or an ONNX file: make a bundle of your module first, with `edgerkd bundle --from`",
            param_hint="--from",
        )
    if not given_flags(context, ("data",)) and (others := given_flags(context, _OF_OWN_SAMPLES[1:])):
        raise typer.BadParameter("is about images of your own: name them with --data", param_hint=others[0])
    if source is not None and _is_model(source):
        check_data_given(context)
    elif flags := given_flags(context, _OF_A_MODEL):
        raise typer.BadParameter("is about a network of your own, and a bundle has it already", param_hint=flags[0])


def _bundle_of(
    model: ModelRequest, request: DataRequest, *, eps: str | None, norm: str, n: int, seed: int, progress: "Progress"
) -> "RunFolder":
    """A bundle made on the spot. The host attacks nothing: what is attacked is the engine, next."""
    from edgerkd.core.model_request import VERIFIED
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
    made = make_bundle(VERIFIED / model.name, model, request, asked, alone=False, progress=progress)
    return bundle_folders(made.path)
