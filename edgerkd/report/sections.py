"""The parts of the page, from the verdict to its limits. Each maps the facts to HTML, or to nothing."""

from collections.abc import Sequence

from edgerkd.attacks.words import flag_words
from edgerkd.core.accuracy import Accuracy
from edgerkd.core.evaluation import MADE_HERE, Row
from edgerkd.report.chart import accuracy_chart, interval_bar, small_chart
from edgerkd.report.load import Facts, undone
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.parts import (
    NOTHING,
    bullets,
    data_table,
    field_texts,
    many_pairs,
    pairs,
    section,
    tile,
    verdict_heading,
)
from edgerkd.report.table import (
    ANYTIME,
    Table,
    attack_table,
    budget_table,
    class_table,
    comparison_rows,
    conditions,
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
    NETWORKS,
    SOURCES,
    TERMS,
    device_words,
    judged_words,
    milliseconds,
    missing_words,
    notes,
    percent,
    reasons,
    sample_words,
    sentence,
    threat_words,
)

_BARS = "Bars: the dot is what was measured, the thick line its interval, the upright line the least required."


def verdict(facts: Facts) -> Markup:
    """The banner: the verdict, why, and what exactly it is about."""
    report = facts.verification
    if report is None:
        return tag(
            "section",
            verdict_heading("inconclusive", "NOT VERIFIED"),
            tag("p", "No engine has been attacked. What follows was measured on the host only.", class_="meaning"),
            class_="verdict",
        )
    word, meaning = HEADLINES[report.verdict]
    kind, why = report.verdict.replace(" ", "-"), list(reasons(report))
    if facts.stale:
        word, kind = f"{word}, OUT OF DATE", "inconclusive"
        why.insert(0, "the run's bundle has been exported again since: this verdict is about the earlier one")
    if open_limits := [LIMITS.get(b.limit, b.limit) for b in report.budget if b.ok is None]:
        why.append(f"not judged on this machine: {', '.join(open_limits)}")
    engine = report.engine
    return tag(
        "section",
        verdict_heading(kind, word),
        tag("p", f"{meaning[0].upper()}{meaning[1:]}.", class_="meaning"),
        bullets(why),
        tag("p", "This verdict is about the following, and about nothing else:"),
        pairs(
            [
                ("backend", f"{engine.backend} {engine.version}"),
                ("device", device_words(engine.device)),
                ("variant", f"{engine.variant}, {engine.precision}"),
                ("engine file", tag("code", f"sha256 {engine.sha256[:12]}")),
                ("threat model", f"{report.threat_model}: {threat_words(report.threat_model)}"),
                ("images", judged_words(report)),
                *(("note", note) for note in notes(report)),
            ]
        ),
        class_=f"verdict {kind}",
    )


def key_figures(facts: Facts) -> Markup:
    """The few numbers most readers want, and where each was measured."""
    report, student = facts.verification, facts.student
    if report is not None:
        retained = next((g for g in report.gates if g.gate == "retention"), None)
        span = f"99 %: {percent(retained.low)} to {percent(retained.high)}" if retained else "same images"
        level = "99 %" if report.rows else "95 %"
        tiles = [
            _accuracy_tile("clean accuracy on the engine", report.clean_acc, level),
        ]
        if report.rows:
            tiles.append(_accuracy_tile("robust accuracy on the engine", report.robust_acc, level))
        if report.retention is not None:
            tiles.append(tile("of the host's robust accuracy retained", percent(report.retention), span))
        median = f"{milliseconds(report.latency_ms.p50)} ms"
        tiles.append(tile("latency, median", median, f"batch {report.latency_ms.batch}"))
    elif student is not None:
        tiles = [
            _accuracy_tile("clean accuracy on the host", student.clean_acc),
            _accuracy_tile("robust accuracy on the host", student.robust_acc),
        ]
    else:
        return NOTHING
    return tag("div", *tiles, class_="tiles")


def not_done(facts: Facts) -> Markup:
    """What the run lacks."""
    lines = undone(facts)
    return section("Not done yet", bullets(lines)) if lines else NOTHING


