"""Cross-entropy on clean images: what everybody does, and no robustness comes of it."""

import torch.nn.functional as F

from edgerkd.distill.methods.method import Method, NoOptions, Terms
from edgerkd.distill.methods.step import Outputs, Step


def terms(step: Step, seen: Outputs) -> Terms:
    """CE(S(x), y)."""
    return {"ce": F.cross_entropy(seen.student.logits.float(), step.labels)}


METHOD = Method(
    name="standard",
    description="training on clean images only, without a teacher",
    sources=("the textbook's cross-entropy",),
    options=NoOptions,
    terms=terms,
    keeps_best="clean",
)
