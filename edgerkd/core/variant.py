"""One precision of a model, for one kind of backend."""

from dataclasses import dataclass
from typing import Annotated, Literal

from edgerkd.core.errors import ConfigError
from edgerkd.core.ranges import Name, Within
from edgerkd.core.record import Record

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityLimits(Record):
    """How far an engine's logits may be from the reference's.

    `logit_share` bounds |logit - reference logit|, as a share of the largest |reference logit|.
    """

    logit_share: Annotated[float, Within(0, 1, above=True)]


FP32_PARITY = ParityLimits(logit_share=1e-4)
"""An fp32 engine with TF32 off was measured at 1.8e-7 in ONNX Runtime; 1e-4 leaves room for other summation orders
and is far below a difference that matters. Ours (docs/adr/0006)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Record):
    """The files of one precision: graph, gradient twin, and the reference logits it was measured to give.

    `backend` is the one it is for, None for any. `engine` is a file built elsewhere that is taken as it is, where
    there is one.
    """

    name: Name
    precision: Precision
    backend: Name | None
    graph: Name
    twin: Name
    reference: Name
    parity: ParityLimits
    engine: Name | None = None

    def __post_init__(self) -> None:
        if self.engine is not None and self.backend is None:
            raise ConfigError(f"variant {self.name} brings an engine, and does not say which backend it is for")

    @property
    def files(self) -> tuple[str, ...]:
        """All that it needs."""
        return (self.graph, self.twin, self.reference, *([self.engine] if self.engine else []))
