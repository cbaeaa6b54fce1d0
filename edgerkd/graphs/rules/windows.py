"""Where the windows of a convolution or a pool lie."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgerkd.graphs.rules.tape import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """By spatial axis: window i begins at `strides * i - begins` and takes every `dilations`-th of `kernel` places."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    """The padding that the node names; with ceil_mode the last window may reach further."""

    def __len__(self) -> int:
        return len(self.kernel)

    def extent(self, axis: int) -> int:
        """How many places a window spans."""
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1

    def reach(self, axis: int, windows: int) -> int:
        """How many places that many windows span."""
        return self.strides[axis] * (windows - 1) + self.extent(axis)


def windows_of(call: Call, kernel: Sequence[int], size: Sequence[int], out: Sequence[int]) -> Windows:
    """The windows of a node that takes maps of `size` to maps of `out`. `auto_pad` as ONNX defines it for Conv-11."""
    n = len(kernel)
    strides = tuple(call.attributes.get("strides", [1] * n))
    dilations = tuple(call.attributes.get("dilations", [1] * n))
    pads = call.attributes.get("pads", [0] * 2 * n)
    automatic = call.attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        totals = [max(0, strides[i] * (out[i] - 1) + dilations[i] * (kernel[i] - 1) + 1 - size[i]) for i in range(n)]
        less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
        pads = [*less, *more] if automatic == b"SAME_UPPER" else [*more, *less]
    elif automatic == b"VALID":
        pads = [0] * 2 * n
    return Windows(
        kernel=tuple(kernel),
        strides=strides,
        dilations=dilations,
        begins=tuple(pads[:n]),
        ends=tuple(pads[n:]),
    )
