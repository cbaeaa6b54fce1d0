"""The host's attack on a graph through its gradient twin, by ONNX Runtime."""

from collections.abc import Sequence

import numpy as np

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import Outcomes, assess, joined
from edgerkd.attacks.attack import Attack
from edgerkd.bundle.samples import StoredSamples
from edgerkd.core.progress import Progress
from edgerkd.core.threat import ThreatModel
from edgerkd.verify.classifier import BATCH
from edgerkd.verify.graph import open_graph


def attack_graph(
    graph: bytes,
    twin: bytes,
    samples: StoredSamples,
    attacks: Sequence[Attack],
    threat_model: ThreatModel,
    *,
    seed: int,
    name: str,
    progress: Progress,
) -> Outcomes:
    """The outcomes of the attacks on all samples; `name` is what is attacked, for the progress. Raises EngineError."""
    inputs = AttackInputs(
        images=samples.images,
        labels=samples.labels,
        threat_model=threat_model,
        seed=seed,
        index=np.arange(len(samples)),
    )
    with (
        open_graph(graph, twin) as classifier,
        progress.stage(f"attacking {name} on the host", len(samples) * len(attacks)) as advance,
    ):
        return joined(assess(classifier, attacks, inputs, chunk=BATCH, after=advance))
