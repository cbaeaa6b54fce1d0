"""`edgerkd report`: one HTML page of a run or a bundle, of two verifications, or properties for formal verifiers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.cli.options import Out, Run, bundle_folders, run_folder
from edgerkd.cli.output import Json, emit_json, note, put_line, show_parts

if TYPE_CHECKING:
    from edgerkd.core.run import RunFolder


def report(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="A bundle's folder; the run's own if not given.")
    ] = None,
    run: Run = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A B", help="Two verifications: reports, bundles, or folders of runs."),
    ] = None,
    vnnlib: Annotated[
        Path | None,
        typer.Option("--vnnlib", metavar="FOLDER", help="A folder for graph and images as VNN-LIB properties."),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option("--variant", metavar="NAME", help="With --vnnlib: the variant; the verified one if not given."),
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Write the HTML page of a run or a bundle and print its path, or with --json its facts.

    With --compare the page is about two verifications, and the tables are printed. With --vnnlib no page is written,
    but properties for formal verifiers.
    """
    _check_together(
        bundle=bundle, run=run, compare=compare, vnnlib=vnnlib, variant=variant, page=json or out is not None
    )
    from edgerkd.files.paths import given_path, result_folder

    target = None if out is None else given_path(out)
    if compare is not None:
        _compare(compare, target, json=json)
        return
    folder = run_folder(run) if bundle is None else bundle_folders(bundle)
    if vnnlib is not None:
        _write_vnnlib(folder, result_folder(vnnlib, "--vnnlib"), variant)
        return
    from edgerkd.jobs.report import checked_facts
    from edgerkd.report.load import undone
    from edgerkd.report.page import write_page

    page = target or folder.page
    _check_page(page, out)
    facts = checked_facts(folder)
    if json:
        emit_json(facts)
    write_page(folder, facts, page)
    if json:
        return
    put_line(str(page))
    for line in undone(facts):
        note(line)


def _check_together(
    *,
    bundle: Path | None,
    run: Path | None,
    compare: tuple[Path, Path] | None,
    vnnlib: Path | None,
    variant: str | None,
    page: bool,
) -> None:
    """Raises BadParameter for what does not go together."""
    if bundle is not None and run is not None:
        raise typer.BadParameter("names a run, and BUNDLE a bundle: give one of them", param_hint="--run")
    if compare is not None and (bundle is not None or run is not None or vnnlib is not None):
        raise typer.BadParameter("names both verifications: give nothing else to report on", param_hint="--compare")
    if vnnlib is not None and page:
        raise typer.BadParameter("writes a folder and no page: leave out --json and --out", param_hint="--vnnlib")
    if variant is not None and vnnlib is None:
        raise typer.BadParameter("says whose graph is written by --vnnlib", param_hint="--variant")


def _check_page(page: Path, asked: Path | None) -> None:
    """Raises ConfigError and StorageError where no page can be written there."""
    from edgerkd.files.atomic import check_writable
    from edgerkd.files.replaceable import PAGE, check_replaceable

    check_replaceable(page, PAGE, None if asked is None else "--out")
    check_writable(page)


def _compare(both: tuple[Path, Path], out: Path | None, *, json: bool) -> None:
    from edgerkd.core.run import COMPARISON_PAGE
    from edgerkd.files.atomic import write_atomic
    from edgerkd.files.paths import given_path
    from edgerkd.report.compare import (
        change_words,
        compare,
        figures_table,
        judged_table,
        paired_table,
        render_comparison,
        report_in,
    )
    from edgerkd.verify.signed_report import check_unchanged

    page = out or Path(COMPARISON_PAGE)
    _check_page(page, out)
    found = compare(given_path(both[0]), given_path(both[1]))
    for path in both:
        check_unchanged(report_in(given_path(path)))
    if json:
        emit_json(found)
    write_atomic(page, render_comparison(found))
    if not json:
        tables = [table for table in (figures_table(found), judged_table(found), paired_table(found)) if table.rows]
        show_parts(*tables, "\n".join([*change_words(found), f"page: {page}"]))


def _write_vnnlib(folder: "RunFolder", target: Path, name: str | None) -> None:
    from edgerkd.bundle.read import read_bundle
    from edgerkd.report.vnnlib import OF_ALL, write_judged

    found = write_judged(folder, read_bundle(folder.bundle), target, name)
    put_line(f"{target}: {found.variant.graph} and {found.count} properties, in VNN-LIB 1.0 and 2.0")
    if found.count < found.of:
        note(f"note: {found.of} images of the verifier's own were judged, of which {found.count} are kept. {OF_ALL}")
