"""Plain words for what the files call by short names, and numbers as people read them."""

from collections.abc import Sequence

from edgerkd.attacks.words import flag_words, title_of
from edgerkd.core.by_class import ByClass, chance_of, floor_above
from edgerkd.core.engine import BuildLog, DeviceRecord, Engine
from edgerkd.core.evaluation import MADE_HERE
from edgerkd.core.gradient_check import GradientCheck
from edgerkd.core.manifest import Manifest
from edgerkd.core.precision import PrecisionSearch, Retention
from edgerkd.core.sequential import images_needed
from edgerkd.core.threat import ThreatModel
from edgerkd.core.trust import Trust
from edgerkd.core.units import format_count, format_size
from edgerkd.core.variant import Variant
from edgerkd.core.verification import TWIN_AGREEMENT, Gate, Limit, Skipped, Target, Verdict, VerifyReport
from edgerkd.report.origins import origin_notes

HEADLINES: dict[Verdict, tuple[str, str]] = {
    "pass": ("PASS", "every gate is met and no limit judged here is exceeded"),
    "fail": ("FAIL", "at least one requirement is not met: the tables say which"),
    "inconclusive": ("INCONCLUSIVE", "nothing failed, but the evidence is not enough: this is not a pass"),
    "measured": ("MEASURED", "figures alone, held against no threshold: this is not a pass"),
    "pass as claimed": (
        "PASS AS CLAIMED",
        "every gate is met by what the bundle brings, and nothing that you trust backs the bundle: this is not a pass",
    ),
}

GROUNDS = {
    "signature": "a signature by a key you trust",
    "sha256": "the digest that you expected",
    "samples": "samples of your own",
}

NETWORKS = {
    "teacher": "the large, robust network the student learned from",
    "student": "the compact network this report is about",
    "standard-trained": "a network of the student's size, trained on clean images only",
}

SOURCES = {
    "noise": "Random points within the radius: a control. Attacks that find hardly more than it are blind.",
    "replay": "Images made earlier, on the host, against the original network, shown to this one again. "
    "It tells what carries over, and cannot find a weakness that only this engine has.",
    "transfer": "Images made on the host against another network, which it names, shown to this one: they need none of "
    "its gradients.",
    "direct": "Images made against this very network or engine: its own answers say how well the attack goes, and "
    "exact gradients say how to change each pixel for the worse. The attacker knows everything.",
    "query": "Images found only by asking again and again and watching the answers. No gradient is used, "
    "so hiding gradients is no protection against it.",
}

GATES = {"clean_acc": "clean accuracy", "robust_acc": "robust accuracy", "retention": "retention"}

GATES_MEANING = {
    "clean_acc": "right answers on untouched images",
    "robust_acc": "right answers under every attack",
    "retention": "robust accuracy of the engine over the host's, on the same images",
}

LIMITS = {
    "params": "parameters",
    "macs": "multiply-accumulates",
    "latency_ms": "latency (median)",
    "latency_p95_ms": "latency (p95)",
    "latency_p99_ms": "latency (p99)",
    "gpu_latency_ms": "latency on the GPU (median)",
    "gpu_latency_p95_ms": "latency on the GPU (p95)",
    "gpu_latency_p99_ms": "latency on the GPU (p99)",
    "energy_mj": "energy",
    "file_bytes": "engine file",
    "peak_bytes": "peak memory",
}

TERMS = {
    "ce": "cross-entropy, clean",
    "ce_adv": "cross-entropy, adversarial",
    "mix": "cross-entropy, mixed images",
    "kld": "soft labels",
    "kld_adv": "soft labels, adversarial",
    "acm": "channel maps",
    "acm_adv": "channel maps, adversarial",
    "cov": "covariance",
    "cov_adv": "covariance, adversarial",
    "gram": "score Gram matrix",
    "gram_adv": "score Gram matrix, adv.",
}


def sentence(words: str) -> str:
    """A description as a sentence of its own."""
    return f"{words[:1].upper()}{words[1:]}."


def percent(share: float) -> str:
    """A fraction, as people read it: `97.5%`."""
    return f"{share:.1%}"


def interval(value: float, low: float, high: float) -> str:
    """A fraction with its interval, written like an `Accuracy`."""
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"


def judged(limit: Limit) -> str:
    """How one limit of the budget turned out."""
    return {True: "within", False: "exceeded", None: "not judged here"}[limit.ok]


