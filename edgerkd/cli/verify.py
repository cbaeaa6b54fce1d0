"""`edgerkd verify`: is the deployed engine robust? Runs without torch."""

from typing import Annotated

import typer

from edgerkd.cli.build import Bundle
from edgerkd.cli.main import VerdictExit
from edgerkd.cli.options import AttackName, Backend, Out, Seed, Variant, bundle_folders
from edgerkd.cli.output import Json, emit_json, progress, put_line, show_verification

EXIT = {"pass": 0, "fail": 1, "inconclusive": 7, "measured": 0}

MinRobust = Annotated[
    float | None,
    typer.Option("--min-robust", metavar="SHARE", help="The robust accuracy required, such as 0.4.", min=0, max=1),
]
MinClean = Annotated[
    float | None,
    typer.Option("--min-clean", metavar="SHARE", help="The clean accuracy required, such as 0.8.", min=0, max=1),
]


def verify(
    bundle: Bundle = None,
    backend: Backend = None,
    variant: Variant = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="The device whose requirements in the bundle count.")
    ] = None,
    min_clean: MinClean = None,
    min_robust: MinRobust = None,
    measure: Annotated[bool, typer.Option("--measure", help="Report the figures without a verdict.")] = False,
    attack: AttackName = "pgd",
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Attack the deployed engine on this machine, and exit with pass (0), fail (1) or inconclusive (7)."""
    from edgerkd.bundle.read import read_bundle
    from edgerkd.core.requirement import Requirement
    from edgerkd.files.atomic import check_writable, write_atomic
    from edgerkd.files.decode import encode_json
    from edgerkd.files.paths import given_path
    from edgerkd.verify.run import verify as run

    folders = bundle_folders(bundle)
    found = read_bundle(folders.bundle)
    target = folders.verification(found.key) if out is None else given_path(out)
    check_writable(target)
    with progress() as bars:
        report = run(
            found,
            engines=folders.engines,
            backend=backend,
            variant=variant,
            profile=profile,
            requirement=Requirement(min_clean_acc=min_clean, min_robust_acc=min_robust),
            measure=measure,
            attack=attack,
            seed=seed,
            progress=bars,
        )
    try:
        emit_json(report) if json else show_verification(report)
    finally:  # what was hard to come by is kept even where nobody can read it now, and the other way round
        write_atomic(target, encode_json(report))
    if not json:
        put_line(f"evidence: {target}")
    if not report.parity.ok:
        from edgerkd.core.errors import ParityError
        from edgerkd.report.words import parity_words

        raise ParityError(f"{parity_words(report)}; the report is in {target}")
    raise VerdictExit(EXIT[report.verdict])
