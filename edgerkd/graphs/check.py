"""Two graphs that should answer alike, run on random images: what a rewriting of a graph is checked by."""

from typing import Any

import numpy as np

from edgerkd.core.errors import ConfigError
from edgerkd.graphs.entry import ImageInput
from edgerkd.graphs.running import runner
from edgerkd.graphs.values import Model, label

_BATCHES = 2
_TOLERANCE = 1e-3
"""Largest difference allowed, as a share of the largest value: summation orders differ by batch size. Ours; float32
graphs of torchvision were measured at 1e-6 and below, float16 at 5e-4."""


def check_upgrade(old: Model, new: Model, image: ImageInput, where: str) -> None:
    """Raises ConfigError where the graph answers otherwise at its new opset."""
    rng = np.random.default_rng(0)
    pixels: Any = rng.random((image.batch, *image.shape), np.float32)  # Any: of the input's own type
    pixels = (pixels * 255).astype(np.uint8) if image.type == "uint8" else pixels.astype(image.type)
    answers = [runner(model, where=where)([pixels]) for model in (old, new)]
    if any(_differs(a, b) for a, b in zip(*answers, strict=True)):
        raise ConfigError(f"{where}: it answers otherwise at a newer opset: export it again with opset_version=17")


def check_batches(fixed: Model, free: Model, *, batch: int, shape: tuple[int, int, int], where: str) -> None:
    """Raises ConfigError, naming the node, unless several batches at once give what each gives alone.

    `fixed` takes `batch` images at a time.
    """
    images = np.random.default_rng(0).random((_BATCHES * batch, *shape), np.float32)
    parts = np.split(images, _BATCHES)
    try:
        together = runner(free, where=where)([images])
    except ConfigError as e:
        raise ConfigError(f"{e} (with a batch of {len(images)}; export the model with a dynamic batch)") from e
    run = runner(fixed, where=where)
    apart = [run([part])[0] for part in parts]
    for answer in (together[0], *apart):
        if not np.isfinite(answer).all():
            raise ConfigError(f"{where}: its logits for random images are not finite: are its weights damaged?")
    if _differs(together[0], np.concatenate(apart)):
        culprit = _first_difference(fixed, free, images, parts, where)
        raise ConfigError(
            f"{where}: {culprit} gives an image other values in a batch of {len(images)} than in one of {batch}: "
            "export the model in evaluation mode and with a dynamic batch"
        )


def _differs(a: Any, b: Any) -> bool:  # Any: arrays
    if a.shape != b.shape:
        return True
    if not np.issubdtype(a.dtype, np.floating):
        return bool((a != b).any())
    finite = np.isfinite(a) & np.isfinite(b)
    if (~finite & (a != b) & ~(np.isnan(a) & np.isnan(b))).any():
        return True
    a, b = np.where(finite, a, 0).astype(np.float64), np.where(finite, b, 0).astype(np.float64)
    return bool(np.abs(a - b).max(initial=0) > _TOLERANCE * max(1e-6, np.abs(b).max(initial=0)))


def _first_difference(fixed: Model, free: Model, images: Any, parts: list[Any], where: str) -> str:
    """The first node whose output differs, of those whose outputs have the batch in front."""
    names = [name for node in fixed.graph.node for name in node.output if name]
    runs = [runner(_exposed(model, names), where=where) for model in (free, fixed)]
    together = runs[0]([images])
    apart = [runs[1]([part]) for part in parts]
    makers = {name: node for node in fixed.graph.node for name in node.output}
    for index, name in enumerate(names):
        pieces = [answer[index] for answer in apart]
        rows = sum(piece.shape[0] for piece in pieces if piece.ndim)
        if rows and rows == len(together[index]) and _differs(together[index], np.concatenate(pieces)):
            return label(makers[name])
    return label(fixed.graph.node[-1])


def _exposed(model: Model, names: list[str]) -> Model:
    """The graph with these tensors as its outputs."""
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return copy
