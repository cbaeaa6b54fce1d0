"""Plain words for what the files call by short names, and numbers as people read them."""

from edgerkd.core.by_class import ByClass
from edgerkd.core.recipe import MethodName
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import format_size
from edgerkd.core.verification import Engine, Limit, Verdict

HEADLINES: dict[Verdict, tuple[str, str]] = {
    "pass": ("PASS", "every gate is met and no limit judged here is exceeded"),
    "fail": ("FAIL", "at least one requirement is not met: this engine is not shown to be robust"),
    "inconclusive": ("INCONCLUSIVE", "nothing failed, but the evidence is not enough: this is not a pass"),
}

NETWORKS = {
    "teacher": "the large, robust network the student learned from",
    "student": "the compact network this report is about",
    "standard-trained": "a network of the student's size, trained on clean images only",
}

METHODS: dict[MethodName, str] = {
    "standard": "training on clean images only, without a teacher",
    "pgd-at": "adversarial training, without a teacher",
    "trades": "TRADES, without a teacher: clean accuracy weighed against equal outputs on clean and adversarial images",
    "n-fgsm": "fast adversarial training (N-FGSM), without a teacher: one step of attack from a noisy image",
    "kd": "distillation on clean images only: the teacher's soft labels beside the labels",
    "ard": "ARD: the student's outputs on adversarial images matched to the robust teacher's on clean ones",
    "rslad": "RSLAD: the robust teacher's soft labels in the attack and in the loss, without the labels",
    "iad": "IAD: as ARD, with the student's own outputs on clean images as the target where the teacher is wrong",
    "adaad": "AdaAD: adversarial images on which teacher and student disagree most, and the teacher's outputs on them",
    "igdm-rslad": "RSLAD, with the student's input gradients matched to the robust teacher's indirectly (IGDM)",
    "igdm-adaad": "AdaAD, with the student's input gradients matched to the robust teacher's indirectly (IGDM)",
    "mixacm": "MixACM distillation: the robust teacher's channel maps and soft labels on mixed images; "
    "no adversarial image is made",
    "covariance": "distillation on clean and adversarial images with the covariance of features aligned "
    "to the robust teacher's",
    "edgerkd": "adversarial images made in one step from noise, matched to the labels and to the robust teacher's "
    "outputs on the clean images, with the covariance of features aligned to the teacher's",
}

SOURCES = {
    "replay": "Images made earlier, on the host, against the original network, shown to this one again. "
    "It tells what carries over, and cannot find a weakness that only this engine has.",
    "direct": "Images made against this very network or engine: its own answers say how well the attack goes, and "
    "exact gradients say how to change each pixel for the worse. The attacker knows everything.",
    "query": "Images found only by asking again and again and watching the answers. No gradient is used, "
    "so hiding gradients is no protection against it.",
}

GATES = {"clean_acc": "clean accuracy", "robust_acc": "robust accuracy", "retention": "retention"}

GATES_MEANING = {
    "clean_acc": "right answers on untouched images; required is a share of the teacher's own",
    "robust_acc": "right answers under every attack; required is a share of the teacher's own",
    "retention": "robust accuracy of the engine over the host's, on the same images",
}

LIMITS = {
    "params": "parameters",
    "macs": "multiply-accumulates",
    "latency_ms": "latency (median)",
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
    "cov": "covariance",
    "cov_adv": "covariance, adversarial",
    "gram": "score Gram matrix",
    "gram_adv": "score Gram matrix, adv.",
}


def percent(share: float) -> str:
    """A fraction, as people read it: `97.5%`."""
    return f"{share:.1%}"


def interval(value: float, low: float, high: float) -> str:
    """A fraction with its 95 % interval, written like an `Accuracy`."""
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"


def judged(limit: Limit) -> str:
    """How one limit of the budget turned out."""
    return {True: "within", False: "exceeded", None: "not judged here"}[limit.ok]


def limit_value(limit: str, value: float | None) -> str:
    """A value of the budget in its own unit, exact where it is a count."""
    if value is None:
        return "-"
    if limit == "latency_ms":
        return f"{milliseconds(value)} ms"
    if limit.endswith("_bytes"):
        return f"{format_size(round(value))} ({value:,.0f} B)" if value >= 1024 else f"{value:,.0f} B"
    return f"{value:,.0f}"


def milliseconds(value: float) -> str:
    """Three digits, so that neither 0.042 nor 41.7 loses its meaning."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def engine_words(engine: Engine) -> str:
    """What exactly was attacked."""
    return f"{engine.runtime} {engine.version} on {engine.device}, {engine.precision}, sha256 {engine.sha256[:12]}"


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