def attacks(facts: Facts) -> Markup:
    """The attacker, in words, and each attack's outcome."""
    report, student = facts.verification, facts.student
    if report is None and student is None:
        return NOTHING
    rows: tuple[Row, ...] = (*(report.rows if report else ()), *(student.rows if student else ()))
    threats = {str(e.threat_model): e.threat_model for e in (report, student) if e is not None}
    parts = [tag("p", tag("strong", f"{name}: "), f"{threat_words(threat)}.") for name, threat in threats.items()]
    parts.append(
        tag(
            "p", "An image counts as robust only if it is answered right untouched and under every attack of the table."
        )
    )
    used = [source for source in SOURCES if any(row.source == source for row in rows)]
    parts.append(pairs([(source, SOURCES[source]) for source in used]))
    if report is not None and report.rows:
        parts.append(
            _attacks(
                "On the engine",
                report.rows,
                report.robust_acc,
                f"{judged_words(report)}, {report.threat_model}",
                ANYTIME,
            )
        )
    if student is not None:
        sample = sample_words(student.n, student.of, student.seed, student.split)
        where = f"{sample}, {student.threat_model}"
        parts.append(_attacks("On the host, before export", student.rows, student.robust_acc, where))
        parts.append(bullets(map(flag_words, student.flags)))
    return section("What was attacked, and how", *parts, tag("p", _BARS, class_="aside"))


def comparison(facts: Facts) -> Markup:
    """Teacher, student and standard training."""
    found = networks(facts)
    if not found:
        return NOTHING
    first, *each = conditions(facts)
    return section(
        "Compared with its teacher, and with standard training",
        tag("p", first) if each else NOTHING,
        data_table(
            comparison_rows(facts),
            "On the host: " + "; ".join(each or [first]),
            graphics=[interval_bar(e.robust_acc.value, e.robust_acc.low, e.robust_acc.high) for e in found.values()],
            notes=NETWORKS,
        ),
    )


def classes(facts: Facts) -> Markup:
    """Class by class, on the engine or else on the host."""
    report, student = facts.verification, facts.student
    found = report.by_class if report is not None else student.by_class if student is not None else None
    if found is None:
        return NOTHING
    where, level = ("on the engine", ANYTIME) if report is not None else ("on the host", "95%")
    worst = next((c for c in found.classes if c.name == found.worst), None)
    if report is not None and not report.rows:
        return NOTHING  # the plain answer has them
    words = (
        [] if worst is None else [f"The worst class is {worst.name}: {worst.robust_acc} of it withstand the attacks."]
    )
    return section(
        "Class by class",
        tag("p", "An average hides a class that is never recognised."),
        bullets([*words, *missing_words(found)]),
        data_table(class_table(found, level), f"Accuracy {where}; of a few images the interval is wide"),
    )


def gates(facts: Facts) -> Markup:
    """Required and measured."""
    report = facts.verification
    if report is None or not report.gates:
        return NOTHING
    bars = [interval_bar(g.measured, g.low, g.high, g.required) for g in report.gates]
    return section(
        "Gates",
        tag(
            "p",
            "A gate passes when its whole interval is at or above the threshold, fails when all of it is below, and is "
            "inconclusive in between: then more images are needed. The interval holds however often one looks: the "
            "chance of a wrong pass is at most 1 %, and so is that of a wrong fail.",
        ),
        data_table(
            gate_table(report),
            judged_words(report),
            graphics=bars,
            notes={GATES[gate]: words for gate, words in GATES_MEANING.items()},
        ),
    )


