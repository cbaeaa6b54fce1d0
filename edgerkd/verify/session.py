"""What a verification works on: a bundle's variant, live on a backend of this machine."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgerkd.attacks.losses import log_softmax
from edgerkd.bundle.read import Bundle
from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.core.engine import BuildLog, Engine
from edgerkd.core.engine_memory import EngineMemory
from edgerkd.core.flag import Flag
from edgerkd.core.judged_samples import JudgedSamples
from edgerkd.core.precision import Precision
from edgerkd.core.profile import Profile
from edgerkd.core.threat import ThreatModel
from edgerkd.core.variant import Variant
from edgerkd.core.verification import Skipped
from edgerkd.verify.build import choose_backend, open_engines, preferred_backends
from edgerkd.verify.claims import check_claims
from edgerkd.verify.classifier import EngineClassifier
from edgerkd.verify.distinct import distinct
from edgerkd.verify.isolated import IsolatedEngine
from edgerkd.verify.one_network import network_doubts
from edgerkd.verify.own import Brought, judged_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """`live` and `twin` are loaded; `facts` says what they are, `skipped` which better backends do not work here.

    Attacks are led by the answers of `attacked`, which is `live` or the same engine opened as an attack wants it; what
    counts are the answers of `live`.

    `log_probabilities`: the engine was built from a graph that ends in a softmax, and what it gives are logarithms.
    `samples` are judged, as `judged` says whose they are, within `threat_model`. What `reference` answers are
    `reference_samples`, the bundle's own, which tell whether the engine is the model, whoever brought the samples.
    `doubts` are what the bundle alone gives reason for.
    """

    bundle: Bundle
    variant: Variant
    samples: StoredSamples
    judged: JudgedSamples
    threat_model: ThreatModel
    reference_samples: StoredSamples
    reference: Reference
    live: IsolatedEngine
    attacked: IsolatedEngine
    twin: IsolatedEngine
    facts: Engine
    log: BuildLog
    memory: EngineMemory
    engine: Path
    log_probabilities: bool
    skipped: tuple[Skipped, ...]
    doubts: tuple[Flag, ...]

    @property
    def engine_bytes(self) -> int:
        return self.engine.stat().st_size

    @property
    def precision(self) -> Precision:
        """That of the slopes: a network that takes whole pixels rounds what an attack does, as int8 does."""
        adoption = self.bundle.manifest.model.adoption
        rounds = adoption is not None and adoption.input_type == "uint8"
        return "int8" if rounds else self.variant.precision

    @property
    def classifier(self) -> EngineClassifier:
        return EngineClassifier(self.live, self.twin, log_probabilities=self.log_probabilities)

    @property
    def attacked_classifier(self) -> EngineClassifier:
        """What leads attacks."""
        return EngineClassifier(self.attacked, self.twin, log_probabilities=self.log_probabilities)


def gives_log_probabilities(bundle: Bundle, variant: Variant) -> bool:
    """Whether a variant's engine was built elsewhere, from a graph that ends in a softmax."""
    adoption = None if variant.engine is None else bundle.manifest.model.adoption
    return adoption is not None and adoption.removed in ("softmax", "log_softmax")


def expected_of(bundle: Bundle, variant: Variant, reference: Reference) -> Reference:
    """What a variant's engine can be held against: logits, or the same but for a constant an image."""
    if not gives_log_probabilities(bundle, variant):
        return reference
    adv = reference.logits_adv
    return Reference(logits=log_softmax(reference.logits), logits_adv=None if adv is None else log_softmax(adv))


@contextmanager
def open_session(
    bundle: Bundle,
    *,
    engines: Path,
    profile: Profile | None,
    backend: str | None,
    variant: str | None,
    brought: Brought | None = None,
) -> Generator[Session]:
    """Build what is missing below `engines`, and load it, by the `backend` asked for or the best of the `profile`.

    What is `brought` counts in place of the bundle's own.

    Raises ConfigError where all samples brought are the bundle's, ArtefactError for samples that do not fit the model,
    UnknownNameError, MissingDependencyError where no backend works, EngineError where the engine cannot be built or
    loaded.
    """
    chosen, skipped = choose_backend(backend, preferred_backends(bundle, profile))
    found = bundle.manifest.variant_for(chosen.name, chosen.placement, variant)
    stored, reference = bundle.samples(found)
    check_claims(bundle, found, stored)
    brought, own = brought or Brought(), bundle.manifest.threat_model
    threat_model = own if brought.eps is None else replace(own, eps=brought.eps)
    rows = distinct(stored.pixels, eps=float(threat_model.eps), norm=threat_model.norm)
    samples, judged = judged_samples(bundle, stored, rows, brought, threat_model)
    doubts = network_doubts(bundle, found, reference, stored)
    stored, reference = stored.take(rows), expected_of(bundle, found, reference.take(rows))
    with ExitStack() as stack:
        opened = open_engines(bundle, found, chosen, engines, stack)
        live, built = opened.live, opened.built
        yield Session(
            bundle=bundle,
            variant=found,
            samples=samples,
            judged=judged,
            threat_model=threat_model,
            reference_samples=stored,
            reference=reference,
            live=live,
            attacked=opened.attacked,
            twin=opened.twin,
            facts=Engine(
                backend=live.backend,
                version=live.version,
                device=live.device,
                variant=found.name,
                precision=found.precision,
                sha256=built.record.engine_sha256,
            ),
            log=built.record.log,
            memory=opened.memory,
            engine=built.engine,
            skipped=skipped,
            doubts=doubts,
            log_probabilities=gives_log_probabilities(bundle, found),
        )
