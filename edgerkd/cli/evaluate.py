"""`edgerkd evaluate`: clean and robust accuracy of a run's student, or of a network of one's own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.cli.bundle import check_data_given
from edgerkd.cli.model_options import MODEL_OPTIONS, with_model
from edgerkd.cli.options import DATA_OPTIONS, AttackName, Eps, Run, Seed, given_flags, radius, run_folder, with_data
from edgerkd.cli.output import Json, emit_json, progress, show_parts
from edgerkd.core.data_request import DataRequest
from edgerkd.core.model_request import ModelRequest
from edgerkd.core.record import Record

if TYPE_CHECKING:
    from edgerkd.core.comparison import Comparison
    from edgerkd.core.curve import CurveReport
    from edgerkd.core.evaluation import Evaluation
    from edgerkd.core.flag import Flag
    from edgerkd.core.run import RunFolder
    from edgerkd.jobs.evaluate import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacks(Record):
    """What `--attack` takes, and what each is."""

    attacks: dict[str, str]


_OF_A_MODEL = (*DATA_OPTIONS, *MODEL_OPTIONS, "out")
_OF_A_RUN = ("run", "curve", "with_teacher", "against")


@with_model
@with_data
def evaluate(
    context: typer.Context,
    request: DataRequest,
    model: ModelRequest,
    source: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A network of your own, such as an ONNX file, judged on --data."),
    ] = None,
    run: Run = None,
    attack: AttackName = "pgd",
    eps: Eps = None,
    norm: Annotated[
        str | None, typer.Option("--norm", metavar="NORM", help="Linf or L2; the run's own if not given.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", metavar="NUMBER", help="Test images to use, drawn by class; all if not given.", min=1),
    ] = None,
    curve: Annotated[
        str | None,
        typer.Option(
            "--curve", metavar="RADII", help="Radii such as 0,2/255,4/255,8/255: the accuracy at each, and a chart."
        ),
    ] = None,
    with_teacher: Annotated[bool, typer.Option("--with-teacher", help="With --curve: the teacher as well.")] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FOLDER", help="Another run: the two students are compared image by image."),
    ] = None,
    eot: Annotated[
        int,
        typer.Option(
            "--eot",
            metavar="NUMBER",
            help="For networks with random outputs: the number of calls whose mean is attacked.",
            min=1,
        ),
    ] = 1,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Gradients in float32 even where bfloat16 is faster; answers always are."),
    ] = False,
    seed: Seed = 0,
    list_attacks: Annotated[
        bool, typer.Option("--list-attacks", help="List what --attack takes, and what each is; attack nothing.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="With MODEL: a JSON file to write.")] = None,
    json: Json = False,
) -> None:
    """Attack a run's student, or the network MODEL, on the host, and print its clean and robust accuracy.

    An evaluation that was stopped resumes when the same command is given again. Under
    `torchrun --nproc-per-node=N -m -- edgerkd evaluate` N processes share the work.
    """
    if list_attacks:
        _show_attacks(json=json)
        return
    _check_subject(context, source)
    _check_together(curve=curve, eps=eps, against=against, with_teacher=with_teacher)
    from edgerkd.core.curve import parse_radii
    from edgerkd.jobs.compare import compare_runs
    from edgerkd.jobs.curve import draw_curve
    from edgerkd.jobs.evaluate import Request, evaluate_run

    asked = Request(attack=attack, eps=radius(eps), norm=norm, n=n, seed=seed, eot=eot, exact=exact)
    if source is not None:
        _evaluate_model(replace(model, source=source), request, asked, out, json=json)
        return
    radii = None if curve is None else parse_radii(curve)
    folder = run_folder(run)
    other = None if against is None else run_folder(against, "--against")

    def show(found: "Evaluation | CurveReport | Comparison") -> None:
        emit_json(found) if json else _show(found, folder)

    with progress() as bars:
        if radii is not None:
            draw_curve(folder, asked, radii, with_teacher=with_teacher, progress=bars, show=show)
        elif other is not None:
            compare_runs(folder, other, asked, progress=bars, show=show)
        else:
            evaluate_run(folder, asked, progress=bars, show=show)


def _show_attacks(*, json: bool) -> None:
    from edgerkd.attacks.suite import ATTACKS, descriptions

    if json:
        emit_json(Attacks(attacks=descriptions()))
        return
    from edgerkd.report.text_table import Table

    sources = {name: "; ".join(attack.sources) for name, attack in ATTACKS.items()}
    rows = tuple((name, words, sources.get(name, "")) for name, words in descriptions().items())
    show_parts(Table(("attack", "what it is", "source"), rows))


def _evaluate_model(model: ModelRequest, data: DataRequest, asked: "Request", out: Path | None, *, json: bool) -> None:
    from edgerkd.files.paths import given_path
    from edgerkd.jobs.evaluate_model import evaluate_model

    show = emit_json if json else _show_evaluation
    target = None if out is None else given_path(out)
    with progress() as bars:
        evaluate_model(model, data, asked, out=target, progress=bars, show=show)


def _check_subject(context: typer.Context, source: str | None) -> None:
    """Raises BadParameter where something is said of a run and it is a model that is attacked, or the other way."""
    if flags := given_flags(context, _OF_A_MODEL if source is None else _OF_A_RUN):
        of = "a network of your own: name MODEL" if source is None else "a run: leave it out, or leave MODEL out"
        raise typer.BadParameter(f"is about {of}", param_hint=flags[0])
    if source is not None:
        check_data_given(context)


def _check_together(*, curve: str | None, eps: str | None, against: Path | None, with_teacher: bool) -> None:
    if curve is not None and eps is not None:
        raise typer.BadParameter("--curve and --eps cannot be combined: --curve has radii of its own")
    if curve is not None and against is not None:
        raise typer.BadParameter("--curve and --against cannot be combined: give one of them")
    if with_teacher and curve is None:
        raise typer.BadParameter("--with-teacher needs --curve")


def _show(found: "Evaluation | CurveReport | Comparison", folder: "RunFolder") -> None:
    from edgerkd.core.comparison import Comparison
    from edgerkd.core.curve import CurveReport

    if isinstance(found, CurveReport):
        _show_curve(found, folder)
    elif isinstance(found, Comparison):
        _show_comparison(found)
    else:
        _show_evaluation(found)


def _show_curve(found: "CurveReport", folder: "RunFolder") -> None:
    from edgerkd.attacks.words import title_of
    from edgerkd.report.curve import curve_table
    from edgerkd.report.words import sample_words

    how = f"{found.norm}, {sample_words(found.n, found.of, found.seed)}, {', '.join(map(title_of, found.attacks))}"
    show_parts(curve_table(found), f"{_end(how, found.flags)}\nchart: {folder.curve_page}")


def _show_comparison(found: "Comparison") -> None:
    from edgerkd.report.compare import pair_row
    from edgerkd.report.text_table import Table
    from edgerkd.report.words import sample_words

    first, second = found.first, found.second
    networks = tuple((e.name, str(e.clean_acc), str(e.robust_acc)) for e in (first, second))
    headers = ("images", "both correct", f"only {first.name}", f"only {second.name}", "neither", "difference", "p")
    pairs = (pair_row("clean", found.clean), pair_row("robust", found.robust))
    how = (
        f"{first.threat_model}, {sample_words(first.n, first.of, first.seed)}; difference: first less second, with "
        "Newcombe's paired 95 % interval; p: McNemar's exact test"
    )
    show_parts(Table(("network", "clean", "robust"), networks), Table(headers, pairs), _end(how, found.flags))


def _show_evaluation(found: "Evaluation") -> None:
    from edgerkd.attacks.words import title_of
    from edgerkd.report.table import class_table
    from edgerkd.report.text_table import Table
    from edgerkd.report.words import missing_words, sample_words

    rows = (
        ("clean", "", str(found.clean_acc)),
        *((title_of(row.attack), row.source, str(row.robust_acc)) for row in found.rows),
        ("worst case", "", str(found.robust_acc)),
    )
    led = "" if found.gradients == "float32" else f"; gradients in {found.gradients}, answers in float32 (--exact)"
    how = f"{found.threat_model}, {sample_words(found.n, found.of, found.seed)}{led}"
    end = _end(how, found.flags, missing_words(found.by_class))
    show_parts(Table(("attack", "source", "accuracy"), rows), class_table(found.by_class), end)


def _end(line: str, flags: "Iterable[Flag]", notes: Iterable[str] = ()) -> str:
    from edgerkd.attacks.words import flag_words

    return "\n".join([line, *(f"note: {note}" for note in (*notes, *map(flag_words, flags)))])
