"""The training, epoch by epoch."""

from collections.abc import Sequence

from edgerkd.core.epoch import Epoch
from edgerkd.report.chart import accuracy_chart, small_chart
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.parts import NOTHING, data_table, pairs, section
from edgerkd.report.table import Table
from edgerkd.report.words import TERMS, percent


def training(facts: Facts) -> Markup:
    """Curves."""
    if facts.record is None or not facts.epochs:
        return NOTHING
    epochs, recipe = facts.epochs, facts.record.recipe
    curves = {
        "clean": [(e.epoch, e.val_clean_acc) for e in epochs],
        "robust": [(e.epoch, e.val_robust_acc) for e in epochs],
    }
    last = max(recipe.epochs, epochs[-1].epoch)
    names = list(dict.fromkeys(name for e in epochs for name in e.terms))
    figures = [_term(name, [(e.epoch, e.terms[name]) for e in epochs if name in e.terms], last) for name in names]
    seconds = sum(e.seconds for e in epochs)
    summary = [
        ("method", recipe.method),
        ("epochs", f"{len(epochs)} of {recipe.epochs}"),
        ("time", f"{seconds:,.0f} s in all" if seconds >= 100 else f"{seconds:.3g} s in all"),
        ("speed", f"{epochs[-1].images_per_second:,.0f} images/s in the last epoch"),
        ("batch", f"{recipe.batch}"),
        ("peak learning rate", f"SGD {recipe.lr:g}" + f", Muon {recipe.lr_muon:g}" * (recipe.optimizer == "muon")),
    ]
    lines = _epochs_table(epochs, names)
    return section(
        "Training",
        tag(
            "p",
            "Accuracy on the validation split, with a short attack. It serves to choose the epoch whose weights "
            "are kept, and is not the robust accuracy reported above. The test split is not looked at in training.",
            class_="aside",
        ),
        tag("div", accuracy_chart(curves, last), pairs(summary), class_="beside"),
        tag("h3", "Terms of the loss"),
        tag(
            "p",
            "Weighted as they were summed; each from 0 to its own greatest value, over the whole run.",
            class_="aside",
        ),
        tag("div", *figures, class_="terms"),
        tag("details", tag("summary", "Every epoch as a table"), data_table(lines, "metrics.jsonl", kind="scrolls")),
    )


def _epochs_table(epochs: Sequence[Epoch], names: Sequence[str]) -> Table:
    """A line an epoch, with the loss's terms of these `names`."""
    return Table(
        ("epoch", "clean", "robust", "learning rate", "seconds", "images/s", *names),
        tuple(
            (
                f"{e.epoch}",
                percent(e.val_clean_acc),
                percent(e.val_robust_acc),
                f"{e.lr:.3g}",
                f"{e.seconds:.1f}",
                f"{e.images_per_second:,.0f}",
                *(f"{e.terms[name]:.4g}" if name in e.terms else "" for name in names),
            )
            for e in epochs
        ),
    )


def _term(name: str, points: Sequence[tuple[int, float]], epochs: int) -> Markup:
    (first, start), (end, stop) = points[0], points[-1]
    span = f"epoch {first}" if first == end else f"epochs {first} to {end}"
    words = join(tag("span", f"{start:.3g} → {stop:.3g}"), tag("span", span))
    title = TERMS.get(name, name)
    return tag("figure", tag("figcaption", title, words), small_chart(title, points, epochs))
