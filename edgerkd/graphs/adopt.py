"""Somebody else's network, an ONNX graph -> edgerkd's form of it: `images` in [0, 1] to `logits`, for any batch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.adoption import OLDEST_OPSET, Adoption, Ending, Layout, Normalization, Order
from edgerkd.core.errors import ConfigError
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.paths import GRAPH_LIMIT
from edgerkd.graphs.batch import free_batch
from edgerkd.graphs.check import check_batches, check_upgrade
from edgerkd.graphs.ending import check_scores, choose_output, prune, strip_ending
from edgerkd.graphs.entry import ImageInput, find_image, put_front
from edgerkd.graphs.load import load_graph
from edgerkd.graphs.naming import free_our_names, rename
from edgerkd.graphs.preprocess import NONE, PIXELS
from edgerkd.graphs.values import Graph, Known, Model, label, opset_of, propagate

BATCH = 64  # images that a stranger's graph is tried on; as many as attacks show it at once
Tried = Callable[[bytes, NDArray[np.float32]], None]
"""Runs a graph on images (n, c, h, w). Raises ConfigError."""


def untried(graph: bytes, images: NDArray[np.float32]) -> None:
    """Where the graph is the caller's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGraph:
    """`graph` is ONNX: `images` float32 (batch, c, h, w) in [0, 1] to `logits` float32 (batch, classes).

    `image_shape` (c, h, w) is that of the data.
    """

    graph: bytes
    image_shape: tuple[int, int, int]
    classes: int
    adoption: Adoption


def adopt(
    model: bytes,
    *,
    folder: Path | None = None,
    where: str = "the ONNX graph",
    output: str | None = None,
    normalization: Normalization = NONE,
    channels: Order = "rgb",
    layout: Layout | None = None,
    image_shape: tuple[int, int, int] | None = None,
    resize: bool = False,
    classes: int | None = None,
    tried: Tried = untried,
) -> ModelGraph:
    """The graph in edgerkd's form; its own nodes stay as they are, at its own opset (11 to 20; older is upgraded).

    `folder` is where weights in other files may lie, and `where` how messages call the graph. `output` names the
    scores among several outputs, or any tensor inside. `normalization` and `channels` say what the network expects of
    its input, `layout` where its channels are, if its shape leaves that open. `image_shape` (c, h, w) is that of the
    data: a dynamic height and width become theirs; with `resize` the graph resizes them to its own. `classes` is how
    many the data have. `tried` is asked to run the graph on a batch of images before it is run in this process.

    That one image's logits do not depend on the others of its batch, and are those of the graph as it came, is checked
    by running it. Raises ArtefactError for what is no ONNX graph, ConfigError for one that is no image classifier or
    does not fit the data, naming the node and the fix.
    """
    came = proto = load_graph(model, folder=folder, where=where)
    opset = opset_of(proto)
    image = find_image(proto.graph, image_shape=image_shape, layout=layout, where=where)
    upgraded = _upgraded(came, image, where) if opset < OLDEST_OPSET else None
    if upgraded is not None:
        proto = _copy(upgraded)
    renamed = free_our_names(proto.graph)
    called = {new: old for old, new in renamed.items()}
    image = replace(image, name=renamed.get(image.name, image.name))
    known = _known(proto, image, where)
    chosen = choose_output(proto.graph, known, renamed.get(output or "", output), called, where)
    places = [value.name for value in proto.graph.output]
    check_scores(called.get(chosen, chosen), known[chosen], where)
    scores, ending = strip_ending(proto.graph, known, chosen)
    prune(proto.graph, scores)
    count = _count(called.get(chosen, chosen), known[scores], ending, classes, where)
    adoption = Adoption(
        input=printable(called.get(image.name, image.name), LONGEST_NAME),
        input_shape=image.shape,
        input_type=image.type,
        layout=image.layout,
        channels=image.channels,
        height=image.height,
        width=image.width,
        normalization=_normalization(normalization, image, where),
        order=_order(channels, image, where),
        grey_repeated=_repeats(image, image_shape, where),
        resized_from=_resized(image, image_shape, resize, where),
        output=printable(called.get(chosen, chosen), LONGEST_NAME),
        output_place=places.index(chosen) if chosen in places else None,
        removed=ending,
        fixed_batch=image.batch if image.fixed else None,
        opset=max(opset, OLDEST_OPSET),
        upgraded_from=opset if opset < OLDEST_OPSET else None,
    )
    shape = (image.channels, image.height, image.width) if image_shape is None else image_shape
    content = _canonical(proto, image, adoption, known, scores, shape, count, where, tried)
    if upgraded is not None:
        check_upgrade(came, upgraded, image, where)
    return ModelGraph(graph=content, image_shape=shape, classes=count, adoption=adoption)


