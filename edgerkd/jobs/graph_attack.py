"""The host's attack on a graph through its gradient twin, by ONNX Runtime."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

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
    order: NDArray[np.int64] | None = None,
    enough: Callable[[Outcomes], bool] = lambda found: False,
) -> Outcomes:
    """The outcomes of the attacks on all samples; `name` is what is attacked, for the progress. Raises EngineError.

    With `order` the samples are attacked in that order, in which their outcomes are, until what was found is `enough`.
    """
    order = np.arange(len(samples)) if order is None else order
    inputs = AttackInputs(
        images=samples.images[order],
        labels=samples.labels[order],
        threat_model=threat_model,
        seed=seed,
        index=order,
    )
    found: list[Outcomes] = []
    with (
        open_graph(graph, twin) as classifier,
        progress.stage(f"attacking {name} on the host", len(samples) * len(attacks)) as advance,
    ):
        for part in assess(classifier, attacks, inputs, chunk=BATCH, after=advance):
            found.append(part)
            if enough(joined(found)):
                break
    return joined(found)
