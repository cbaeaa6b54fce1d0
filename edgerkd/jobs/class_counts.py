"""How many images of each class there are, in words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NAMED = 8  # classes whose images are counted one by one; ours


def class_counts(names: Sequence[str], labels: NDArray[np.int64]) -> str:
    """How many images there are of each class, or of each at least and at most, and of which classes none."""
    counts = dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))
    there = {name: n for name, n in counts.items() if n}
    missing = [name for name, n in counts.items() if not n]
    said = ", ".join(f"{name} ({n:,})" for name, n in there.items())
    if len(there) > NAMED:
        said = f"{len(there)} classes, of each {min(there.values()):,} to {max(there.values()):,} images"
    more = ", ..." if len(missing) > NAMED else ""
    return f"{said}; none of {', '.join(missing[:NAMED])}{more}" if missing else said