def _upgraded(model: Model, image: ImageInput, where: str) -> Model:
    """The graph at the oldest opset that is taken, by ONNX's own converter."""
    from onnx import helper, version_converter

    _set_input(model.graph, image, image.batch if image.fixed else "batch")
    try:
        newer: Any = version_converter.convert_version(model, OLDEST_OPSET)  # Any: its type forgets the model's
    except Exception as e:
        raise ConfigError(
            f"{where}: its operator set is {opset_of(model)}, and ONNX cannot bring it to {OLDEST_OPSET}: export it "
            "again with opset_version=17"
        ) from e
    del newer.graph.value_info[:]
    newer.ir_version = helper.find_min_ir_version_for(list(newer.opset_import))
    return newer


def _copy(model: Model) -> Model:
    import onnx

    found = onnx.ModelProto()
    found.CopyFrom(model)
    return found


def _set_input(graph: Graph, image: ImageInput, batch: int | str) -> None:
    from onnx import helper

    value = helper.make_tensor_value_info(graph.input[0].name, image.kind, [batch, *image.shape])
    graph.input[0].CopyFrom(value)


def _known(model: Model, image: ImageInput, where: str) -> dict[str, Known]:
    """Every tensor for one batch. Raises ConfigError for one that is float64 and follows from the images."""
    try:
        known = propagate(model, {image.name: Known(image.kind, (image.batch, *image.shape))})
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from e
    double = [node for node in model.graph.node if any(_is_double(known.get(name)) for name in node.output)]
    if double:
        raise ConfigError(
            f"{where}: {label(double[0])} computes in float64: export the model in float32 (model.float())"
        )
    return known


def _is_double(found: Known | None) -> bool:
    return found is not None and found.kind == 11 and found.value is None


def _count(name: str, found: Known, ending: Ending | None, classes: int | None, where: str) -> int:
    """How many classes the logits have. Raises ConfigError where the data have others."""
    count = check_scores(name, found, where)
    if ending == "binary_sigmoid":
        count = 2
    elif count == 1:
        raise ConfigError(
            f"{where}: output {printable(name, LONGEST_NAME)!r} is one number an image: expected a score for each "
            "class, or one that ends in a sigmoid"
        )
    if classes not in (None, count):
        raise ConfigError(
            f"{where}: it has {count} outputs, and the data have {classes} classes: give the data that it was trained "
            f"for, in its own order of classes (--classes {count} where some have no images)"
        )
    return count


def _normalization(given: Normalization, image: ImageInput, where: str) -> Normalization:
    if image.type == "uint8":
        if given.name not in (NONE.name, PIXELS.name):
            raise ConfigError(
                f"{where}: it takes uint8 pixels, 0 to 255, so normalization {given.name} cannot come before"
            )
        given = PIXELS
    found = given.of_channels(image.channels)
    if found is None:
        raise ConfigError(
            f"{where}: normalization {given.name} is for {len(given.mean)} channels, and it takes {image.channels}"
        )
    return found


def _order(order: Order, image: ImageInput, where: str) -> Order:
    if order == "bgr" and image.channels != 3:
        raise ConfigError(f"{where}: it takes {image.channels} channels: only 3 can be in the order BGR")
    return order


def _repeats(image: ImageInput, image_shape: tuple[int, int, int] | None, where: str) -> bool:
    if image_shape is None or image_shape[0] == image.channels:
        return False
    if image_shape[0] == 1 and image.channels == 3:
        return True
    raise ConfigError(f"{where}: it takes images of {image.channels} channels, and the data have {image_shape[0]}")


