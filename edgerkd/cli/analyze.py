"""`edgerkd analyze`: what lies behind a network's robustness."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.cli.help import PlainCommand, command_group
from edgerkd.cli.options import Run, Seed, run_folder
from edgerkd.cli.output import Json, emit_json, progress, show_parts

if TYPE_CHECKING:
    from edgerkd.core.variance_gap import VarianceGapReport

analyze = command_group("analyze", "Measure what lies behind the robustness of a run's networks.")


@analyze.command("variance-gap", cls=PlainCommand)
def variance_gap(
    run: Run = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="FOLDER", help="Another run, whose student is measured too; repeatable."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", metavar="NUMBER", help="Test images to use; at most 1,000 if not given.", min=2)
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure how far a network's features and scores move under attack, against its robust accuracy.

    The run's student and its teacher are attacked at radii up to twice the threat model's; epochs of training that
    recorded the gap are shown too. The result has Pearson's r and charts, and says where the published trend (the
    larger the gap, the less robust) fails. Name two or more other runs by --with to compare networks at one radius:
    within one network the radius alone explains most.
    """
    from edgerkd.jobs.analyze import variance_gap_of
    from edgerkd.report.variance_gap import ACROSS, LEGEND, SIGNED, across_table, gap_table, radii_table

    folder = run_folder(run)
    students = [run_folder(other, "--with") for other in others or ()]

    def show(found: "VarianceGapReport") -> None:
        if json:
            emit_json(found)
            return
        sample = f"{found.threat_model.norm}, {found.n} of {found.of} test images, {found.attack}"
        notes = [f"note: {flag}" for flag in (*found.flags, ACROSS, SIGNED)]
        end = "\n".join([sample, LEGEND, *notes, f"chart: {folder.variance_gap_page}"])
        across = across_table(found)
        show_parts(gap_table(found), radii_table(found), *([across] if across.rows else []), end)

    with progress() as bars:
        variance_gap_of(folder, students, n=n, seed=seed, progress=bars, show=show)
