"""Is the engine the model the host measured?"""

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.backend import FloatArray
from edgerkd.core.variant import ParityLimits
from edgerkd.core.verification import Parity


def parity_of(logits: FloatArray, host: FloatArray, *, limits: ParityLimits) -> Parity:
    """Compare logits (n, k) of the engine and the host for the same images.

    Agreement counts the images whose host margin is above twice the limit: below it, allowed differences
    may flip the answer. Absolute differences are used, for logits pass through zero.
    """
    limit = limit_of(host, limits)
    clear = clear_of(host, limit)
    agreement = float((logits.argmax(1) == host.argmax(1))[clear].mean()) if clear.any() else 1.0
    difference = float(np.abs(logits - host).max())
    return Parity(
        n=len(host),
        max_abs_dlogit=difference,
        limit=limit,
        agreement=agreement,
        ok=bool(np.isfinite(limit)) and difference <= limit and agreement == 1.0,
    )


def limit_of(host: FloatArray, limits: ParityLimits) -> float:
    """How far logits may be from the host's (n, k)."""
    return limits.logit_share * max(1.0, float(np.abs(host).max()))


def clear_of(host: FloatArray, limit: float) -> NDArray[np.bool_]:
    """The images (n,) whose answer no difference within the limit can change."""
    ordered = np.sort(host, axis=1)
    return ordered[:, -1] - ordered[:, -2] > 2 * limit
