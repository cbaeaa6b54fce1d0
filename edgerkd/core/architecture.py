"""What a network looks like, as plain data: enough to build it again."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.record import Record

Family = Literal["resnet", "preactresnet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture(Record):
    """A residual network: one stage per entry of `widths`, each of `blocks` basic blocks.

    The first stage keeps the resolution, each later one halves it. `mean` and `std` are per
    channel, of images in [0, 1]; the network normalises its input itself.
    """

    family: Family
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    channels: int
    height: int
    width: int
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return self.channels, self.height, self.width

    def __str__(self) -> str:
        return f"{self.family} {'-'.join(map(str, self.widths))} x {'-'.join(map(str, self.blocks))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Record):
    """What one network costs for a batch of one image.

    `params` and `macs` are counts; `file_bytes` and `peak_bytes` are for float32 weights and
    activations; `latency_ms` is predicted for a profile, None where no profile says how.
    """

    params: int
    macs: int
    file_bytes: int
    peak_bytes: int
    latency_ms: float | None = None
