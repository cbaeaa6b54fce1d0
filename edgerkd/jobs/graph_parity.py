"""Is an exported graph the model? Asked before it goes into a bundle."""

import numpy as np

from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.core.errors import ParityError
from edgerkd.core.variant import PARITY
from edgerkd.verify.graph import graph_logits
from edgerkd.verify.parity import parity_of


def check_graph(graph: bytes, samples: StoredSamples, reference: Reference) -> None:
    """Run the graph on clean and adversarial images. Raises ParityError where it is not the model."""
    images, host = [samples.images], [reference.logits]
    if samples.images_adv is not None and reference.logits_adv is not None:
        images.append(np.asarray(samples.images_adv))
        host.append(reference.logits_adv)
    parity = parity_of(graph_logits(graph, np.concatenate(images)), np.concatenate(host), limits=PARITY["fp32"])
    if not parity.ok:
        raise ParityError(
            f"The exported graph differs from the student by up to {parity.max_abs_dlogit:.3g} "
            f"(limit {parity.limit:.3g}), agreement {parity.agreement:.2%}; the bundle there was is left as it is."
        )
