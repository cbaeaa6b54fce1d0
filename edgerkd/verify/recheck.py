"""Whether a report's verdict follows from its own figures, by the rules that made it, and these from one another."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgerkd.attacks.ball import length
from edgerkd.bundle.kept import Kept, ids_of, read_kept
from edgerkd.core.accuracy import Accuracy
from edgerkd.core.budget import limits
from edgerkd.core.comparison import mcnemar_exact
from edgerkd.core.errors import ArtefactError
from edgerkd.core.gradient_check import REQUIRED, STRAY, GradientCheck, allowed_disagreements
from edgerkd.core.judged import RIGHT, WRONG
from edgerkd.core.kept import SLACK, curve_of
from edgerkd.core.plain import ModelComparison
from edgerkd.core.sequential import share
from edgerkd.core.threat import ThreatModel
from edgerkd.core.verification import Verdict, VerifyReport
from edgerkd.files.atomic import sha256_of
from edgerkd.files.paths import shown
from edgerkd.verify.limits import judge_limit, on_device
from edgerkd.verify.recheck_counts import ROUNDING, counted
from edgerkd.verify.recheck_made import made_problems
from edgerkd.verify.recheck_measured import measured_problems
from edgerkd.verify.trust import backed
from edgerkd.verify.verdict import decide, gates_of

_MOST = 50_000  # images that only one of two gets right, of which the chance is computed again within seconds; ours


def problems_of(report: VerifyReport) -> list[str]:
    """All that does not follow, each with the key it is about."""
    return [
        *_accuracies(report),
        *_classes(report),
        *_plain(report),
        *_judged(report),
        *_parity(report),
        *_gradients(report.gradients, report.engine.precision),
        *_gates(report),
        *_budget(report),
        *made_problems(report),
        *measured_problems(report),
        *_verdict(report),
    ]


def kept_problems(report: VerifyReport, file: Path) -> list[str]:
    """All in the report that is not so in its file of images and outcomes, if it has one and that is here.

    Raises ArtefactError for a file that cannot be read.
    """
    if report.kept is None or not file.exists():
        return []
    if (digest := sha256_of(file, error=ArtefactError)) != report.kept.sha256:
        return [f"kept.sha256: {report.kept.sha256}, and that of {shown(file)} is {digest}"]
    if (size := file.stat().st_size) != report.kept.size:
        return [f"kept.size: {report.kept.size}, and {shown(file)} has {size} bytes"]
    kept, fates = read_kept(file), "".join(report.judged.fates)
    alike = {
        "judged.fates": (
            [(fate != WRONG, fate == RIGHT) for fate in fates],
            list(zip(kept.clean.tolist(), kept.robust.tolist(), strict=True)),
        ),
        "curve": (report.curve, curve_of(kept.distances.tolist(), report.threat_model.eps)),
    }
    found = [f"{key}: it does not follow from {shown(file)}" for key, (said, has) in alike.items() if said != has]
    return found or [f"kept: {problem} in {shown(file)}" for problem in shown_problems(kept, report.threat_model)]


def shown_problems(kept: Kept, threat_model: ThreatModel) -> Iterator[str]:
    """Whether the images that are shown are those of the outcomes, and their changes within the radius."""
    if ids_of(kept.images).tolist() != kept.ids[kept.rows].tolist():
        yield "images: not those that ids and rows name"
    moved = kept.images_adv - np.divide(kept.images, 255, dtype=np.float32)
    if (length(moved.astype(np.float64), threat_model.norm) > float(threat_model.eps) * (1 + 1e-3)).any():
        yield "images_adv: beyond the radius"
    fooled, far = kept.clean & ~kept.robust, kept.distances > float(threat_model.eps) + SLACK
    if kept.distances[~kept.clean].any() or not far[kept.robust].all() or (far & fooled).sum() > fooled.sum() / 10 + 1:
        yield "distances: not 0 where no change is needed, within the radius where one fools, and beyond it elsewhere"


def kept_of(report: VerifyReport, file: Path) -> Kept | None:
    """The report's images and outcomes, where their file is here and the report's own."""
    if report.kept is None or not file.exists() or sha256_of(file, error=ArtefactError) != report.kept.sha256:
        return None
    return read_kept(file)


def _accuracies(report: VerifyReport) -> Iterator[str]:
    named = {"clean_acc": report.clean_acc, "robust_acc": report.robust_acc}
    if not report.rows:  # nothing was attacked
        named = {"clean_acc": report.clean_acc}
    named |= {f"rows.{number}.robust_acc": row.robust_acc for number, row in enumerate(report.rows)}
    for number, each in enumerate(report.by_class.classes):
        named |= {f"by_class.classes.{number}.clean_acc": each.clean_acc}
        named |= {f"by_class.classes.{number}.robust_acc": each.robust_acc} if report.rows else {}
    for key, accuracy in named.items():
        yield from counted(key, accuracy, anytime=bool(report.rows))
        if "classes" not in key and accuracy.n != report.clean_acc.n:
            yield f"{key}.n: {accuracy.n}, and clean_acc.n is {report.clean_acc.n}"
    for key in ("clean_acc", *(name for name in named if name.startswith("rows."))):
        if report.robust_acc.value > named[key].value + ROUNDING:
            yield f"robust_acc.value: {report.robust_acc.value} is above {key}, and it is the worst case"


def _plain(report: VerifyReport) -> Iterator[str]:
    """The plain answers are to all samples, class by class; where nothing was attacked they are all there is."""
    plain, n = report.plain, report.samples.n
    named = {"plain.engine_acc": (plain.engine_acc, [each.engine_acc for each in plain.classes])}
    models = [each.model_acc for each in plain.classes if each.model_acc is not None]
    if plain.model is not None:
        named["plain.model.model_acc"] = (plain.model.model_acc, models)
    elif models:
        yield "plain.model: not there, and plain.classes say how accurate it is"
    for key, (whole, parts) in named.items():
        yield from counted(key, whole, anytime=False)
        for number, part in enumerate(parts):
            yield from counted(f"plain.classes.{number}.{key.rpartition('.')[2]}", part, anytime=False)
        if whole.n != n:
            yield f"{key}.n: {whole.n}, and samples.n is {n}"
        yield from _added_up("plain.classes", key, whole, parts)
    if plain.model is not None:
        yield from _compared(plain.model, plain.engine_acc.hits, n)
    there = {each.name: each.engine_acc.n for each in plain.classes}
    if any(each.clean_acc.n > there.get(each.name, 0) for each in report.by_class.classes):
        yield "plain.classes: fewer images of a class than by_class, which is of some of these"
    if not report.rows and report.clean_acc != plain.engine_acc:
        yield "clean_acc: not plain.engine_acc, and nothing was attacked"


def _compared(model: ModelComparison, hits: int, n: int) -> Iterator[str]:
    """Engine, right on `hits` of `n` images, and model: each image is one that both, one or none of them gets right."""
    both, neither = hits - model.engine_alone, n - hits - model.model_alone
    if min(both, neither) < 0 or both + model.model_alone != model.model_acc.hits:
        yield "plain.model: engine_alone and model_alone do not follow from the two accuracies"
        return
    if not both - 1e-6 <= model.same_answer * n <= both + neither + 1e-6:
        yield f"plain.model.same_answer: {model.same_answer}, and both are right on {both} of {n}, none on {neither}"
    alone = (model.engine_alone, model.model_alone)
    if max(alone) <= _MOST and abs(model.chance - mcnemar_exact(*alone)) > ROUNDING:
        yield f"plain.model.chance: {model.chance} does not follow from engine_alone and model_alone"


def _judged(report: VerifyReport) -> Iterator[str]:
    """What became of each image gives every figure under attack."""
    judged = report.judged
    if judged.of != report.samples.n:
        yield f"judged.of: {judged.of}, and samples.n is {report.samples.n}"
    if not report.rows:
        return
    said = {"clean_acc": report.clean_acc, "robust_acc": report.robust_acc}
    said |= {f"rows.{number}.robust_acc": row.robust_acc for number, row in enumerate(report.rows)}
    tallies = {"clean_acc": judged.clean, "robust_acc": judged.robust}
    tallies |= {f"rows.{number}.robust_acc": judged.after(number + 1) for number in range(len(report.rows))}
    for key, accuracy in said.items():
        if share(accuracy.hits, accuracy.n) != tallies[key]:
            yield f"judged: its counts are not those of {key}"
    retention = judged.retention
    if report.retention != (None if retention is None else retention.value):
        yield f"retention: {report.retention}, which does not follow from judged"


def _classes(report: VerifyReport) -> Iterator[str]:
    classes = report.by_class.classes
    for key, whole, parts in (
        ("clean_acc", report.clean_acc, [each.clean_acc for each in classes]),
        ("robust_acc", report.robust_acc, [each.robust_acc for each in classes]),
    ):
        yield from _added_up("by_class", key, whole, parts)
    worst = min(classes, key=lambda each: (each.robust_acc.value, each.clean_acc.value), default=None)
    if report.by_class.worst != (worst and worst.name):
        yield f"by_class.worst: {report.by_class.worst} is not the least robust class"


def _added_up(where: str, key: str, whole: Accuracy, parts: Sequence[Accuracy]) -> Iterator[str]:
    if sum(part.n for part in parts) != whole.n or sum(part.hits for part in parts) != whole.hits:
        yield f"{where}: the classes' images do not add up to {key}"


def _parity(report: VerifyReport) -> Iterator[str]:
    parity = report.parity
    if parity.ok != (parity.max_abs_dlogit <= parity.limit and parity.agreement == 1.0):
        yield f"parity.ok: {parity.ok} does not follow from max_abs_dlogit, limit and agreement"
    on_the_bundles = report.samples.seed is None  # else the images judged are not those that parity is about
    if on_the_bundles and parity.n not in (report.samples.n, 2 * report.samples.n):
        yield f"parity.n: {parity.n} is neither {report.samples.n} images nor these and their adversarial versions"


def _gradients(found: GradientCheck, precision: str) -> Iterator[str]:
    """A network that takes whole pixels is judged as int8 is (verify/session.py), an engine that shows no rounding as
    float32 is, whatever its precision.
    """
    moving = found.points - found.flat
    if found.agreeing + found.disagreeing != moving:
        yield "gradients.points: agreeing, disagreeing and flat do not add up to it"
        return
    rules = {
        each: (allowed_disagreements(moving, stray=STRAY[each]), REQUIRED[each]) for each in (precision, "int8", "fp32")
    }
    if (found.allowed, found.required) not in rules.values():
        yield f"gradients.allowed, gradients.required: not those of {precision}"
    if found.ok != (not found.failures):
        yield f"gradients.ok: {found.ok} does not follow from its figures"


def _gates(report: VerifyReport) -> Iterator[str]:
    expected = gates_of(report.requirement, report.judged)
    if [gate.gate for gate in expected] != [gate.gate for gate in report.gates]:
        yield "gates: not those that requirement asks"
        return
    for said, follows in zip(report.gates, expected, strict=True):
        if said != follows:
            yield f"gates.{said.gate}: does not follow from requirement and from what was measured"


def _budget(report: VerifyReport) -> Iterator[str]:
    asked = limits(report.requirement.budget)
    if [(each.limit, each.required) for each in report.budget] != list(asked.items()):
        yield "budget: not the limits that requirement asks"
    device = on_device(report.latency_ms, report.timing, report.target, report.engine_memory)
    for each in report.budget:
        if each.measured != device.get(each.limit, each.measured):
            yield f"budget.{each.limit}.measured: not what latency_ms and timing say"
        elif each != judge_limit(each.limit, each.required, each.measured, timing=report.timing):
            yield f"budget.{each.limit}.ok: {each.ok} does not follow from what was measured"
    latency = report.latency_ms
    if not latency.p50 <= latency.p95 <= latency.p99:
        yield "latency_ms: its percentiles are not in order"


def _verdict(report: VerifyReport) -> Iterator[str]:
    follows: Verdict = decide(
        parity=report.parity,
        gates=report.gates,
        budget=report.budget,
        rows=report.rows,
        twin_agreement=report.twin_agreement,
        gradients=report.gradients,
        flags=report.flags,
    )
    if not report.requirement.asks_accuracy and report.parity.ok:
        follows = "measured"
    follows = backed(follows, report.trust)
    if report.verdict != follows:
        yield f"verdict: {report.verdict}, and by its own figures it is {follows}"