def budget(facts: Facts) -> Markup:
    """The device's limits."""
    report = facts.verification
    if report is None or not report.budget:
        return NOTHING
    return section(
        "Budget",
        data_table(budget_table(report), f"Profile {facts.record.profile.name}: {facts.record.profile.title}"),
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
        return NOTHING
    return section(
        "Is the engine the network that was trained?",
        tag(
            "p",
            "The engine and the host answered the same clean and adversarial images. If their logits differ, "
            "nothing else on this page speaks about the engine. The gradient twin is the graph that tells the "
            "attack how to change an image: where it disagrees with the engine, the attack aims badly.",
        ),
        data_table(parity_table(report), "Logits of the engine against the host's"),
    )


def latency(facts: Facts) -> Markup:
    """Milliseconds."""
    report = facts.verification
    if report is None:
        return NOTHING
    caption = f"{report.engine.backend} on {device_words(report.engine.device)}: images to logits, in host memory"
    return section("Latency", data_table(latency_table(report), caption))


def training(facts: Facts) -> Markup:
    """Curves."""
    epochs, recipe = facts.epochs, facts.record.recipe
    if not epochs:
        return NOTHING
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


def provenance(facts: Facts) -> Markup:
    """Enough to repeat the run, and to know each file again."""
    record, report = facts.record, facts.verification
    digests = [("data", record.data.sha256), ("teacher's weights", record.teacher_sha256)]
    if report is not None:
        digests += [("bundle's manifest, as verified", report.manifest_sha256), ("engine", report.engine.sha256)]
    if facts.stale:
        digests.append(("bundle's manifest, now", facts.manifest_sha256))
    seeds = [("training", record.recipe.seed)]
    seeds += [(f"attacks on the {name}", e.seed) for name, e in networks(facts).items()]
    if report is not None:
        seeds += [
            ("attacks on the engine", report.seed),
            ("order of the images, points of the gradient check", report.probe_seed),
        ]
    profile = record.profile
    values = [
        (f"{part}.{key}", value)
        for part, holder in (("device", profile.device), ("budget", profile.budget), ("gates", profile.gates))
        for key, value in field_texts(holder)
    ]
    rows = [(key, value, profile.sources.get(key, "")) for key, value in values if value != "-"]
    rows += [(key, "", source) for key, source in profile.sources.items() if key not in dict(values)]
    cost = [(f"cost.{key}", value) for key, value in field_texts(record.cost) if value != "-"]
    return section(
        "Provenance",
        tag("h3", "Run"),
        pairs(
            [
                ("data", f"{record.data.name} (--data {record.request.source})"),
                ("teacher", record.teacher or "none"),
                ("bundle", report.bundle if report else "not verified"),
                ("seeds", "; ".join(f"{name}: {seed}" for name, seed in seeds)),
                ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
            ]
        ),
        tag("h3", "Digests (SHA-256)"),
        pairs([(name, tag("code", digest)) for name, digest in digests if digest is not None]),
        tag("h3", "Recipe"),
        tag("p", f"{sentence(record.method.description)} Source: {'; '.join(record.method.sources)}."),
        many_pairs(field_texts(record.recipe)),
        tag("h3", "Network"),
        many_pairs([*field_texts(record.architecture), *cost]),
        tag("h3", "Device profile"),
        tag("p", f"{profile.name}: {profile.title}; backends: {', '.join(profile.backends)}"),
        data_table(
            Table(("key", "value", "source"), tuple(rows)),
            "Each value with its source",
            kind="stacks sources",
        ),
    )


def limits(facts: Facts) -> Markup:
    """What must not be read into this page."""
    report = facts.verification
    lines = [
        "Robust accuracy is what these attacks could not break. A stronger or different attack may break more: "
        "the figure is an upper bound, and no proof.",
        "It holds for the threat model named above only: not for larger or other changes, such as rotation, blur, "
        "weather, stickers or another norm.",
        "The images come from one data set. Images from another camera, place or time may fare worse, with and "
        "without an attack.",
        "The intervals are about which images were drawn; they do not cover how another training seed would turn out.",
    ]
    if report is None:
        lines.insert(0, "No engine was attacked: the conversion for the device may cost accuracy and robustness.")
        return section("What this report does not show", bullets(lines))
    lines.insert(0, "Another engine file, runtime version, device or precision is another thing: verify it there.")
    lines.append("The device's power mode and temperature are not recorded; they move the latency.")
    if all(row.source not in MADE_HERE for row in report.rows):
        lines.append("Only stored images were replayed: a weakness of this engine alone cannot show.")
    if not any(row.source == "query" for row in report.rows):
        lines.append("No attack that only asks questions was run; it would notice gradients that mislead.")
    return section("What this report does not show", bullets(lines))


def _accuracy_tile(label: str, accuracy: Accuracy, level: str = "95 %") -> Markup:
    span = f"{level}: {percent(accuracy.low)} to {percent(accuracy.high)}, {accuracy.n} images"
    return tile(label, percent(accuracy.value), span)


def _attacks(title: str, rows: Sequence[Row], worst: Accuracy, where: str, level: str = "95%") -> Markup:
    figures = [*(row.robust_acc for row in rows), worst]
    bars = [interval_bar(a.value, a.low, a.high) for a in figures]
    return join(tag("h3", title), data_table(attack_table(tuple(rows), str(worst), level), where, graphics=bars))


def _term(name: str, points: Sequence[tuple[int, float]], epochs: int) -> Markup:
    (first, start), (end, stop) = points[0], points[-1]
    span = f"epoch {first}" if first == end else f"epochs {first} to {end}"
    words = join(tag("span", f"{start:.3g} → {stop:.3g}"), tag("span", span))
    title = TERMS.get(name, name)
    return tag("figure", tag("figcaption", title, words), small_chart(title, points, epochs))
