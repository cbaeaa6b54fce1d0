"""One precision of a model, for one kind of backend."""

from dataclasses import dataclass
from typing import Annotated

from edgerkd.core.errors import ConfigError
from edgerkd.core.precision import Placement, Precision, PrecisionSearch
from edgerkd.core.ranges import Name, Within
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityLimits(Record):
    """How far an engine's logits may be from the reference's.

    `logit_share` bounds |logit - reference logit|, as a share of the largest |reference logit|.
    """

    logit_share: Annotated[float, Within(0, 1, above=True)]


PARITY: dict[Precision, ParityLimits] = {
    "fp32": ParityLimits(logit_share=1e-4),
    "fp16": ParityLimits(logit_share=1e-2),
    "int8": ParityLimits(logit_share=2e-2),
}
"""Between runtimes that run the very same graph. Ours (docs/adr/0006, docs/adr/0025). fp32 with TF32 off: 3e-7 measured
in ONNX Runtime, 1e-4 leaves room for other summation orders. fp16: the reference is ONNX Runtime's on a CPU, which
computes in float32 with rounded weights and is no oracle for half arithmetic: 4e-3 logits were seen between x86 and
ARM.
int8: fused and unfused kernels round differently: 7e-3 measured between ONNX Runtime's own levels of optimisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Record):
    """The files of one precision: graph, gradient twin, and the reference logits it was measured to give.

    `backend` is the one it is for, None for any that takes its `placement` of quantisers, of which float graphs have
    none. `engine` is a file built elsewhere that is taken as it is, where there is one. `search` says how a lower
    precision than float32 was found.
    """

    name: Name
    precision: Precision
    backend: Name | None
    graph: Name
    twin: Name
    reference: Name
    parity: ParityLimits
    engine: Name | None = None
    placement: Placement | None = None
    search: PrecisionSearch | None = None

    def fits(self, backend: str, placement: Placement | None) -> bool:
        """Whether a backend of this name, whose kernels take this placement or no int8 graph, can build it."""
        return self.backend in (None, backend) and self.placement in (None, placement)

    def __post_init__(self) -> None:
        if self.engine is not None and self.backend is None:
            raise ConfigError(f"variant {self.name} brings an engine, and does not say which backend it is for")

    @property
    def files(self) -> tuple[str, ...]:
        """All that it needs."""
        return (self.graph, self.twin, self.reference, *([self.engine] if self.engine else []))
