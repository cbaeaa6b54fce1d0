"""`edgerkd evaluate`: clean and robust accuracy of a run's student."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerkd.cli.options import AttackName, Eps, Run, Seed, radius, run_folder
from edgerkd.cli.output import Json, emit_json, progress, put_line, show_table
from edgerkd.core.record import Record

if TYPE_CHECKING:
    from edgerkd.core.comparison import Comparison, Paired
    from edgerkd.core.curve import CurveReport
    from edgerkd.core.evaluation import Evaluation
    from edgerkd.core.run import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacks(Record):
    """What `--attack` takes, and what each is."""

    attacks: dict[str, str]


def evaluate(
    run: Run = None,
    attack: AttackName = "pgd",
    eps: Eps = None,
    norm: Annotated[str | None, typer.Option("--norm", help="Linf or L2; the run's own if not given.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="Test images, drawn by class; all if not given.", min=1)] = None,
    curve: Annotated[
        str | None, typer.Option("--curve", help="Radii like 0,2/255,4/255,8/255: accuracy at each, and a picture.")
    ] = None,
    with_teacher: Annotated[bool, typer.Option("--with-teacher", help="With --curve: the teacher's as well.")] = False,
    against: Annotated[
        Path | None, typer.Option("--against", help="Another run's folder: compare the two students image by image.")
    ] = None,
    eot: Annotated[
        int, typer.Option("--eot", help="For networks that answer at random: attack the mean of so many calls.", min=1)
    ] = 1,
    seed: Seed = 0,
    list_attacks: Annotated[
        bool, typer.Option("--list-attacks", help="List what --attack takes, and what each is; attack nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Attack the student of the newest run, on the host, and print its clean and robust accuracy.

    A stopped evaluation goes on where it was when it is started again with the same flags. Under
    `torchrun --nproc-per-node=N -m -- edgerkd evaluate` N processes share the work.
    """
    if list_attacks:
        _show_attacks(json=json)
        return
    _check_together(curve=curve, eps=eps, against=against, with_teacher=with_teacher)
    from edgerkd.core.curve import parse_radii
    from edgerkd.jobs.compare import compare_runs
    from edgerkd.jobs.curve import draw_curve
    from edgerkd.jobs.evaluate import Request, evaluate_run

    request = Request(attack=attack, eps=radius(eps), norm=norm, n=n, seed=seed, eot=eot)
    radii = None if curve is None else parse_radii(curve)
    folder = run_folder(run)
    other = None if against is None else run_folder(against, "--against")

    def show(found: "Evaluation | CurveReport | Comparison") -> None:
        emit_json(found) if json else _show(found, folder)

    with progress() as bars:
        if radii is not None:
            draw_curve(folder, request, radii, with_teacher=with_teacher, progress=bars, show=show)
        elif other is not None:
            compare_runs(folder, other, request, progress=bars, show=show)
        else:
            evaluate_run(folder, request, progress=bars, show=show)


def _show_attacks(*, json: bool) -> None:
    from edgerkd.attacks.suite import ATTACKS, descriptions

    if json:
        emit_json(Attacks(attacks=descriptions()))
        return
    sources = {name: "; ".join(attack.sources) for name, attack in ATTACKS.items()}
    show_table(
        ["attack", "what it is", "source"],
        [(name, words, sources.get(name, "")) for name, words in descriptions().items()],
    )


def _check_together(*, curve: str | None, eps: str | None, against: Path | None, with_teacher: bool) -> None:
    if curve is not None and eps is not None:
        raise typer.BadParameter("give --curve with all its radii, or --eps with one")
    if curve is not None and against is not None:
        raise typer.BadParameter("--curve and --against are two commands: give one of them")
    if with_teacher and curve is None:
        raise typer.BadParameter("--with-teacher goes with --curve")


def _show(found: "Evaluation | CurveReport | Comparison", folder: "RunFolder") -> None:
    from edgerkd.attacks.words import flag_words, title_of
    from edgerkd.core.comparison import Comparison
    from edgerkd.core.curve import CurveReport
    from edgerkd.report.table import class_table
    from edgerkd.report.words import missing_words, sample_words

    if isinstance(found, CurveReport):
        from edgerkd.report.curve import curve_table

        show_table(*curve_table(found))
        _show_end(
            f"{found.norm}, {sample_words(found.n, found.of, found.seed)}, {', '.join(map(title_of, found.attacks))}",
            map(flag_words, found.flags),
        )
        put_line(f"picture: {folder.curve_page}")
    elif isinstance(found, Comparison):
        show_table(
            ["network", "clean", "robust"], [(e.name, e.clean_acc, e.robust_acc) for e in (found.first, found.second)]
        )
        names = (found.first.name, found.second.name)
        pairs = (("clean", found.clean), ("robust", found.robust))
        show_table(
            ["images", "both right", *(f"only {name}" for name in names), "neither", "difference", "p"],
            [_pair_row(name, pair) for name, pair in pairs],
        )
        first = found.first
        _show_end(
            f"{first.threat_model}, {sample_words(first.n, first.of, first.seed)}; difference: first less second, with "
            "Newcombe's paired 95 % interval; p: McNemar's exact test",
            map(flag_words, found.flags),
        )
    else:
        rows = [
            ("clean", "", found.clean_acc),
            *((title_of(row.attack), row.source, row.robust_acc) for row in found.rows),
        ]
        show_table(["attack", "source", "accuracy"], [*rows, ("worst case", "", found.robust_acc)])
        show_table(*class_table(found.by_class))
        sample = sample_words(found.n, found.of, found.seed)
        _show_end(f"{found.threat_model}, {sample}", [*missing_words(found.by_class), *map(flag_words, found.flags)])


def _pair_row(name: str, pair: "Paired") -> tuple[object, ...]:
    return (name, pair.both, pair.only_first, pair.only_second, pair.neither, pair, f"{pair.p_value:.3g}")


def _show_end(line: str, flags: Iterable[str]) -> None:
    put_line(line)
    for flag in flags:
        put_line(f"note: {flag}")
