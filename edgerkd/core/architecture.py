"""What a network looks like, as plain data: enough to build it again."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.ranges import Amount, Count, Length, Name, Positive, Within
from edgerkd.core.record import Record

StudentFamily = Literal["resnet", "preactresnet", "mobilenetv2", "mobilenetv3", "repvgg"]
TeacherFamily = Literal[
    "resnet-bottleneck",
    "wideresnet",
    "wideresnet-silu",
    "wideresnet-same",
    "wideresnet-same-silu",
    "library",
    "graph",
]
"""No student is planned in these: networks made elsewhere, imported as they are. `library` alone has students too.

A `graph` is an ONNX graph: it cannot be built, only kept."""

Family = StudentFamily | TeacherFamily

_WITHOUT_STAGES = ("library", "graph")

LIBRARIES = ("torchvision:", "timm:")
"""How the name of a library's network begins."""

LARGE = 128
"""Images of this height and more are large: a network's first convolution halves them. Ours."""


MOST_STAGES = 16
Wide = Annotated[int, Within(1, 65_536)]
Deep = Annotated[int, Within(1, 1024)]
"""Beyond what anybody builds, so that a damaged file asks for no memory that no machine has. Ours."""


def load_family(name: str) -> StudentFamily:
    """The students' family of that name. Raises UnknownNameError."""
    known: tuple[StudentFamily, ...] = get_args(StudentFamily)
    for family in known:
        if family == name:
            return family
    raise UnknownNameError("family", name, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture(Record):
    """A convolutional network: one stage per entry of `widths`, each of `blocks` blocks of its family.

    The first stage keeps the stem's resolution, each later one halves it; the stem keeps that of the
    images unless they are large. `mean` and `std` are per channel, of images in [0, 1]; the network
    normalises its input itself. Networks of the families `library` and `graph` are as they are: `widths` and
    `blocks` are empty, and a graph normalises whatever `mean` and `std` say: they are those of its data.
    Raises ConfigError for lengths that do not go together.
    """

    family: Family
    widths: Annotated[tuple[Wide, ...], Length(most=MOST_STAGES)]
    blocks: Annotated[tuple[Deep, ...], Length(most=MOST_STAGES)]
    channels: Annotated[int, Within(1, 4)]
    height: Annotated[int, Within(4, 4096)]
    width: Annotated[int, Within(4, 4096)]
    classes: Annotated[int, Within(2, 100_000)]
    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    library: Name | None = None
    """`torchvision:NAME` or `timm:NAME`, for the family `library` alone."""

    def __post_init__(self) -> None:
        if (self.family == "library") is (self.library is None):
            raise ConfigError(
                f"library = {self.library}: expected for the family library alone; family is {self.family}"
            )
        if len(self.widths) != len(self.blocks) or bool(self.widths) is (self.family in _WITHOUT_STAGES):
            raise ConfigError(f"widths {self.widths} and blocks {self.blocks}: expected an entry each for every stage")
        for key in ("mean", "std"):
            if len(getattr(self, key)) != self.channels:
                raise ConfigError(f"{key} has {len(getattr(self, key))} values for {self.channels} channels")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return self.channels, self.height, self.width

    def __str__(self) -> str:
        if self.library is not None:
            return self.library
        if self.family == "graph":
            return "ONNX graph"
        return f"{self.family} {'-'.join(map(str, self.widths))} x {'-'.join(map(str, self.blocks))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Record):
    """What one network costs for a batch of one image.

    `params` and `macs` are counts; `file_bytes` and `peak_bytes` are for float32 weights and
    activations; `latency_ms` is predicted for a profile, None where no profile says how.
    """

    params: Count
    macs: Amount
    file_bytes: Count
    peak_bytes: Count
    latency_ms: Positive | None = None
