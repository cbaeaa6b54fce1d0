"""`edgerkd verify`: is the deployed engine robust? Runs without torch."""

from typing import Annotated

import typer

from edgerkd.cli.build import Bundle
from edgerkd.cli.options import AttackName, Seed, bundle_folders
from edgerkd.cli.output import Json, emit_json, progress

EXIT = {"pass": 0, "fail": 1, "inconclusive": 7}


def verify(
    bundle: Bundle = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="The runtime to attack; the best here if not given.")
    ] = None,
    attack: AttackName = "pgd",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Attack the deployed engine on this machine, and say pass (0), fail (1) or inconclusive (7)."""
    from edgerkd.verify.run import verify as run

    folders = bundle_folders(bundle)
    with progress() as bars:
        report = run(
            folders.bundle,
            target=folders.verification,
            engines=folders.engines,
            runtime_name=runtime,
            attack=attack,
            seed=seed,
            progress=bars,
        )
    if json:
        emit_json(report)
    else:
        from edgerkd.report.table import show_verification

        show_verification(report)
        typer.echo(f"evidence: {folders.verification}")
    raise typer.Exit(EXIT[report.verdict])
