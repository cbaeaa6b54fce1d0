"""The parts of the page, from the verdict to its limits. Each maps the facts to HTML, or to nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.evaluation import Row
from edgerkd.core.record import Record
from edgerkd.report.chart import accuracy_chart, interval_bar, legend, small_chart
from edgerkd.report.load import Facts, undone
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.table import (
    Table,
    attack_table,
    budget_table,
    comparison_rows,
    gate_table,
    latency_table,
    networks,
    parity_table,
)
from edgerkd.report.words import (
    GATES,
    GATES_MEANING,
    HEADLINES,
    LIMITS,
    METHODS,
    NETWORKS,
    SOURCES,
    TERMS,
    interval,
    milliseconds,
    percent,
    threat_words,
)

_NOTHING = Markup("")

_SIGNS = {"pass": "M9 16.5 14 21.5 23 11", "fail": "M11 11 21 21 M21 11 11 21", "inconclusive": "M10 16 22 16"}

_TONES = {
    **dict.fromkeys(("pass", "within", "yes"), "good"),
    **dict.fromkeys(("fail", "exceeded", "NO"), "bad"),
    **dict.fromkeys(("inconclusive", "not judged here"), "open"),
}


def verdict(facts: Facts) -> Markup:
    """The banner: the verdict, why, and what exactly it is about."""
    report = facts.verification
    if report is None:
        return tag(
            "section",
            _sign("inconclusive", "NOT VERIFIED"),
            tag("p", "No engine has been attacked. What follows was measured on the host only.", class_="meaning"),
            class_="verdict",
        )
    word, meaning = HEADLINES[report.verdict]
    why = list(report.reasons)
    if facts.stale:
        why.insert(0, "the run's bundle has been exported anew since: this verdict is about the earlier one")
    if open_limits := [LIMITS.get(b.limit, b.limit) for b in report.budget if b.ok is None]:
        why.append(f"not judged on this machine: {', '.join(open_limits)}")
    engine = report.engine
    return tag(
        "section",
        _sign(report.verdict, word),
        tag("p", f"{meaning[0].upper()}{meaning[1:]}.", class_="meaning"),
        _bullets(why),
        tag("p", "This verdict is about the following, and about nothing else:"),
        _pairs(
            [
                ("runtime", f"{engine.runtime} {engine.version}"),
                ("device", engine.device),
                ("precision", engine.precision),
                ("engine file", tag("code", f"sha256 {engine.sha256[:12]}")),
                ("threat model", f"{report.threat_model}: {threat_words(report.threat_model)}"),
                ("images", f"{report.clean_acc.n}"),
            ]
        ),
        class_=f"verdict {report.verdict}",
    )


def key_figures(facts: Facts) -> Markup:
    """The few numbers most readers want, and where each was measured."""
    report, student = facts.verification, facts.student
    if report is not None:
        retained = next((g for g in report.gates if g.gate == "retention"), None)
        span = f"95 %: {percent(retained.low)} to {percent(retained.high)}" if retained else "same images"
        tiles = [
            _accuracy_tile("clean accuracy on the engine", report.clean_acc),
            _accuracy_tile("robust accuracy on the engine", report.robust_acc),
            _tile("of the host's robust accuracy retained", percent(report.retention), span),
            _tile("latency, median", f"{milliseconds(report.latency_ms.p50)} ms", f"batch {report.latency_ms.batch}"),
        ]
    elif student is not None:
        tiles = [
            _accuracy_tile("clean accuracy on the host", student.clean_acc),
            _accuracy_tile("robust accuracy on the host", student.robust_acc),
        ]
    else:
        return _NOTHING
    return tag("div", *tiles, class_="tiles")


def not_done(facts: Facts) -> Markup:
    """What the run lacks."""
    lines = undone(facts)
    return _section("Not done yet", _bullets(lines)) if lines else _NOTHING


def attacks(facts: Facts) -> Markup:
    """The attacker, in words, and each attack's outcome."""
    report, student = facts.verification, facts.student
    if report is None and student is None:
        return _NOTHING
    rows: tuple[Row, ...] = (*(report.rows if report else ()), *(student.rows if student else ()))
    threats = {str(e.threat_model): e.threat_model for e in (report, student) if e is not None}
    parts = [
        tag("p", tag("strong", f"{name}: "), f"{threat_words(threat)}.") for name, threat in threats.items()
    ]
    parts.append(
        tag("p", "An image counts as robust only if it is answered right untouched and under every attack of the table.")
    )
    used = [source for source in SOURCES if any(row.source == source for row in rows)]
    parts.append(_pairs([(source, SOURCES[source]) for source in used]))
    if report is not None:
        parts.append(
            _attacks("On the engine", report.rows, report.robust_acc, f"{report.clean_acc.n} images, {report.threat_model}")
        )
    if student is not None:
        where = f"{student.n} images of the {student.split} split, {student.threat_model}, seed {student.seed}"
        parts.append(_attacks("On the host, before export", student.rows, student.robust_acc, where))
        parts.append(_bullets(student.flags))
    return _section("What was attacked, and how", *parts, legend())


