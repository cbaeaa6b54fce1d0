"""How the input and the output of somebody else's graph relate to edgerkd's own: what was decided, as facts."""

from dataclasses import dataclass
from typing import Annotated, Literal

from edgerkd.core.errors import ConfigError
from edgerkd.core.ranges import Amount, Count, Length, Name, Positive, Within
from edgerkd.core.record import Record

Layout = Literal["nchw", "nhwc", "flat"]
InputType = Literal["float32", "float16", "uint8"]
Order = Literal["rgb", "bgr"]
Ending = Literal["softmax", "log_softmax", "sigmoid", "binary_sigmoid"]

OLDEST_OPSET = 11
NEWEST_OPSET = 20
"""The operator sets that graphs are taken at as they are. Ours: onnxruntime 1.18 and TensorRT 10 read 20, and 11 is
the first at which Pad, Clip and Resize have the form that they have today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization(Record):
    """What a network's input is: `(image - mean) / std`, a channel, of images in [0, 1] whose channels are RGB or grey.

    Pixels of 0 to 255 are `mean` 0, `std` 1/255. One value stands for all channels. Raises ConfigError for two lengths.
    """

    name: Name
    mean: Annotated[tuple[float, ...], Length(1, 4)]
    std: Annotated[tuple[Positive, ...], Length(1, 4)]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ConfigError(f"mean has {len(self.mean)} values and std {len(self.std)}: expected one each a channel")

    def of_channels(self, channels: int) -> "Normalization | None":
        """With a value for each of so many channels; None where it is of another number of channels."""
        if len(self.mean) == channels:
            return self
        if len(self.mean) != 1:
            return None
        return Normalization(name=self.name, mean=self.mean * channels, std=self.std * channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption(Record):
    """What lies between images float32 (n, c, h, w) in [0, 1] and a graph's input, and its output and logits (n, k).

    In this order: a grey image is repeated to `channels`; with `resized_from` (height, width) it is resized from there
    to (`height`, `width`), linearly with half-pixel centres and no antialiasing; `(image - mean) / std`; for `order`
    bgr the channels are reversed; layout `nhwc` moves them last, and `flat` gives every image the shape `input_shape`
    in the order c, h, w; for `input_type` uint8 values are rounded to 0 to 255.

    `output_place` is that of the scores among the graph's own outputs, None for a tensor inside it.
    `channels`, `height` and `width` are what the graph takes, and `input_shape` that of one image in its own layout.
    `removed` is what the graph ended in before logits. `fixed_batch` is the batch size that it was made for, if any;
    `upgraded_from` the operator set that it had before it was brought to `opset`.
    """

    input: Name
    input_shape: Annotated[tuple[Count, ...], Length(1, 8)]
    input_type: InputType
    layout: Layout
    channels: Annotated[int, Within(1, 4)]
    height: Count
    width: Count
    normalization: Normalization
    order: Order
    grey_repeated: bool
    resized_from: tuple[Count, Count] | None
    output: Name
    output_place: Amount | None
    removed: Ending | None
    fixed_batch: Count | None
    opset: Annotated[int, Within(OLDEST_OPSET, NEWEST_OPSET)]
    upgraded_from: Annotated[int, Within(1, NEWEST_OPSET)] | None

    def __post_init__(self) -> None:
        if len(self.normalization.mean) != self.channels:
            raise ConfigError(f"normalization has {len(self.normalization.mean)} values for {self.channels} channels")


_LAYOUTS: dict[Layout, str] = {
    "nchw": "channels first",
    "nhwc": "channels last",
    "flat": "pixels as {shape}",
}
_ENDINGS: dict[Ending, str] = {
    "softmax": "a softmax, removed",
    "log_softmax": "a log-softmax, removed",
    "sigmoid": "a sigmoid a class, removed",
    "binary_sigmoid": "one sigmoid, made two logits -z/2 and z/2",
}


def adoption_lines(adoption: Adoption) -> tuple[str, ...]:
    """A line for each thing that was decided, to be printed."""
    a = adoption
    layout = _LAYOUTS[a.layout].format(shape=" x ".join(map(str, a.input_shape)))
    size = f"{a.channels} x {a.height} x {a.width}"
    lines = [f"input {a.input!r}: {a.input_type} images {size}, {layout}"]
    if a.normalization.mean != (0.0,) * a.channels or a.normalization.std != (1.0,) * a.channels:
        lines.append(f"normalization {a.normalization.name}: {normalization_text(a.normalization)}")
    else:
        lines.append("normalization none: pixels of 0 to 1")
    if a.order == "bgr":
        lines.append("channel order: BGR")
    if a.grey_repeated:
        lines.append(f"grey images are repeated to {a.channels} channels")
    if a.resized_from is not None:
        height, width = a.resized_from
        lines.append(f"images of {height} x {width} are resized to {a.height} x {a.width} inside the graph")
    lines.append(f"output {a.output!r}: " + ("logits" if a.removed is None else _ENDINGS[a.removed]))
    if a.fixed_batch is not None:
        lines.append(f"the batch size, fixed at {a.fixed_batch}, was made dynamic and checked by running both")
    upgraded = "" if a.upgraded_from is None else f", upgraded from {a.upgraded_from} and checked by running both"
    lines.append(f"opset {a.opset}{upgraded}")
    return tuple(lines)


def normalization_text(normalization: Normalization) -> str:
    """Such as `mean 0.485 0.456 0.406, std 0.229 0.224 0.225`."""
    mean, std = (" ".join(f"{value:.4g}" for value in row) for row in (normalization.mean, normalization.std))
    return f"mean {mean}, std {std}"
