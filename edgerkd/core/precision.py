"""How a variant's precision was found: what each layer would cost, what was kept in float32, what an attack left."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from edgerkd.core.errors import UnknownNameError
from edgerkd.core.ranges import Amount, Length, Share, Weight
from edgerkd.core.record import Record

Precision = Literal["fp32", "fp16", "int8"]
Precisions = Literal["auto", "fp32", "fp16", "int8"]
"""What can be asked for."""
Placement = Literal["unsigned", "signed"]
"""How an int8 graph is quantised, which decides whether a runtime's kernels fuse.

`unsigned`: uint8 after each layer and its activation, zero at the ReLU's floor (ONNX Runtime, OpenVINO). `signed`: int8
with zero in the middle, before each layer and on the branch that a convolution's output is added to (TensorRT, whose
parser takes uint8 for int8 in silence).
"""

RETENTION, RETENTION_LOW = 0.98, 0.95
"""Of the float32 model's robust images, what a variant must keep to be chosen: by value, and by the low end of the
interval by which `verify` will decide. The second is what every profile requires of an engine; the first is ours."""


def load_precision(text: str) -> Precisions:
    """What can be asked for by that name. Raises UnknownNameError."""
    known: tuple[Precisions, ...] = get_args(Precisions)
    for precision in known:
        if precision == text:
            return precision
    raise UnknownNameError("precision", text, known)


Layer = Annotated[str, Length(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShift(Record):
    """How far one layer alone, in the lower precision, moves margins: root mean square, in logit units."""

    layer: Layer
    shift: Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStep(Record):
    """A graph that was tried: `kept` layers in float32, the shift of all others together, and the forecast.

    `forecast` is the share of robust images whose margin is below that shift.
    """

    kept: Amount
    shift: Weight
    forecast: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention(Record):
    """What an attack on the variant itself leaves of the n images that the float32 model resists.

    `low` to `high` is the interval of `verify`, 99 %, images paired. Where that is too wide to decide, `settled_by` is
    how many robust images would do. `at_most`: the attack was ended where it had found too much, and what it did not go
    at counts as kept.
    """

    n: Amount
    value: Weight
    low: Weight
    high: Weight
    settled_by: Amount | None = None
    at_most: bool = False

    @property
    def holds(self) -> bool:
        """Whether the variant may be chosen."""
        return self.value >= RETENTION and self.low >= RETENTION_LOW


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionSearch(Record):
    """The road to one variant, chosen or not: each layer's shift, the graphs tried, and what was decided.

    `float_layers` stayed in float32; `retention` is None where the host attacked nothing. `seconds` are of ranking the
    layers, `attack_seconds` of attacking the variant. A model that was trained on for the variant was so for
    `trained_epochs`, which took `training_seconds`; `steps` are those of before.
    """

    precision: Precision
    placement: Placement | None
    shifts: tuple[LayerShift, ...] = ()
    steps: tuple[SearchStep, ...] = ()
    float_layers: tuple[Layer, ...] = ()
    retention: Retention | None = None
    seconds: Weight = 0.0
    attack_seconds: Weight = 0.0
    trained_epochs: Amount = 0
    training_seconds: Weight = 0.0

    @property
    def holds(self) -> bool:
        """Whether an attack was made, and left enough."""
        return self.retention is not None and self.retention.holds