def _resized(
    image: ImageInput, image_shape: tuple[int, int, int] | None, resize: bool, where: str
) -> tuple[int, int] | None:
    own = image.height, image.width
    if image_shape is None or image_shape[1:] == own:
        return None
    if resize:
        return image_shape[1:]
    height, width = image_shape[1:]
    raise ConfigError(
        f"{where}: it takes images of {own[1]}x{own[0]}, and the data have {width}x{height}: let the graph resize "
        f"them with --resize, or bring pictures to its size with --size {own[1]}x{own[0]}"
    )


def _canonical(
    model: Model,
    image: ImageInput,
    adoption: Adoption,
    known: dict[str, Known],
    scores: str,
    shape: tuple[int, int, int],
    classes: int,
    where: str,
    tried: Tried,
) -> bytes:
    """The graph with edgerkd's front and end, its batch free; checked by running it."""
    from onnx import helper

    graph = model.graph
    if not any(image.name in node.input for node in graph.node):
        raise ConfigError(f"{where}: its scores do not depend on its images: name another tensor with --output NAME")
    casts = _only_cast(graph, image.name)
    front = put_front(graph, adoption, casts_anyway=casts)
    if front:
        front[-1].output[0] = image.name
    else:
        rename(graph, {image.name: "images"})
    back = _back(graph, scores if scores != image.name or front else "images", known[scores], adoption.removed)
    nodes = [*front, *graph.node, *back]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("images", 1, [image.batch, *shape]))
    graph.output.append(helper.make_tensor_value_info("logits", 1, [image.batch, classes]))
    graph.name, model.doc_string = "classifier", ""
    fixed = _copy(model)
    try:
        free_batch(model, "images", Known(1, (image.batch, *shape)))
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from e
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    _try(tried, model, image, shape)
    check_batches(fixed, model, batch=image.batch, shape=shape, where=where)
    if model.ByteSize() > GRAPH_LIMIT:
        raise ConfigError(f"{where}: larger than 2 GB with its weights, and that is the most that is read")
    return model.SerializeToString()


def _try(tried: Tried, model: Model, image: ImageInput, shape: tuple[int, int, int]) -> None:
    """The graph on many images, and more than it was made for."""
    images = np.zeros((max(BATCH, 2 * image.batch), *shape), np.float32)
    try:
        tried(model.SerializeToString(), images)
    except ConfigError as e:
        if not image.fixed:
            raise
        raise ConfigError(f"{e} (with a batch of {len(images)}; export the model with a dynamic batch)") from e


_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")


def _only_cast(graph: Graph, name: str) -> bool:
    """Whether a tensor is cast to another type before anything but its shape is changed."""
    users = [node for node in graph.node if name in node.input]
    return all(
        node.op_type == "Cast" or (node.op_type in _MOVES and _only_cast(graph, node.output[0])) for node in users
    )


def _back(graph: Graph, scores: str, found: Known, ending: Ending | None) -> list[Any]:  # Any: onnx.NodeProto
    """The nodes from the scores to `logits` float32 (n, k)."""
    from onnx import helper, numpy_helper

    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if len(found.shape) != 2:
        steps.append(("Flatten", [], {"axis": 1}))
    if found.kind != 1:
        steps.append(("Cast", [], {"to": 1}))
    if ending == "binary_sigmoid":
        halves = numpy_helper.from_array(np.asarray([[-0.5, 0.5]], np.float32), "edgerkd_halves")
        graph.initializer.append(halves)
        steps.append(("Mul", [halves.name], {}))
    if not steps:
        if scores == "images":
            return [helper.make_node("Identity", [scores], ["logits"])]
        rename(graph, {scores: "logits"})
        return []
    nodes: list[Any] = []
    for index, (op, others, attributes) in enumerate(steps, start=1):
        name = "logits" if index == len(steps) else f"edgerkd_output_{index}"
        nodes.append(helper.make_node(op, [scores, *others], [name], name=name, **attributes))
        scores = name
    return nodes
