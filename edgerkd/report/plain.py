"""The plain answer in words and as a table: accuracy before any attack."""

from edgerkd.attacks.words import flag_words
from edgerkd.core.conditions import Conditions, Timing
from edgerkd.core.engine_memory import EngineMemory
from edgerkd.core.judged_samples import JudgedSamples
from edgerkd.core.plain import PlainAnswer
from edgerkd.core.units import format_size
from edgerkd.report.text_table import Table

_MOST = 20  # classes that are listed in full


def plain_lines(plain: PlainAnswer) -> tuple[str, ...]:
    """What the engine answers, whether that is what the model answers, and why it may not be."""
    return (
        f"accuracy of the engine: {plain.engine_acc} on {plain.engine_acc.n} images, before any attack",
        *_model_lines(plain),
        *_class_lines(plain),
        *_cause_lines(plain),
        *_layer_lines(plain),
    )


def _model_lines(plain: PlainAnswer) -> tuple[str, ...]:
    model = plain.model
    if model is None:
        return ()
    if model.same_answer == 1.0:
        return (f"accuracy of the model in float32: {model.model_acc}, and every answer is the same",)
    alone = f"{model.engine_alone} images are right on the engine alone, {model.model_alone} on the model alone"
    verdict = "they differ" if model.differs else "no difference is shown"
    return (
        f"accuracy of the model in float32: {model.model_acc}; {model.same_answer:.2%} of the answers are the same; "
        f"{alone}: {verdict} (McNemar's exact test, p = {model.chance:.2g})",
    )


def _cause_lines(plain: PlainAnswer) -> tuple[str, ...]:
    """Why answers may differ, where any does; why it is not known, where the model was not asked."""
    if plain.model is None:
        return tuple(map(flag_words, plain.causes))
    if plain.model.same_answer == 1.0:
        return ()
    return tuple(f"a cause may be {flag_words(cause)}" for cause in plain.causes)


def _class_lines(plain: PlainAnswer) -> tuple[str, ...]:
    """The least accurate class."""
    worst = min(plain.classes, key=lambda each: each.engine_acc.value, default=None)
    if worst is None:
        return ()
    model = "" if worst.model_acc is None else f", {worst.model_acc} on the model"
    return (f"least accurate class: {worst.name}, {worst.engine_acc} of {worst.engine_acc.n} images{model}",)


def _layer_lines(plain: PlainAnswer) -> tuple[str, ...]:
    layer = plain.layer
    if layer is None:
        return ()
    return (
        f"the first layer whose output is not the model's: {layer.layer} ({layer.kind}, {layer.place} of {layer.of}), "
        f"by {layer.share:.2g} of its size",
    )


def plain_table(plain: PlainAnswer) -> Table:
    """Class by class, engine beside model; where there are many classes, those of the lowest accuracy alone."""
    classes = plain.classes
    if len(classes) > _MOST:
        classes = tuple(sorted(classes, key=lambda each: each.engine_acc.value)[:_MOST])
    model = "-" if plain.model is None else str(plain.model.model_acc)
    rows = [("all", str(plain.engine_acc.n), str(plain.engine_acc), model)]
    rows += [
        (
            each.name,
            str(each.engine_acc.n),
            str(each.engine_acc),
            "-" if each.model_acc is None else str(each.model_acc),
        )
        for each in classes
    ]
    return Table(("accuracy", "images", "engine [95%]", "model in float32 [95%]"), tuple(rows))


def samples_words(samples: JudgedSamples) -> str:
    """Whose images were judged, and how they were chosen."""
    whose = "brought by the verifier" if samples.source == "verifier" else "chosen by the bundle's maker"
    drawn = "" if samples.seed is None else f", drawn from {samples.of:,} by seed {samples.seed}"
    return f"{samples.n:,} of {samples.data}, {whose}{drawn}"


def samples_lines(samples: JudgedSamples) -> tuple[str, ...]:
    """The same, with what was left out and the digest of what was left."""
    found = [f"images judged: {samples_words(samples)}; pixels and labels have sha256 {samples.sha256[:12]}"]
    if samples.repeated or samples.stored:
        found.append(
            f"of {samples.of:,} images, {samples.repeated:,} were left out because they repeat another one, and "
            f"{samples.stored:,} because the bundle has them"
        )
    return tuple(found)


def timing_lines(timing: Timing) -> tuple[str, ...]:
    """How the latency was measured, and what it costs: conditions before and after, the device alone, energy."""
    settled = "" if timing.settled else ", which had not settled"
    found = [f"after {timing.warmup} runs of warm-up{settled}: {_between(timing.before, timing.after)}"]
    if not timing.steady:
        found.append(f"not steady: {timing.trouble}")
    if timing.device_ms is not None:
        device = timing.device_ms
        found.append(f"on the device alone: p50 {device.p50:.3g} ms, p95 {device.p95:.3g} ms, p99 {device.p99:.3g} ms")
    if timing.energy is not None:
        energy = timing.energy
        found.append(
            f"energy: {energy.millijoules:.3g} mJ an inference ({energy.source}; {energy.runs:,} in "
            f"{energy.seconds:.3g} s)"
        )
    return tuple(found)


def memory_lines(memory: EngineMemory | None) -> tuple[str, ...]:
    """What the engine took at its peak, beside what is counted; nothing in a report of an earlier version."""
    if memory is None:
        return ()
    named = {"GPU": memory.device, "process": memory.process}
    taken = [f"{format_size(taken)} of its {where}" for where, taken in named.items() if taken is not None]
    batches = "one image" if memory.batch == 1 else f"{memory.batch} images"
    measured = f"it took {' and '.join(taken)} at its peak, opened and run on {batches}" if taken else "not measured"
    return (f"{measured}; {format_size(memory.counted)} are counted from the graph, in float32",)


def _between(before: Conditions, after: Conditions) -> str:
    parts = [f"power mode {before.power_mode}"] if before.power_mode else []
    parts += [f"governor {', '.join(before.governors)}"] if before.governors else []
    parts += [
        f"{name} {hz / 1e9:.2f} to {after.clocks_hz[name] / 1e9:.2f} GHz"
        for name, hz in before.clocks_hz.items()
        if name in after.clocks_hz
    ]
    if before.celsius and after.celsius:
        parts.append(f"hottest zone {max(before.celsius.values()):.0f} to {max(after.celsius.values()):.0f} C")
    return "; ".join(parts) or "this machine tells neither clocks nor temperatures"