def limit_value(limit: str, value: float | None) -> str:
    """A value of the budget in its own unit, exact where it is a count."""
    if value is None:
        return "-"
    if limit.endswith("_ms"):
        return f"{milliseconds(value)} ms"
    if limit == "energy_mj":
        return f"{value:.3g} mJ"
    if limit.endswith("_bytes"):
        return f"{format_size(round(value))} ({value:,.0f} B)" if value >= 1024 else f"{value:,.0f} B"
    return f"{value:,.0f}"


def milliseconds(value: float) -> str:
    """Three digits, so that neither 0.042 nor 41.7 loses its meaning."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def device_words(device: DeviceRecord) -> str:
    """Where an engine ran."""
    if device.kind == "gpu":
        facts = [f"compute capability {device.capability}"] if device.capability else []
        facts += [_sms(device.multiprocessors)] if device.multiprocessors else []
        return f"{device.name} ({', '.join(facts)})" if facts else device.name
    return f"{device.machine or 'unknown'} CPU" + (f" ({device.name})" if device.name != device.machine else "")


def _sms(count: int) -> str:
    return f"{count} SM{'' if count == 1 else 's'}"


def engine_words(engine: Engine) -> str:
    """What exactly was attacked."""
    where = f"{engine.backend} {engine.version} on {device_words(engine.device)}"
    return f"{where}, variant {engine.variant}, sha256 {engine.sha256[:12]}"


def headline(report: VerifyReport) -> str:
    """The verdict with what it is about: without that it means nothing."""
    engine, target = report.engine, report.target
    here = "this CPU" if engine.device.kind == "cpu" else f"this {engine.device.name}"
    line = f"{HEADLINES[report.verdict][0]} on {engine.backend} {engine.version} ({here})"
    if target is None or target.verified(report.timing):
        return line
    return f"{line}; {target.profile} itself is not verified"


def reasons(report: VerifyReport) -> tuple[str, ...]:
    """A reason for everything that keeps the verdict from being a pass."""
    failed = [] if report.parity.ok else [parity_words(report)]
    failed += [
        f"{GATES.get(g.gate, g.gate)} {percent(g.measured)} is below {percent(g.required)}"
        for g in report.gates
        if g.verdict == "fail"
    ]
    failed += [
        f"{LIMITS.get(b.limit, b.limit)} {limit_value(b.limit, b.measured)} is above {limit_value(b.limit, b.required)}"
        for b in report.budget
        if b.ok is False
    ]
    open_ = [
        f"{GATES.get(g.gate, g.gate)} {percent(g.measured)} lies too near {percent(g.required)} for "
        f"{report.judged.n} images ({percent(g.low)} to {percent(g.high)}): {settling_words(report, g)}"
        for g in report.gates
        if g.verdict == "inconclusive"
    ]
    if not report.rows:  # nothing was attacked, nothing is judged
        return tuple(failed)
    if all(row.source not in MADE_HERE for row in report.rows):
        open_.append("only stored examples were replayed: nothing was made against this engine")
    if report.twin_agreement < TWIN_AGREEMENT:
        open_.append(
            f"the gradient twin agrees with the engine on {report.twin_agreement:.2%} only: its rows prove little"
        )
    if not report.gradients.ok:
        open_.append(f"the gradients that led the attacks cannot be trusted: {gradient_words(report.gradients)}")
    open_ += [f"the figure cannot be trusted: {flag_words(flag)}" for flag in report.flags]
    if report.verdict == "pass as claimed":
        open_.append(
            f"{signature_words(report.trust)}, and its images and gates are its own claims. What would settle it: "
            "--trust KEY, the maker's public key; --expect-sha256 HEX, the manifest's digest as the maker told you; or "
            "--data DATA, samples of your own"
        )
    return (*failed, *open_)


def signature_words(trust: Trust) -> str:
    """Who signed the bundle, as far as this machine could tell."""
    if trust.signature == "none":
        return "the bundle is not signed"
    if trust.key is None:
        return "the bundle is signed, which was not checked, for cryptography is missing (pip install 'edgerkd[sign]')"
    if trust.signature == "unchecked":
        return f"the bundle names the key {trust.key}, by which its signature cannot be checked: it is not here"
    return f"the bundle is signed by the key {trust.key}"


def trust_words(trust: Trust) -> str:
    """What verdict or figures rest on beside what was measured."""
    grounds = " and ".join(GROUNDS[ground] for ground in trust.grounds) or "the bundle's own word alone"
    return f"beside what was measured this rests on {grounds}: {signature_words(trust)}"


def settling_words(report: VerifyReport, gate: Gate) -> str:
    """How many images would settle a gate that is open, if what was measured went on."""
    tally = report.judged.tally(gate.gate)
    found = None if tally is None else images_needed(tally, report.judged.n, gate.required, gates=len(report.gates))
    if found is None:
        return "at this value more images would not settle it"
    return f"some {_rounded(found):,} images would settle it at this value"


def _rounded(n: int) -> int:
    """Up, to two digits."""
    step = 10 ** max(0, len(str(n)) - 2)
    return -(-n // step) * step


def judged_words(report: VerifyReport) -> str:
    """How many images the verdict rests on, and whether that is all of them."""
    n, of = report.judged.n, report.judged.of
    return f"all {of} images" if n == of else f"decided after {n} of {of} images, drawn with seed {report.probe_seed}"


def gradient_words(found: GradientCheck) -> str:
    """What the twin's slopes have in common with the engine's, and what is missing."""
    said = {
        "flat": f"engine and twin say at {found.flat} of {found.points} random points that nothing changes",
        "disagreeing": f"the twin's slope is not the engine's at {found.disagreeing} of {found.points} random points, "
        f"at most {found.allowed} are chance",
        "correlation": f"along random directions the twin's slopes and the engine's have a correlation of "
        f"{found.correlation:.2f} [{found.low:.2f}, {found.high:.2f}], at least {found.required:.2f} is required",
    }
    return "; ".join(said[failure] for failure in found.failures)


def parity_words(report: VerifyReport) -> str:
    """How far the engine is from the model that the host measured."""
    parity = report.parity
    return (
        f"parity: the engine's logits differ from the host's by up to {parity.max_abs_dlogit:.3g} "
        f"(limit {parity.limit:.3g}), agreement {parity.agreement:.2%}"
    )


def notes(report: VerifyReport) -> tuple[str, ...]:
    """What a reader should know of the verdict's making, and what it is not about."""
    found = [
        trust_words(report.trust),
        *skipped_words(report.skipped),
        *build_words(report.build),
        *map(flag_words, report.notices),
    ]
    if report.rows and report.requirement.asks_accuracy and report.requirement.min_robust_acc is None:
        found.append("nobody requires any robust accuracy: the verdict is about clean accuracy alone (--min-robust)")
    chance = chance_of(report.by_class)
    if report.clean_acc.low <= floor_above(chance):
        found.append(
            f"clean accuracy {report.clean_acc} is near chance ({percent(chance)}): check the normalization, the order "
            "of the classes, and which output holds the scores"
        )
    made = tuple(row.attack for row in report.rows if row.source in MADE_HERE)
    if report.rows and report.reference is not None and made != report.reference.attacks:
        found.append(
            f"the host attacked by {', '.join(map(title_of, report.reference.attacks))}, this engine was attacked by "
            f"{', '.join(map(title_of, made))}: if the latter is stronger, the gates are harder to pass than they say"
        )
    found += origin_notes(report)
    if report.target is not None and not report.target.verified(report.timing):
        found.append(_elsewhere(report, report.target))
    return tuple(found)


