"""`edgerkd verify`: is the deployed engine robust? Runs without torch."""

from typing import Annotated

import typer

from edgerkd.cli.build import Bundle
from edgerkd.cli.main import VerdictExit
from edgerkd.cli.options import AttackName, Out, Seed, bundle_folders
from edgerkd.cli.output import Json, emit_json, progress, put_line, show_verification

EXIT = {"pass": 0, "fail": 1, "inconclusive": 7}


def verify(
    bundle: Bundle = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", metavar="NAME", help="The runtime to attack; the best here if not given.")
    ] = None,
    attack: AttackName = "pgd",
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Attack the deployed engine on this machine, and exit with pass (0), fail (1) or inconclusive (7)."""
    from edgerkd.core.errors import ParityError
    from edgerkd.files.atomic import check_writable, write_atomic
    from edgerkd.files.decode import encode_json
    from edgerkd.files.paths import given_path
    from edgerkd.verify.run import verify as run

    folders = bundle_folders(bundle)
    target = folders.verification if out is None else given_path(out)
    check_writable(target)
    with progress() as bars:
        report = run(
            folders.bundle, engines=folders.engines, runtime_name=runtime, attack=attack, seed=seed, progress=bars
        )
    try:
        emit_json(report) if json else show_verification(report)
    finally:  # what was hard to come by is kept even where nobody can read it now, and the other way round
        write_atomic(target, encode_json(report))
    if not json:
        put_line(f"evidence: {target}")
    if not report.parity.ok:
        raise ParityError(f"{report.reasons[0]}; the report is in {target}")
    raise VerdictExit(EXIT[report.verdict])
