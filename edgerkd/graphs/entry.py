"""A graph's image input: which layout, type and size it has, and the nodes that lead to it from images in [0, 1]."""

from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgerkd.core.adoption import Adoption, InputType, Layout
from edgerkd.core.errors import ConfigError
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.graphs.values import Array, Graph, Node, attributes_of

_TYPES: dict[int, InputType] = {1: "float32", 2: "uint8", 10: "float16"}
_CHANNELS = (1, 3, 4)
_SIDES = range(4, 4097)
_NOT = "expected one image input, channels first or last"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """`batch` is 1 where it is dynamic, and `fixed` says whether it is not; `shape` is one image in its own layout."""

    name: str
    kind: int
    type: InputType
    layout: Layout
    batch: int
    fixed: bool
    shape: tuple[int, ...]
    channels: int
    height: int
    width: int


def find_image(
    graph: Graph, *, image_shape: tuple[int, int, int] | None, layout: Layout | None, where: str
) -> ImageInput:
    """The one image input. `image_shape` (c, h, w) of the data fills in a dynamic height and width.

    Raises ConfigError for a graph that has none, or several inputs, and where layout or size are left open.
    """
    value = _only_input(graph, where)
    shown = f"{where}: input {printable(value.name, LONGEST_NAME)!r}"
    tensor = value.type.tensor_type
    kind = tensor.elem_type
    if kind == 11:
        raise ConfigError(f"{shown} is float64: export the model in float32 (model.float())")
    if kind not in _TYPES:
        raise ConfigError(
            f"{shown} is of no image type, but holds whole numbers or text: {_NOT}; text is not supported"
        )
    if not tensor.HasField("shape"):
        raise ConfigError(f"{shown} has no shape: export the model with the size of its images fixed")
    dims = [int(d.dim_value) if d.dim_value > 0 else None for d in tensor.shape.dim]
    if len(dims) < 2:
        raise ConfigError(f"{shown} has {len(dims)} axes: {_NOT}")
    batch, *rest = dims
    layout = _layout(rest, image_shape, shown) if layout is None else layout
    channels, height, width, shape = _sizes(rest, layout, image_shape, shown)
    return ImageInput(
        name=value.name,
        kind=kind,
        type=_TYPES[kind],
        layout=layout,
        batch=batch or 1,
        fixed=batch is not None,
        shape=shape,
        channels=channels,
        height=height,
        width=width,
    )


def _only_input(graph: Graph, where: str) -> Any:  # Any: onnx.ValueInfoProto
    names = [printable(value.name, LONGEST_NAME) for value in graph.input]
    if not names:
        raise ConfigError(f"{where}: it has no input at all: {_NOT}")
    if len(names) > 1:
        raise ConfigError(f"{where}: it has {len(names)} inputs, {', '.join(names[:10])}: {_NOT}")
    if not graph.input[0].type.HasField("tensor_type"):
        raise ConfigError(f"{where}: its input {names[0]!r} is no tensor: {_NOT}")
    return graph.input[0]


def _layout(rest: list[int | None], image_shape: tuple[int, int, int] | None, shown: str) -> Layout:
    if len(rest) != 3:
        return "flat"
    first, last = (rest[index] in _CHANNELS or rest[index] is None for index in (0, 2))
    if first and last and image_shape is not None:  # a small image, or dynamic axes: the data tell
        c, h, w = image_shape
        orders: tuple[tuple[Layout, tuple[int, ...]], ...] = (("nchw", (c, h, w)), ("nhwc", (h, w, c)))
        fitting: list[Layout] = [
            name for name, sizes in orders if all(a in (None, b) for a, b in zip(rest, sizes, strict=True))
        ]
        if len(fitting) == 1:
            return fitting[0]
    if first and last and None in (rest[0], rest[2]):  # a number says more than none
        first, last = rest[0] is not None, rest[2] is not None
    if first is not last:
        return "nchw" if first else "nhwc"
    if not first:
        raise ConfigError(f"{shown} has the shape {_dims(rest)}, in which no axis has 1, 3 or 4 channels: {_NOT}")
    raise ConfigError(f"{shown} has the shape {_dims(rest)}: say with --layout nchw or nhwc where its channels are")


def _sizes(
    rest: list[int | None], layout: Layout, image_shape: tuple[int, int, int] | None, shown: str
) -> tuple[int, int, int, tuple[int, ...]]:
    """Channels, height, width, and the shape of one image in its own layout."""
    if layout == "flat":
        if image_shape is None or None in rest or prod(size or 0 for size in rest) != prod(image_shape):
            data = (
                ""
                if image_shape is None
                else f" (the data have {image_shape[0]} x {image_shape[1]} x {image_shape[2]})"
            )
            raise ConfigError(f"{shown} has the shape {_dims(rest)}, which is no image{data}: {_NOT}")
        return *image_shape, tuple(size or 0 for size in rest)
    order = (0, 1, 2) if layout == "nchw" else (2, 0, 1)
    found = [rest[index] for index in order]
    if None in found and image_shape is None:
        raise ConfigError(f"{shown} has the shape {_dims(rest)}: say the size of its images with --size WIDTHxHEIGHT")
    channels, height, width = (
        given if given is not None else other for given, other in zip(found, image_shape or (0, 0, 0), strict=True)
    )
    if channels not in _CHANNELS or height not in _SIDES or width not in _SIDES:
        raise ConfigError(
            f"{shown} takes images of {channels} channels and {width}x{height} pixels: expected 1, 3 or 4 channels "
            "and sides of 4 to 4096 pixels"
        )
    return channels, height, width, (channels, height, width) if layout == "nchw" else (height, width, channels)