def comparison(facts: Facts) -> Markup:
    """Teacher, student and standard training."""
    found = networks(facts)
    if not found:
        return _NOTHING
    how = {f"{e.n} images of the {e.split} split, {e.threat_model}" for e in found.values()}
    caption = "On the host: " + "; ".join(
        sorted(how) if len(how) == 1 else [f"{name}: {e.n} images of {e.split}, {e.threat_model}" for name, e in found.items()]
    )
    differ = tag("p", "These were not measured alike: compare with care.") if len(how) > 1 else _NOTHING
    return _section(
        "Compared with its teacher, and with standard training",
        differ,
        _table(
            comparison_rows(facts),
            caption,
            graphics=[interval_bar(e.robust_acc.value, e.robust_acc.low, e.robust_acc.high) for e in found.values()],
            notes=NETWORKS,
        ),
    )


def gates(facts: Facts) -> Markup:
    """Wanted and measured."""
    report = facts.verification
    if report is None:
        return _NOTHING
    bars = [interval_bar(g.actual, g.low, g.high, g.wanted) for g in report.gates]
    return _section(
        "Gates",
        tag(
            "p",
            "A gate passes when the whole 95 % interval is at or above what was wanted, fails when all of it is below, "
            "and is inconclusive in between: then more images are needed.",
        ),
        _table(
            gate_table(report),
            f"{report.clean_acc.n} images, the same the host was measured on",
            graphics=bars,
            notes={GATES[gate]: words for gate, words in GATES_MEANING.items()},
        ),
    )


def budget(facts: Facts) -> Markup:
    """The device's limits."""
    report = facts.verification
    if report is None or not report.budget:
        return _NOTHING
    return _section(
        "Budget",
        _table(budget_table(report), f"Profile {facts.record.profile.name}: {facts.record.profile.title}"),
        tag(
            "p",
            "Parameters, multiply-accumulates and peak memory are counted on the network, in float32; "
            "the file and the latency are the engine's own.",
            class_="aside",
        ),
    )


def parity(facts: Facts) -> Markup:
    """Is the engine the student?"""
    report = facts.verification
    if report is None:
        return _NOTHING
    return _section(
        "Is the engine the network that was trained?",
        tag(
            "p",
            "The engine and the host answered the same clean and adversarial images. If their logits differ, "
            "nothing else on this page speaks about the engine. The gradient twin is the graph that tells the "
            "attack how to change an image: where it disagrees with the engine, the attack aims badly.",
        ),
        _table(parity_table(report), "Logits of the engine against the host's"),
    )


def latency(facts: Facts) -> Markup:
    """Milliseconds."""
    report = facts.verification
    if report is None:
        return _NOTHING
    caption = f"{report.engine.runtime} on {report.engine.device}: images in host memory to logits in host memory"
    return _section("Latency", _table(latency_table(report), caption))


