"""What `verify` found, as plain data."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.evaluation import Row
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(Record):
    """The thing that was attacked. `device` is where it ran; `sha256` is of the engine's own file."""

    runtime: str
    version: str
    device: str
    precision: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity(Record):
    """How close the engine is to the host's student on the replay set, clean and adversarial images.

    `max_abs_dlogit` and its limit are in logit units; `agreement` is the share of equal argmax
    among images whose host margin is above the limit; `ok` is the two together.
    """

    n: int
    max_abs_dlogit: float
    limit: float
    agreement: float
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Record):
    """Milliseconds for one batch, images in host memory to logits in host memory, after warm-up."""

    p50: float
    p95: float
    p99: float
    batch: int
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Record):
    """One limit of the budget against what was found; `ok` is None where it cannot be judged here."""

    limit: str
    required: float
    measured: float | None
    ok: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Record):
    """One gate: the measured interval against what was required; `verdict` by where the interval lies."""

    gate: str
    required: float
    measured: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport(Record):
    """The whole of `verify.json`."""

    schema: int
    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    bundle: str
    manifest_sha256: str
    threat_model: ThreatModel
    engine: Engine
    parity: Parity
    twin_agreement: float
    clean_acc: Accuracy
    robust_acc: Accuracy
    rows: tuple[Row, ...]
    flags: tuple[str, ...]
    retention: float
    gates: tuple[Gate, ...]
    latency_ms: Latency
    budget: tuple[Limit, ...]
    seed: int