def _dims(rest: list[int | None]) -> str:
    return "(n, " + ", ".join("?" if size is None else str(size) for size in rest) + ")"


class _Front:
    """Nodes in a row, each of the output of the one before."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes, self.last = graph, list[Node](), "images"

    def add(self, op: str, *constants: Array, first: bool = True, **attributes: Any) -> None:  # Any: attributes
        """One node of the last output and constants."""
        from onnx import helper, numpy_helper

        name = f"edgerkd_input_{len(self.nodes)}"
        names = [f"{name}_{index}" for index in range(len(constants))]
        for constant, given in zip(constants, names, strict=True):
            self.graph.initializer.append(numpy_helper.from_array(constant, given))
        self.nodes.append(helper.make_node(op, [self.last, *names], [name], name=name, **attributes))
        self.last = name


def put_front(graph: Graph, adoption: Adoption, *, casts_anyway: bool) -> list[Node]:
    """The nodes from `images` to the graph's own input; their constants are added to the graph.

    `casts_anyway` says that all the graph does first to uint8 pixels is to cast them to floats: they are rounded then,
    and stay floats, which is the same and can be run by engines without uint8.
    """
    from onnx import helper

    front = _Front(graph)
    a, channels = adoption, adoption.channels
    if a.grey_repeated:
        front.nodes.append(helper.make_node("Concat", ["images"] * channels, ["edgerkd_repeated"], axis=1))
        front.last = "edgerkd_repeated"
    if a.resized_from is not None:
        _add_resize(front, a.resized_from, (a.height, a.width))
    mean, std = (np.asarray(row, np.float32)[:, None, None] for row in (a.normalization.mean, a.normalization.std))
    if mean.any():
        front.add("Sub", mean)
    if (std != 1).any():
        front.add("Div", std)
    if a.order == "bgr":
        front.add("Gather", np.arange(channels - 1, -1, -1), axis=1)
    if a.input_type == "uint8":
        front.add("Round")
        front.add("Clip", np.zeros((), np.float32), np.full((), 255, np.float32))
    if a.layout == "nhwc":
        front.add("Transpose", perm=[0, 2, 3, 1])
    elif a.layout == "flat":
        front.add("Reshape", np.asarray([-1, *a.input_shape], np.int64))
    if a.input_type == "float16":
        front.add("Cast", to=10)
    elif a.input_type == "uint8" and not casts_anyway:
        front.add("Cast", to=2)
    return front.nodes


def _add_resize(front: _Front, before: tuple[int, int], after: tuple[int, int]) -> None:
    """By scales, which leave the batch free at every opset; an output's size is floor(size * scale) (ONNX, Resize)."""
    scales = np.ones(4, np.float32)
    for axis, (size, to) in enumerate(zip(before, after, strict=True), start=2):
        scales[axis] = to / size
        while size * float(scales[axis]) < to:  # the product exactly: some round it, some do not
            scales[axis] = np.nextafter(scales[axis], np.float32(np.inf), dtype=np.float32)
    front.add("Resize", np.zeros(0, np.float32), scales, mode="linear", coordinate_transformation_mode="half_pixel")


_OF_FIRST = ("Cast", "Clip", "Div", "Gather", "Identity", "Reshape", "Resize", "Round", "Transpose")
"""Operators that map or move each pixel of their first input; with Add, Concat, Mul and Sub all that a front has."""


def goes_on_front(node: Node, varying: Collection[str], front: Collection[str]) -> bool:
    """Whether a node is of the front: of the nodes from `images` on that normalise, as all those of `put_front` do.

    `varying` are the tensors so far that follow from `images`, `front` those of them that the front made. In a front
    each number is a monotone function of one pixel, or lies between some: black and white images show its extremes.
    That holds as well where a network itself begins with nodes that only move its pixels, such as from space to depth:
    they are of the front too, and its range is right. It does not hold of a sum or product of two pixels, such as a
    difference of colours, which is zero in black and in white, nor of a cubic resizing, which overshoots.
    """
    moving = [place for place, name in enumerate(node.input) if name in varying]
    if not moving or any(node.input[place] not in front for place in moving):
        return False
    if node.op_type in ("Sub", "Mul", "Add"):
        return len(moving) == 1
    if node.op_type == "Resize" and attributes_of(node).get("mode") == b"cubic":
        return False
    return node.op_type == "Concat" or (node.op_type in _OF_FIRST and moving == [0])