def training(facts: Facts) -> Markup:
    """Curves."""
    epochs, recipe = facts.epochs, facts.record.recipe
    if not epochs:
        return _NOTHING
    curves = {
        "clean": [(e.epoch, e.val_clean_acc) for e in epochs],
        "robust": [(e.epoch, e.val_robust_acc) for e in epochs],
    }
    last = max(recipe.epochs, epochs[-1].epoch)
    names = list(dict.fromkeys(name for e in epochs for name in e.terms))
    figures = [_term(name, [(e.epoch, e.terms[name]) for e in epochs if name in e.terms], last) for name in names]
    lines = Table(
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
    return _section(
        "Training",
        tag("p", f"{METHODS[recipe.method][0].upper()}{METHODS[recipe.method][1:]}."),
        tag(
            "p",
            "Accuracy on the validation split, with a short attack. It serves to choose the epoch whose weights are kept, "
            "and is not the robust accuracy reported above. The test split is not looked at in training.",
            class_="aside",
        ),
        accuracy_chart(curves, last),
        tag("h3", "Terms of the loss"),
        tag("p", "Weighted as they were summed; each from 0 to its own greatest value, over the whole run.", class_="aside"),
        tag("div", *figures, class_="terms"),
        tag("details", tag("summary", "Every epoch as a table"), _table(lines, "metrics.jsonl")),
    )


def provenance(facts: Facts) -> Markup:
    """Enough to repeat the run, and to know each file again."""
    record, report = facts.record, facts.verification
    digests = [("data", record.data_sha256), ("teacher's weights", record.teacher_sha256)]
    if report is not None:
        digests += [("bundle's manifest, as verified", report.manifest_sha256), ("engine", report.engine.sha256)]
    if facts.stale:
        digests.append(("bundle's manifest, now", facts.manifest_sha256))
    seeds = [("training", record.recipe.seed)]
    seeds += [(f"attacks on the {name}", e.seed) for name, e in networks(facts).items()]
    if report is not None:
        seeds.append(("attacks on the engine, bootstrap", report.seed))
    profile = record.profile
    values = [
        (f"{part}.{key}", value)
        for part, holder in (("device", profile.device), ("budget", profile.budget), ("gates", profile.gates))
        for key, value in _fields(holder)
    ]
    rows = [(key, value, profile.sources.get(key, "")) for key, value in values if value != "-"]
    rows += [(key, "", source) for key, source in profile.sources.items() if key not in dict(values)]
    cost = [(f"cost.{key}", value) for key, value in _fields(record.cost)]
    return _section(
        "Provenance",
        tag("h3", "Run"),
        _pairs(
            [
                ("data", f"{record.dataset} (--data {record.data})"),
                ("teacher", record.teacher or "none"),
                ("bundle", report.bundle if report else "not verified"),
                ("seeds", "; ".join(f"{name}: {seed}" for name, seed in seeds)),
                ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
            ]
        ),
        tag("h3", "Digests (SHA-256)"),
        _pairs([(name, tag("code", digest)) for name, digest in digests if digest is not None]),
        tag("h3", "Recipe"),
        _pairs([("method", METHODS[record.recipe.method]), *_fields(record.recipe)]),
        tag("h3", "Network"),
        _pairs([*_fields(record.architecture), *cost]),
        tag("h3", "Device profile"),
        tag("p", f"{profile.name}: {profile.title}; runtimes: {', '.join(profile.runtimes)}"),
        _table(Table(("key", "value", "source"), tuple(rows)), "Each number with where it comes from", sources=True),
    )


def limits(facts: Facts) -> Markup:
    """What must not be read into this page."""
    report = facts.verification
    lines = [
        "Robust accuracy is what these attacks could not break. A stronger or different attack may break more: "
        "the figure is an upper bound, and no proof.",
        "It holds for the threat model named above only: not for larger or other changes, such as rotation, blur, "
        "weather, stickers or another norm.",
        "The images come from one data set. Images from another camera, place or time may fare worse, clean and attacked.",
        "The intervals are about which images were drawn; they do not cover how another training seed would turn out.",
    ]
    if report is None:
        lines.insert(0, "No engine was attacked: the conversion for the device may cost accuracy and robustness.")
        return _section("What this report does not show", _bullets(lines))
    lines.insert(0, "Another engine file, runtime version, device or precision is another thing: verify it there.")
    lines.append("The device's power mode and temperature are not recorded; they move the latency.")
    if all(row.source == "replay" for row in report.rows):
        lines.append("Only stored images were replayed: a weakness of this engine alone cannot show.")
    if not any(row.source == "query" for row in report.rows):
        lines.append("No attack that only asks questions was run; it would notice gradients that mislead.")
    lines += report.notes
    return _section("What this report does not show", _bullets(lines))


def _section(title: str, *children: Markup) -> Markup:
    return tag("section", tag("h2", title), *children)


def _sign(kind: str, word: str) -> Markup:
    """The verdict's word behind its sign; the sign is decoration."""
    sign = tag(
        "svg",
        tag("circle", cx=16, cy=16, r=15),
        tag("path", d=_SIGNS[kind]),
        class_="sign",
        viewBox="0 0 32 32",
        aria_hidden="true",
    )
    return tag("h2", sign, tag("span", word))


def _bullets(lines: Iterable[str]) -> Markup:
    items = [tag("li", line) for line in lines]
    return tag("ul", *items) if items else _NOTHING


def _pairs(pairs: Iterable[tuple[str, str]]) -> Markup:
    return tag("dl", *(join(tag("dt", key), tag("dd", value)) for key, value in pairs))


def _tile(label: str, value: str, below: str) -> Markup:
    return tag("div", tag("span", label), tag("b", value), tag("span", below), class_="tile")


def _accuracy_tile(label: str, accuracy: Accuracy) -> Markup:
    span = f"95 %: {percent(accuracy.low)} to {percent(accuracy.high)}, {accuracy.n} images"
    return _tile(label, percent(accuracy.value), span)


def _attacks(title: str, rows: Sequence[Row], worst: Accuracy, where: str) -> Markup:
    figures = [*(row.robust_acc for row in rows), worst]
    bars = [interval_bar(a.value, a.low, a.high) for a in figures]
    return join(tag("h3", title), _table(attack_table(tuple(rows), str(worst)), where, graphics=bars))


def _term(name: str, points: Sequence[tuple[int, float]], epochs: int) -> Markup:
    words = tag("span", f"{points[0][1]:.3g} → {points[-1][1]:.3g}, epochs {points[0][0]} to {points[-1][0]}")
    title = TERMS.get(name, name)
    return tag("figure", tag("figcaption", title, words), small_chart(title, points, epochs))


def _table(
    table: Table,
    caption: str,
    *,
    graphics: Sequence[Markup] = (),
    notes: dict[str, str] | None = None,
    sources: bool = False,
) -> Markup:
    """A table in a frame that scrolls by itself where the page is narrow; `graphics` is one more column."""
    headers = [tag("th", header, scope="col") for header in table.headers]
    if graphics:
        headers.append(tag("td", _NOTHING))
    rows: list[Markup] = []
    for number, (name, *cells) in enumerate(table.rows):
        note = (notes or {}).get(name)
        first = tag("th", name, tag("small", note) if note else _NOTHING, scope="row")
        written = [tag("td", _cell(cell)) for cell in cells]
        if sources:
            written[-1] = tag("td", cells[-1], class_="source")
        if graphics:
            written.append(tag("td", graphics[number]))
        rows.append(tag("tr", first, *written))
    inner = tag("table", tag("caption", caption), tag("thead", tag("tr", *headers)), tag("tbody", *rows))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(text: str) -> Markup:
    """A verdict in its colour, an interval smaller than what it belongs to."""
    if text in _TONES:
        return tag("span", text, class_=f"mark {_TONES[text]}")
    value, bracket, span = text.partition(" [")
    return join(value, tag("small", bracket + span)) if bracket and span.endswith("]") else join(text)


def _fields(record: Record) -> list[tuple[str, str]]:
    """Every field of a plain record as text, under the name it has in the files."""
    return [(f.name, _text(getattr(record, f.name))) for f in fields(record)]  # pyright: ignore[reportArgumentType]


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)
