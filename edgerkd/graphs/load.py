"""Bytes -> a checked graph of standard operators, with all its weights in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgerkd.core.adoption import NEWEST_OPSET, OLDEST_OPSET
from edgerkd.core.errors import ArtefactError, ConfigError, problems_text
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.paths import GRAPH_LIMIT, open_file, shown
from edgerkd.graphs.values import Model, Node, attributes_of, label, opset_of

_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
_CONTROL = ("If", "Loop", "Scan", "SequenceMap")
_EXTERNAL = 1  # onnx.TensorProto.EXTERNAL


def load_graph(content: bytes, *, folder: Path | None, where: str) -> Model:
    """The graph, without what only its writer needs. `folder` is where its weights may lie in files of their own.

    Raises ArtefactError for bytes that are no ONNX graph, or damaged; ConfigError, naming all nodes at once, for
    operators that ONNX does not have, and for what no classifier needs: chance, control flow, training.
    """
    import onnx
    from onnx import helper, inliner

    model = _parsed(content, where)
    del model.training_info[:], model.metadata_props[:]
    _load_external(model, folder, where)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _drop_listed_initializers(model.graph)
    _check_operators(model, where)
    _check_opset(model, where)
    del model.graph.value_info[:]
    model.ir_version = max(helper.find_min_ir_version_for(list(model.opset_import)), 4)  # 4: weights are no inputs
    checker: Any = onnx.checker  # Any: its functions are only partly typed
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError) as e:
        reason = printable(" ".join(str(e).split()), LONGEST_NAME)
        raise ArtefactError(f"{where}: not a valid ONNX graph: {reason}") from e
    return model


def _parsed(content: bytes, where: str) -> Model:
    import onnx

    if len(content) > GRAPH_LIMIT:
        raise ConfigError(f"{where}: larger than 2 GB: save it with its weights in files of their own beside it")
    try:
        model = onnx.load_from_string(content)
    except Exception as e:
        raise ArtefactError(f"{where}: not an ONNX file, or damaged: its bytes are no ONNX graph") from e
    if not model.graph.node or not model.graph.output:
        raise ArtefactError(f"{where}: not an ONNX file, or damaged: it holds no graph with nodes and outputs")
    return model


def _tensors(model: Model) -> Iterator[Any]:  # Any: onnx.TensorProto
    yield from model.graph.initializer
    nodes: list[Node] = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    for node in nodes:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)


def _load_external(model: Model, folder: Path | None, where: str) -> None:
    """Put the weights that lie in other files of `folder` into the graph. No file outside the folder is opened."""
    total = 0
    for tensor in _tensors(model):
        if tensor.data_location != _EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        data = _external_bytes(entries, tensor.name, folder, where, room=GRAPH_LIMIT - total)
        total += len(data)
        tensor.raw_data = data
        del tensor.external_data[:]
        tensor.ClearField("data_location")


def _external_bytes(entries: dict[str, str], name: str, folder: Path | None, where: str, *, room: int) -> bytes:
    location = entries.get("location", "")
    name, given = printable(name, LONGEST_NAME), printable(location, LONGEST_NAME)
    if folder is None:
        raise ConfigError(
            f"{where}: weight {name!r} lies in another file, {given!r}: give the graph as a file beside it"
        )
    path = folder / location
    inside = path.resolve().is_relative_to(folder.resolve())
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or not inside:
        raise ArtefactError(
            f"{where}: weight {name!r} is said to lie in {given!r}: only files in the graph's own folder are read"
        )
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
    except ValueError as e:
        raise ArtefactError(f"{where}: weight {name!r}: its place in {given!r} is damaged") from e
    if not path.is_file():
        raise ConfigError(f"{where}: its weights lie in {shown(path)}, and there is no such file: put it there")
    with open_file(path, limit=1 << 40) as file:
        size = file.seek(0, 2)
        length = size - offset if length < 0 else length
        if offset < 0 or length < 0 or offset + length > size:
            raise ArtefactError(f"{shown(path)}: too short for weight {name!r} of {where}: fetch both files again")
        if length > room:
            raise ConfigError(f"{where}: its weights are larger than 2 GB, and that is the most that is read")
        file.seek(offset)
        return file.read(length)


def _drop_listed_initializers(graph: Any) -> None:  # Any: onnx.GraphProto
    """Old exporters list weights among the inputs."""
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)


def _check_operators(model: Model, where: str) -> None:
    opset = opset_of(model)
    found = ((node, _problem(node, model, opset)) for node in model.graph.node)
    problems = [f"{label(node)} {problem}" for node, problem in found if problem is not None]
    if problems:
        raise ConfigError(problems_text(where, problems[:20], of=len(problems)))


def _problem(node: Node, model: Model, opset: int) -> str | None:
    """Why a node is refused, or None."""
    from onnx import defs

    domain = printable(node.domain, LONGEST_NAME)
    if domain not in ("", "ai.onnx"):
        return f"is of {domain!r}, not a standard ONNX operator: export with standard operators alone"
    if not defs.has(node.op_type, opset, ""):
        return f"is no ONNX operator at opset {opset}: export with standard operators alone"
    if node.op_type in _RANDOM:
        return "is random: attacks need the same answer every time; export the model for inference"
    if node.op_type in _CONTROL:
        return "is control flow, which has no gradient here: export with fixed shapes, or simplify the graph"
    attributes = attributes_of(node)
    if node.op_type == "BatchNormalization" and attributes.get("training_mode", 0):
        return "is in training mode: export the model in evaluation mode (model.eval())"
    if node.op_type == "Dropout" and _in_training(node, model):
        return "is in training mode, and random: export the model in evaluation mode (model.eval())"
    return None


def _in_training(dropout: Node, model: Model) -> bool:
    """Whether its third input, since opset 12, is anything but a constant False."""
    from onnx import numpy_helper

    if len(dropout.input) < 3 or not dropout.input[2]:
        return False
    name = dropout.input[2]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    return name not in constants or bool(numpy_helper.to_array(constants[name]).any())


def _check_opset(model: Model, where: str) -> None:
    opset = opset_of(model)
    if opset > NEWEST_OPSET:
        raise ConfigError(
            f"{where}: its operator set is {opset}: export it again at {OLDEST_OPSET} to {NEWEST_OPSET} "
            "(opset_version=17 in torch.onnx.export)"
        )
    if opset < 1:
        raise ArtefactError(f"{where}: not a valid ONNX graph: it does not say its operator set")
    kept = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")][:1]
    del model.opset_import[:]
    model.opset_import.extend(kept)
