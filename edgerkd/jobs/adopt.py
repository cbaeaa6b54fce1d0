"""A network of the user's own in edgerkd's form; what they do not say of its input is found by measuring accuracy."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.adapted import normalised
from edgerkd.bundle.backend import LiveEngine
from edgerkd.core.adoption import Normalization, Order, adoption_lines
from edgerkd.core.by_class import chance_among, floor_above
from edgerkd.core.errors import ConfigError
from edgerkd.core.model_request import ModelRequest
from edgerkd.core.progress import Progress
from edgerkd.data.samples import Checked, numbers_as_names
from edgerkd.files.paths import GRAPH_LIMIT, find_kind, given_path, read_file, shown
from edgerkd.graphs.adopt import ModelGraph, adopt, untried
from edgerkd.graphs.preprocess import NONE, Choice, candidates, choose, reading_name
from edgerkd.verify.graph import engine_logits, run_apart
from edgerkd.verify.isolated import open_isolated

FEW = 200  # images that each customary way is measured on; those that tie are measured on all that there are. Ours

Shape = tuple[int, int, int]
Ways = tuple[tuple[Normalization, Order], ...]


def adopt_model(
    request: ModelRequest,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    progress: Progress,
) -> ModelGraph:
    """The model as a graph of images in [0, 1], for images like `pixels` (n, c, h, w) with their `labels` (n,).

    Says what was decided. Raises ConfigError for what is no image classifier or does not fit these images,
    ArtefactError for a damaged file, MissingDependencyError where torch or a library is needed and missing.
    """
    channels, height, width = pixels.shape[1:]
    shape = (channels, height, width)
    content, folder, where = _content(request, shape)
    tries = [partial(run_apart, where=where)]  # once: what differs next time is edgerkd's own

    def adopted(normalization: Normalization, order: Order, shape: Shape) -> ModelGraph:
        return adopt(
            content,
            folder=folder,
            where=where,
            output=request.output,
            normalization=normalization,
            channels=order,
            layout=request.layout,
            image_shape=shape,
            resize=request.resize is not False,
            tried=tries.pop() if tries else untried,
        )

    found = _measured(request, adopted, pixels, labels, where, progress)
    for line in adoption_lines(found.adoption):
        progress.say(f"{where}: {line}")
    if found.classes <= labels.max():
        raise ConfigError(
            f"{where}: it has {found.classes} outputs, and the labels reach {labels.max()}: give data with the model's "
            "own classes in its own order."
        )
    return found


def classes_for(data: Checked, outputs: int) -> tuple[str, ...]:
    """The names of a model's outputs, as the data have them; numbers where those do not name them.

    Raises ConfigError where there are more named classes, or labels, than outputs, or named classes of another number.
    """
    if len(data.classes) == outputs:
        return data.classes
    if data.numbered and len(data.classes) < outputs:
        return numbers_as_names(outputs)
    raise ConfigError(
        f"{data.name} has {len(data.classes)} classes and the model {outputs} outputs: give data with the model's own "
        "classes in its own order, or name another output with --output."
    )


def _measured(
    request: ModelRequest,
    adopted: Callable[[Normalization, Order, Shape], ModelGraph],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    where: str,
    progress: Progress,
) -> ModelGraph:
    """The model as the user says its input is, or read in the way in which it is most accurate."""
    channels, height, width = pixels.shape[1:]
    shape = (channels, height, width)
    if request.normalization is not None and (request.order is not None or channels == 1):
        return adopted(request.normalization, request.order or "rgb", shape)
    plain = adopted(request.normalization or NONE, request.order or "rgb", shape).adoption
    if plain.input_type == "uint8" and (request.order is not None or plain.channels == 1):
        return adopted(NONE, request.order or "rgb", shape)
    ways: Ways = candidates(plain.channels, order=request.order)
    if plain.input_type == "uint8":
        ways = tuple(dict.fromkeys((NONE, order) for _, order in ways))
    elif request.normalization is not None:
        ways = tuple(dict.fromkeys((request.normalization, order) for _, order in ways))
    # Adopted once, for images that are read in each way before it sees them: adopting is checked, which takes long.
    bare = adopted(NONE, "rgb", (plain.channels, height, width)).graph
    repeated = np.repeat(pixels, plain.channels // channels, axis=1)
    with open_isolated(bare, name=where) as engine:
        choice = _choose(engine, ways, repeated[:FEW], labels[:FEW], progress)
        if not choice.clear and len(pixels) > FEW:
            ways = tuple((each.normalization, each.order) for each in choice.tied)
            choice = _choose(engine, ways, repeated, labels, progress)
    _say_choice(choice, chance_among(np.bincount(labels).tolist()), progress)
    return adopted(choice.best.normalization, choice.best.order, shape)


def _choose(
    engine: LiveEngine, ways: Ways, pixels: NDArray[np.uint8], labels: NDArray[np.int64], progress: Progress
) -> Choice:
    """The way in which the engine, which normalises nothing itself, is most accurate on these images."""
    images = np.divide(pixels, 255, dtype=np.float32)
    with progress.stage(f"finding how pixels are normalised, on {len(images)} images", len(ways)) as advance:

        def correct(normalization: Normalization, order: Order) -> list[bool]:
            logits = engine_logits(engine, normalised(images, normalization, order))
            advance(ways.index((normalization, order)) + 1, normalization.name)
            return (logits.argmax(1) == labels).tolist()

        return choose(correct, ways)


def _say_choice(choice: Choice, chance: float, progress: Progress) -> None:
    """How accurate the model is in each way, whether that tells them apart, and whether it is more than `chance`."""
    shown = ", ".join(f"{reading_name(each)} {each.accuracy.value:.1%}" for each in choice.readings[:4])
    progress.say(f"normalization found by accuracy on {choice.best.accuracy.n} images: {shown}")
    if choice.best.accuracy.low <= floor_above(chance):
        progress.say(
            f"warning: in none of these ways is the network clearly above {chance:.1%}, which always answering the "
            "commonest class reaches: look at the order of the classes (a folder's are sorted by name), its weights, "
            "and at --normalize, --channels and --output."
        )
    if not choice.clear:
        others = ", ".join(reading_name(each) for each in choice.tied if each != choice.best)
        open_ = any(each.normalization != choice.best.normalization for each in choice.tied)
        flags = "--normalize, or --mean and --std, and --channels" if open_ else "--channels rgb or --channels bgr"
        progress.say(
            f"note: {reading_name(choice.best)} is taken, and {others} cannot be told from it by so few images: say it "
            f"with {flags}."
        )


def check_source(request: ModelRequest) -> None:
    """Raises ConfigError where the files that are named are not there, or what is named does not go together."""
    named = [name for name in (request.source, request.factory) if name is not None]
    if len(named) != 1:
        raise ConfigError(
            f"{'No model is' if not named else 'Two models are'} named: give an ONNX file or another MODEL, or code "
            "that makes a torch module with --from."
        )
    if request.source is not None and find_kind(given_path(request.source)) == "a folder":
        raise ConfigError(
            f"{shown(given_path(request.source))}: this is a folder, and a bundle is made of a network: name an ONNX "
            "file. A bundle that is there already goes to `edgerkd verify`."
        )
    files = [request.engine, request.weights, *([given_path(named[0])] if _is_onnx(request) else [])]
    for path in files:
        if path is not None and find_kind(path) is None:
            raise ConfigError(f"{shown(path)}: there is no such file.")
    if request.weights is not None and _is_onnx(request):
        name, weights = shown(given_path(named[0])), shown(request.weights)
        raise ConfigError(f"{name} holds its weights itself: leave out --weights {weights}")
    if request.engine is not None and not _is_onnx(request):
        raise ConfigError("--engine: name the ONNX file that the engine was built from: it gives the gradients.")


def _is_onnx(request: ModelRequest) -> bool:
    return request.source is not None and request.source.endswith(".onnx")


def _content(request: ModelRequest, shape: Shape) -> tuple[bytes, Path | None, str]:
    """The ONNX graph, the folder of its other files, and how messages call it."""
    name = request.source or request.factory or ""
    if _is_onnx(request):
        path = given_path(name)
        return read_file(path, limit=GRAPH_LIMIT), path.parent, shown(path)
    from edgerkd.models.foreign import onnx_from_source

    return onnx_from_source(name, request.weights, image_shape=shape), None, name
