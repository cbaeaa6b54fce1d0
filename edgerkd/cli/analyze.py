"""`edgerkd analyze`: what lies behind a network's robustness."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.cli.options import Run, Seed, run_folder
from edgerkd.cli.output import Json, emit_json, progress, put_line, show_table

if TYPE_CHECKING:
    from edgerkd.core.variance_gap import VarianceGapReport


class Analysis(str, Enum):
    """What to measure."""

    variance_gap = "variance-gap"


def analyze(
    what: Annotated[Analysis, typer.Argument(help="What to measure.")],
    run: Run = None,
    others: Annotated[
        list[Path] | None, typer.Option("--with", help="Another run's folder: its student as well. May be repeated.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="Test images; 1,000 at most if not given.", min=2)] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure how much further a network's features spread under attack, against its robust accuracy.

    For the run's student and its teacher, at radii up to twice the threat model's, and for each epoch of training
    that noted it: Pearson's r, a picture, and where the published trend (the larger the gap, the less robust) fails.
    """
    from edgerkd.jobs.analyze import variance_gap_of
    from edgerkd.report.variance_gap import correlation_table, gap_table

    folder = run_folder(run)
    students = [run_folder(other, "--with") for other in others or ()]

    def show(found: "VarianceGapReport") -> None:
        if json:
            emit_json(found)
            return
        show_table(*gap_table(found))
        show_table(*correlation_table(found))
        put_line(f"{found.threat_model.norm}, {found.n} of {found.of} test images, {found.attack}")
        for flag in found.flags:
            put_line(f"note: {flag}")
        put_line(f"picture: {folder.variance_gap_page}")

    with progress() as bars:
        variance_gap_of(folder, students, n=n, seed=seed, progress=bars, show=show)
