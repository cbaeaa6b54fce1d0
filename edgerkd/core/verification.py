"""What `verify` found, as plain data: facts alone, from which report/ makes words."""

from dataclasses import dataclass, field
from typing import Literal

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.by_class import ByClass
from edgerkd.core.circumstances import Circumstances
from edgerkd.core.conditions import Timing
from edgerkd.core.engine import BuildLog, Engine
from edgerkd.core.engine_memory import EngineMemory
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag
from edgerkd.core.gradient_check import GradientCheck
from edgerkd.core.judged import Judged
from edgerkd.core.judged_samples import JudgedSamples
from edgerkd.core.kept import Histogram, KeptFile, RadiusPoint
from edgerkd.core.origin import Origins
from edgerkd.core.plain import PlainAnswer
from edgerkd.core.ranges import Amount, Count, Name, Positive, Sha256, Share, Weight
from edgerkd.core.record import Record
from edgerkd.core.requirement import ReferenceResult, Requirement
from edgerkd.core.threat import ThreatModel
from edgerkd.core.trust import Trust

Judgement = Literal["pass", "fail", "inconclusive"]
Verdict = Literal["pass", "fail", "inconclusive", "measured", "pass as claimed"]
"""`measured`: figures were asked for, and no judgement. `pass as claimed`: all is met, and nothing that the verifier
trusts backs the bundle."""

TWIN_AGREEMENT = 0.999
"""Share of equal answers below which the twin is not the engine. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity(Record):
    """How close the engine is to the host's model on the same images, clean and adversarial.

    `max_abs_dlogit` and its limit are in logit units; `agreement` is the share of equal argmax
    among images whose host margin is above twice the limit; `ok` is the two together.
    """

    n: Count
    max_abs_dlogit: Weight
    limit: Weight
    agreement: Share
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Record):
    """Milliseconds for one batch, images in host memory to logits in host memory, after warm-up."""

    p50: Positive
    p95: Positive
    p99: Positive
    batch: Count
    runs: Count
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Record):
    """One limit of the budget against what was measured; `ok` is None where it cannot be judged here."""

    limit: Name
    required: Weight
    measured: Weight | None
    ok: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Record):
    """One gate: the measured interval against what was required; `verdict` by where the interval lies."""

    gate: Name
    required: Share
    measured: Weight
    low: Weight
    high: Weight
    verdict: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(Record):
    """A backend that was preferred and does not work here."""

    backend: Name
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Record):
    """The device that the bundle's profile is about. `reached`: this is its own backend on a device like it.

    `sms` and `power_mode` are those that the profile's numbers hold for.
    """

    profile: Name
    title: Name
    backend: Name
    reached: bool
    sms: Count | None = None
    power_mode: Name | None = None

    def verified(self, timing: Timing) -> bool:
        """Whether what was timed is the device itself: reached, and in its power mode as far as the machine tells."""
        modes = {timing.before.power_mode, timing.after.power_mode} - {None}
        return self.reached and (self.power_mode is None or modes <= {self.power_mode})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport(Record):
    """One verification. `reference` is what the bundle claims that the host measured, `origins` who says the rest.

    `samples` are the images there were to judge, of which `judged` says what became of those that were, and `plain`
    what the engine answers to all of them before any attack. Without `rows` nothing was attacked, and `robust_acc` is
    of no image. `seed` is that of the attacks, `probe_seed` of the order of the images and of where gradients were
    checked. The intervals of gates and of accuracies under attack hold at 99 % however early it was decided.
    """

    SCHEMA = 1

    verdict: Verdict
    bundle: Name
    manifest_sha256: Sha256
    threat_model: ThreatModel
    requirement: Requirement
    reference: ReferenceResult | None
    target: Target | None
    engine: Engine
    build: BuildLog
    skipped: tuple[Skipped, ...]
    samples: JudgedSamples
    plain: PlainAnswer
    parity: Parity
    twin_agreement: Share
    gradients: GradientCheck
    clean_acc: Accuracy
    robust_acc: Accuracy
    judged: Judged
    by_class: ByClass
    rows: tuple[Row, ...]
    flags: tuple[Flag, ...]
    notices: tuple[Flag, ...]
    retention: Weight | None
    gates: tuple[Gate, ...]
    latency_ms: Latency
    timing: Timing
    budget: tuple[Limit, ...]
    origins: Origins
    seed: Amount
    probe_seed: Amount
    trust: Trust = field(default_factory=Trust)
    made: Circumstances | None = None
    curve: tuple[RadiusPoint, ...] = ()
    """Below the radius attacked from a short attack and smaller changes: at most so many images are robust there."""
    kept: KeptFile | None = None
    engine_memory: EngineMemory | None = None