def _elsewhere(report: VerifyReport, target: Target) -> str:
    """What the verdict is about, where that is not the profile's device, and what that would be."""
    told = (report.timing.before.power_mode, report.timing.after.power_mode)
    modes = " then ".join(dict.fromkeys(mode for mode in told if mode is not None))
    here = f"{device_words(report.engine.device)}{f' in power mode {modes}' if modes else ''}"
    own = f"{target.backend}{f' on {_sms(target.sms)}' if target.sms else ''}"
    own += f" in power mode {target.power_mode}" if target.power_mode else ""
    return (
        f"this verdict is about {report.engine.backend} on {here}; {target.title} runs {own}: run `edgerkd verify` "
        "there, latency is judged there too"
    )


def skipped_words(skipped: Sequence[Skipped]) -> tuple[str, ...]:
    """Why better backends were not taken."""
    return tuple(f"{each.backend} is not used: {each.problem}" for each in skipped)


def build_words(log: BuildLog) -> tuple[str, ...]:
    """What was decided while the engine was built; nothing where the graph is the engine."""
    lines: list[str] = []
    if log.tf32 is not None:
        lines.append(f"TF32 {'on' if log.tf32 else 'off'}")
    if log.max_batch is not None:
        lines.append(f"batch 1 to {log.max_batch}, tuned for 1")
    if log.fallback is not None:
        lines.append(f"the strongly typed build failed: {log.fallback}")
    if log.typing == "strong":
        lines.append("strongly typed")
    elif log.typing == "weak":
        lines.append(f"weakly typed, precisions allowed: {', '.join(log.precisions)}")
    if log.arithmetic is not None:
        lines.append(f"its floating-point layers are computed in {log.arithmetic} on this processor")
    if log.layers:
        who = "by the finished engine" if log.layers_from == "engine" else "by the graph as the library read it"
        layers = (f"{each.count} {each.kind.lower().replace('_', ' ')} {each.precision}" for each in log.layers)
        lines.append(f"layers, {who}: {', '.join(layers)}")
    return tuple(lines)


