"""What the layers of a graph are to compute in, as what its parser made of it does and as its finished engine does."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from edgerkd.core.engine import LayerCount
from edgerkd.core.errors import EngineError
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.onnx_precisions import layer_precisions
from edgerkd_exporters._tensorrt import create

_KINDS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "FULLY_CONNECTED")
"""Of trt.LayerType, the layers with weights: what a precision is for."""

_PRECISIONS = {"int8": r"int8", "fp8": r"fp8", "bf16": r"bf16|bfloat", "fp16": r"fp16|half", "fp32": r"fp32|float"}
"""By what an engine's inspector calls a tensor's format ("Row major linear FP32", "Int8 NC/32HW32", "Half", ...): each
version has words of its own. In this order: "bfloat16" is no float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer by its `name`, or an engine's fused one with all their names in it, and its `precision`.

    `types` are those of all that it reads and writes.
    """

    name: str
    kind: str
    precision: str
    types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a network or an engine."""

    layers: tuple[Layer, ...]

    def counts(self) -> tuple[LayerCount, ...]:
        """How many there are of each kind and precision."""
        found = Counter((layer.kind, layer.precision) for layer in self.layers)
        return tuple(LayerCount(kind=kind, precision=precision, count=n) for (kind, precision), n in found.items())


def expected_layers(onnx: bytes, network: Layers, *, where: object) -> Layers:
    """What layers are to compute in: by the graph's own file, and of what the parser made besides by the network.

    The file is read by code of ours, so that a parser which takes a type for another does not say what is expected.
    Raises ArtefactError, which says `where`, for a damaged one.
    """
    named = layer_precisions(onnx, where=where)
    own = (Layer(name=name, kind="", precision=precision) for name, precision in named.items())
    return Layers((*own, *(layer for layer in network.layers if layer.name not in named)))


def network_layers(trt: ModuleType, network: Any) -> Layers:
    """The layers with weights of a parsed network, by the types that its parser gave them.

    A layer computes in int8 where its input comes from a dequantiser: the two are one kernel. The others compute in the
    type of their output.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    makers = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    kinds = {getattr(trt.LayerType, name): name for name in _KINDS if hasattr(trt.LayerType, name)}

    def precision(layer: Any) -> str:
        maker = makers.get(layer.get_input(0).name)
        if maker is not None and maker.type == trt.LayerType.DEQUANTIZE:
            return _named(str(maker.get_input(0).dtype))
        return _named(str(layer.get_output(0).dtype))

    own = [(layer, precision(layer)) for layer in layers if layer.type in kinds]
    return Layers(
        tuple(
            Layer(name=layer.name, kind=kinds[layer.type], precision=found, types=frozenset([found]))
            for layer, found in own
        )
    )


def engine_layers(trt: ModuleType, plan: bytes, messages: Any) -> Layers | None:
    """What the inspector says of an engine: each layer by its first input; None where it says nothing of types.

    An engine cannot be loaded, and so not be asked, without a driver of CUDA (seen with TensorRT-RTX 1.7.1.116).
    """
    try:
        engine = create(trt.Runtime, messages).deserialize_cuda_engine(plan)
    except EngineError:
        return None
    if engine is None:
        return None
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text)["Layers"]
        found = tuple(_read(layer) for layer in layers if isinstance(layer, dict) and layer.get("Inputs"))
    except (ValueError, KeyError, TypeError):
        return None
    return Layers(found) if found else None


def _read(layer: dict[str, Any]) -> Layer:  # Any: JSON of the library's own
    said = [_type_of(tensor) for tensor in (*layer["Inputs"], *layer.get("Outputs", ()))]
    return Layer(
        name=" ".join(str(layer.get(key, "")) for key in ("Name", "Metadata")),
        kind=printable(str(layer.get("LayerType", "unknown")), LONGEST_NAME) or "unknown",
        precision=said[0],
        types=frozenset(said),
    )


def _type_of(tensor: dict[str, Any]) -> str:
    return _named(str(tensor.get("Format/Datatype") or tensor.get("Datatype")))


def fallen_back(wanted: Layers, found: Layers) -> list[str]:
    """The layers that are to be in a lower precision, and of which what was found reads and writes nothing in it.

    An engine's layer tells by its names which layers of the network it is made of; of a layer that no name tells of
    nothing is said.
    """
    problems: list[str] = []
    for layer in wanted.layers:
        if layer.precision == "fp32":
            continue
        holds = re.compile(rf"(?<![\w/.]){re.escape(layer.name)}(?![\w/.])")
        seen = [own for own in found.layers if own.kind != "Reformat" and holds.search(own.name)]
        types = frozenset[str]().union(*(own.types for own in seen))
        if seen and layer.precision not in types:
            problems.append(
                f"layer {layer.name!r} is {layer.precision} in the graph, and {', '.join(sorted(types))} here"
            )
    return problems


def _named(words: str) -> str:
    return next((name for name, pattern in _PRECISIONS.items() if re.search(pattern, words, re.IGNORECASE)), "other")
