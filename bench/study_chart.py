"""A study's picture as SVG: accuracy under an attack against cost, a dot a run; or on validation images by epoch.

python bench/study_chart.py docs/measured/STUDY.json --attack apgd --svg FILE [--case NAME] [--run NAME ...]
python bench/study_chart.py docs/measured/STUDY.json --epochs --svg FILE [--case NAME] [--run NAME ...]
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from result import Result, results_in, unpacked

from edgerkd.report.markup import Markup, tag

LEFT, RIGHT, TOP, BOTTOM = 60.0, 500.0, 30.0, 320.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """From 0 to `most` on the horizontal axis and from 0 to `highest`, a share, on the vertical one."""

    most: float
    highest: float

    def x(self, value: float) -> str:
        """From the left of the view box."""
        return f"{LEFT + (RIGHT - LEFT) * value / self.most:.1f}"

    def y(self, share: float) -> str:
        """From its top."""
        return f"{BOTTOM - (BOTTOM - TOP) * share / self.highest:.1f}"

    def frame(self, title: str, below: str, form: str) -> Iterable[Markup]:
        """Title, axes and their labels."""
        yield tag("rect", x=0, y=0, width=760, height=370, fill="white")
        yield tag("text", title, x=LEFT, y=18)
        yield tag("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, stroke="black")
        yield tag("line", x1=LEFT, x2=LEFT, y1=TOP, y2=BOTTOM, stroke="black")
        yield tag("text", below, x=(LEFT + RIGHT) / 2, y=BOTTOM + 38, text_anchor="middle")
        for i in range(6):
            value, share = self.most * i / 5, self.highest * i / 5
            yield tag("text", format(value, form), x=self.x(value), y=BOTTOM + 18, text_anchor="middle")
            yield tag("text", f"{share:.0%}", x=LEFT - 8, y=self.y(share), text_anchor="end")


def legend(hue: dict[str, str]) -> Iterable[Markup]:
    """The runs' names beside their colours."""
    for i, (name, colour) in enumerate(hue.items()):
        yield tag("circle", cx=RIGHT + 20, cy=TOP + 20 * i, r=5, fill=colour)
        yield tag("text", name, x=RIGHT + 32, y=TOP + 20 * i + 4, font_size=12)


def drawn(
    results: Sequence[Result], axes: Axes, title: str, below: str, form: str, mark: Callable[[Result, str], Markup]
) -> Markup:
    """A mark a result, in its run's colour."""
    names = list(dict.fromkeys(r.run for r in results))
    hue = {name: f"hsl({360 * i // len(names)} 70% 40%)" for i, name in enumerate(names)}
    parts = [*axes.frame(title, below, form), *(mark(r, hue[r.run]) for r in results), *legend(hue)]
    return tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox="0 0 760 370", font_family="sans-serif")


def by_cost(results: Sequence[Result], attack: str, title: str) -> Markup:
    """What stays right under the attack against minutes of one core."""
    found = {id(r): float(unpacked(r.correct[attack]).mean()) for r in results}
    axes = Axes(most=1.1 * max(r.minutes for r in results), highest=max(0.1, 1.1 * max(found.values())))

    def dot(r: Result, colour: str) -> Markup:
        share = found[id(r)]
        words = tag("title", f"{r.run}, seed {r.seed}: {share:.1%} in {r.minutes:.1f} minutes")
        return tag("circle", words, cx=axes.x(r.minutes), cy=axes.y(share), r=5, fill=colour)

    return drawn(results, axes, title, f"minutes of one core; test images, {attack}", ".1f", dot)


def by_epoch(results: Sequence[Result], title: str) -> Markup:
    """What stays right on the validation images under PGD-10, after each epoch: a collapse shows."""
    axes = Axes(
        most=float(max(len(r.epochs_acc) for r in results)),
        highest=max(0.1, 1.1 * max(robust for r in results for _, robust in r.epochs_acc)),
    )

    def line(r: Result, colour: str) -> Markup:
        points = " ".join(f"{axes.x(i)},{axes.y(robust)}" for i, (_, robust) in enumerate(r.epochs_acc, 1))
        return tag("polyline", tag("title", f"{r.run}, seed {r.seed}"), points=points, stroke=colour, fill="none")

    return drawn(results, axes, title, "epochs; validation images, PGD-10", ".0f", line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a file that bench/study.py wrote")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--attack", help="one of the plan's")
    kind.add_argument("--epochs", action="store_true")
    parser.add_argument("--svg", type=Path, required=True)
    parser.add_argument("--case")
    parser.add_argument("--run", nargs="+", help="these runs alone")
    args = parser.parse_args()
    results = [
        r for r in results_in(args.study) if args.case in (None, r.case) and (args.run is None or r.run in args.run)
    ]
    title = f"{results[0].case}: {results[0].student}"
    args.svg.write_text(by_epoch(results, title) if args.epochs else by_cost(results, args.attack, title))


if __name__ == "__main__":
    main()