def threat_words(threat: ThreatModel) -> str:
    """What the attacker may do, in a sentence."""
    if threat.norm == "Linf":
        may = f"every value of every pixel may be changed by up to {threat.eps} of full brightness, all of them at once"
    else:
        may = f"all changes together may have a Euclidean length of up to {threat.eps}, full brightness counting 1"
    return f"{may}; the result must still be a valid image"


def sample_words(n: int, of: int, seed: int, split: str = "test") -> str:
    """Which images stand for a split; the seed is that of their draw and of the attacks."""
    images = f"{n} {split} images" if n == of else f"{n} of {of:,} {split} images drawn by class"
    return f"{images}, seed {seed}"


def missing_words(found: ByClass) -> tuple[str, ...]:
    """A line on the classes that no image stands for; none where there are none."""
    if not found.missing:
        return ()
    more = ", ..." if len(found.missing) > 8 else ""
    return (f"no image of {', '.join(found.missing[:8])}{more}: nothing here is about these classes",)


def variant_words(variant: Variant) -> str:
    """A variant's name and what it is for."""
    placed = {"signed": "backends like trt", "unsigned": "backends like onnx"}
    return f"{variant.name} for {variant.backend or placed.get(variant.placement or '', 'any backend')}"


def retention_words(found: Retention) -> str:
    """Such as: keeps 99.1% [96.3%, 100.0%] of 214 robust images."""
    share = f"at most {percent(found.value)}" if found.at_most else interval(found.value, found.low, found.high)
    kept = f"keeps {share} of {found.n:,} robust images"
    return kept if found.settled_by is None else f"{kept}: too few to say, {found.settled_by:,} would do"


def search_name(search: PrecisionSearch) -> str:
    """The name of the variant that it is about."""
    return "-".join(part for part in (search.precision, search.placement) if part)


def search_words(search: PrecisionSearch) -> str:
    """What a lower precision costs in robustness, and what stayed in float32."""
    found = "not attacked" if search.retention is None else retention_words(search.retention)
    layers, epochs = len(search.float_layers), search.trained_epochs
    trained = f", after {epochs} epochs of training for it" if epochs else ""
    return f"{search_name(search)}: {found}, {layers} layer{'' if layers == 1 else 's'} in float32{trained}"


def precision_lines(manifest: Manifest) -> tuple[str, ...]:
    """The variants of a bundle, how those of lower precision were found, and which were not taken."""
    return (
        f"variants: {', '.join(map(variant_words, manifest.variants))}",
        *(search_words(v.search) for v in manifest.variants if v.search is not None),
        *(f"{search_words(search)}: not taken" for search in manifest.rejected),
    )


def bundle_lines(manifest: Manifest) -> tuple[str, ...]:
    """What is in a bundle, and what the host measured of it."""
    model, reference = manifest.model, manifest.reference
    channels, height, width = model.image_shape
    lines = [
        f"model: {width}x{height} {'grey' if channels == 1 else 'colour'} images, {len(model.classes)} classes, "
        f"{format_count(model.cost.params)} parameters, {format_count(model.cost.macs)} MACs",
        *precision_lines(manifest),
    ]
    if reference is not None:
        lines.append(
            f"on the host: clean {reference.clean_acc}, robust {reference.robust_acc} under {manifest.threat_model} "
            f"({', '.join(map(title_of, reference.attacks))})"
        )
    return tuple(lines)
