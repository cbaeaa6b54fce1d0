"""`edgerkd demo`: every step in a few minutes."""

from edgerkd.cli.export import engine_line
from edgerkd.cli.options import ProfileName, Seed
from edgerkd.cli.output import Json, emit_json, progress, put_line, show_parts, show_verification


def demo(profile: ProfileName = "jetson-orin", seed: Seed = 0, json: Json = False) -> None:
    """Run every step on the embedded digits: train a teacher, distill a student, export, verify and report."""
    from edgerkd.jobs.demo import demo as job
    from edgerkd.jobs.report import checked_facts
    from edgerkd.report.page import write_page
    from edgerkd.report.table import comparison_rows

    with progress() as bars:
        run, verification, exported = job(profile_name=profile, seed=seed, progress=bars)
    facts = checked_facts(run)
    page = write_page(run, facts)
    if json:
        emit_json(verification)
        return
    put_line(engine_line(exported))
    show_verification(verification)
    put_line("")
    show_parts(comparison_rows(facts), f"report: {page}")
