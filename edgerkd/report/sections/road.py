"""The road from the teacher to the engine: what each stop is, and how accurate it was found to be."""

from typing import NamedTuple

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Cost
from edgerkd.core.precision import PrecisionSearch
from edgerkd.core.requirement import ReferenceResult
from edgerkd.core.units import format_count, format_size
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import NOTHING, figures, section
from edgerkd.report.words import device_words, milliseconds, percent, retention_words

_HOW = (
    "From one stop to the next the network becomes smaller, and what it withstands may become less. Figures of the "
    "host are what the bundle claims; those of the engine were measured here. In brackets are intervals: of "
    "the host 95 %, of the engine under attack 99 % at each end."
)


class _Stop(NamedTuple):
    title: str
    what: str
    figures: list[tuple[str, str]]
    robust: Accuracy | None


def road(facts: Facts) -> Markup:
    """Teacher, student, variant, engine: as far as the run has come."""
    stops = [stop for stop in (_teacher(facts), _student(facts), _variant(facts), _engine(facts)) if stop is not None]
    if all(stop.robust is None for stop in stops):
        return NOTHING
    cards: list[Markup] = []
    before: Accuracy | None = None
    for stop in stops:
        shown = list(stop.figures)
        if before is not None and stop.robust is not None:
            shown.append(("robust, from the stop before", f"{100 * (stop.robust.value - before.value):+.1f} points"))
        cards.append(tag("li", tag("h3", stop.title), tag("p", stop.what, class_="aside"), figures(shown)))
        before = stop.robust or before
    return section("From the teacher to the engine", tag("p", _HOW), tag("ol", *cards, class_="road"))


def _teacher(facts: Facts) -> _Stop | None:
    name = "none" if facts.record is None else facts.record.teacher or "none"
    reference, found = _reference(facts), facts.teacher
    clean = reference.teacher_clean_acc if reference is not None else None if found is None else found.clean_acc
    robust = reference.teacher_robust_acc if reference is not None else None if found is None else found.robust_acc
    if clean is None and robust is None and found is None:
        return None
    cost = _cost(None if found is None else found.cost)
    return _Stop("Teacher", f"{name}, on the host", [*cost, *_accuracies(clean, robust)], robust)


def _student(facts: Facts) -> _Stop:
    reference, found, manifest = _reference(facts), facts.student, facts.manifest
    clean = reference.clean_acc if reference is not None else None if found is None else found.clean_acc
    robust = reference.robust_acc if reference is not None else None if found is None else found.robust_acc
    own = facts.record.cost if facts.record is not None else None if manifest is None else manifest.model.cost
    title = "Student" if facts.record is not None else "Network"
    return _Stop(title, "float32, on the host", [*_cost(own), *_accuracies(clean, robust)], robust)


def _variant(facts: Facts) -> _Stop | None:
    manifest, report = facts.manifest, facts.verification
    if manifest is None or (report is not None and facts.stale):
        return None
    name = None if report is None else report.engine.variant
    variant = next((v for v in manifest.variants if name in (None, v.name)), None)
    if variant is None:
        return None
    size = [("graph", format_size(manifest.files[variant.graph].size))] if variant.graph in manifest.files else []
    return _Stop("Variant", f"{variant.name}, the graph in the bundle", [*size, *_searched(variant.search)], None)


def _searched(search: PrecisionSearch | None) -> list[tuple[str, str]]:
    if search is None:
        return [("precision", "as the host measured it")]
    found = [("layers in float32", f"{len(search.float_layers)}")]
    if search.retention is not None:
        found.append(("under an attack of its own", retention_words(search.retention)))
    if search.trained_epochs:
        found.append(("trained on for it", f"{search.trained_epochs} epochs"))
    return found


def _engine(facts: Facts) -> _Stop:
    report = facts.verification
    if report is None:
        return _Stop("Engine", "not verified yet", [], None)
    engine = report.engine
    robust = report.robust_acc if report.rows else None
    found = _accuracies(report.clean_acc, robust)
    if report.retention is not None:
        found.append(("of the host's robust accuracy", percent(report.retention)))
    found.append(("latency, median", f"{milliseconds(report.latency_ms.p50)} ms"))
    where = f"{engine.backend} {engine.version} on {device_words(engine.device)}, measured here"
    return _Stop("Engine", where, found, robust)


def _reference(facts: Facts) -> ReferenceResult | None:
    """What the host measured on the very images that the engine was attacked on."""
    if facts.verification is not None:
        return facts.verification.reference
    return None if facts.manifest is None else facts.manifest.reference


def _cost(cost: Cost | None) -> list[tuple[str, str]]:
    if cost is None:
        return []
    return [("parameters", format_count(cost.params)), ("multiply-accumulates", format_count(cost.macs))]


def _accuracies(clean: Accuracy | None, robust: Accuracy | None) -> list[tuple[str, str]]:
    found = (("clean accuracy", clean), ("robust accuracy", robust))
    return [(name, str(accuracy)) for name, accuracy in found if accuracy is not None]
