"""What `verify` found, as plain data."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.by_class import ByClass
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag
from edgerkd.core.ranges import Amount, Count, Name, Positive, Sha256, Share, Weight
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(Record):
    """The thing that was attacked. `device` is where it ran; `sha256` is of the engine's own file."""

    runtime: Name
    version: Name
    device: Name
    precision: Name
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity(Record):
    """How close the engine is to the host's student on the replay set, clean and adversarial images.

    `max_abs_dlogit` and its limit are in logit units; `agreement` is the share of equal argmax
    among images whose host margin is above the limit; `ok` is the two together.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Record):
    """One limit of the budget against what was found; `ok` is None where it cannot be judged here."""

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
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport(Record):
    """The whole of `verify.json`."""

    SCHEMA = 1

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    bundle: Name
    manifest_sha256: Sha256
    threat_model: ThreatModel
    engine: Engine
    parity: Parity
    twin_agreement: Share
    clean_acc: Accuracy
    robust_acc: Accuracy
    by_class: ByClass
    rows: tuple[Row, ...]
    flags: tuple[Flag, ...]
    retention: Weight
    gates: tuple[Gate, ...]
    latency_ms: Latency
    budget: tuple[Limit, ...]
    seed: Amount
