"""The gradient twin: an ONNX graph that maps (images, cotangent) to (logits, image gradient).

Made by reverse-mode differentiation of the student's own graph, operator by operator, so the twin
is the deployed network and not a second export of it. It runs wherever the student runs, with no
training framework. See docs/adr/0011.
"""

from collections.abc import Iterable
from typing import Any

from edgerkd.core.errors import ExportError
from edgerkd.graphs.folding import fold_weights
from edgerkd.graphs.naming import Names
from edgerkd.graphs.rules import RULES
from edgerkd.graphs.rules.tape import FLOATS, Call, Tape
from edgerkd.graphs.shapes import Facts, facts_of

OPSETS = (11, 20)
"""The oldest and the newest opset whose forms of the operators the rules know."""
STEEP = frozenset(
    ("Div", "Exp", "Log", "LpNormalization", "Pow", "Reciprocal", "ReduceL2", "ReduceLogSum", "Sqrt"),
)
"""Operators whose derivative has no bound, or none where their input is zero."""


def gradient_twin(student: bytes) -> bytes:
    """The twin of an ONNX graph with one input `images` and one output `logits`, as bytes.

    The forward half is the graph itself, at its own opset, with its quantised weights as the numbers that they stand
    for, and the backward half uses its weights. Raises
    ExportError for what has no rule: every such node of the graph, not the first alone.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(student)
    opset = _opset(model)
    fold_weights(model)
    graph = model.graph
    images, logits = _value(graph.input, "images"), _value(graph.output, "logits")
    facts = facts_of(model)
    path = _path(graph, facts)
    _refuse([_named(node) for node in path if node.op_type not in RULES or node.domain not in ("", "ai.onnx")])
    tape = Tape(facts=facts, opset=opset, names=Names(graph))
    gradient = _differentiate(tape, path)
    tape.nodes.append(onnx.helper.make_node("Identity", [gradient], ["gradient"]))
    twin = onnx.helper.make_graph(
        [*graph.node, *tape.nodes],
        "gradient_twin",
        [*graph.input, _like(logits, "cotangent")],
        [logits, _like(images, "gradient")],
        [*graph.initializer, *(numpy_helper.from_array(value, name) for name, value in tape.added.items())],
    )
    result = onnx.helper.make_model(twin, opset_imports=model.opset_import, ir_version=model.ir_version)
    content = result.SerializeToString()
    checker: Any = onnx.checker  # Any: its functions are only partly typed
    checker.check_model(content, full_check=True)
    return content


def _opset(model: Any) -> int:
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ExportError(f"the graph is of opset {opset}; gradient rules know opsets {OPSETS[0]} to {OPSETS[1]}")
    return opset


def _value(values: Iterable[Any], name: str) -> Any:
    """The graph's input or output of this name."""
    found = {value.name: value for value in values}
    if name not in found:
        raise ExportError(f"the graph has {', '.join(map(repr, found))} and no {name!r}")
    return found[name]


def _path(graph: Any, facts: Facts) -> list[Any]:
    """The nodes through which the logits depend on the images, in the graph's order."""
    varies = {"images"}
    for node in graph.node:
        if varies & set(node.input):
            varies |= {name for name in node.output if name and _carries(facts, node, name, varies)}
    if "logits" not in varies:
        raise ExportError("the graph's output `logits` does not depend on its input `images`")
    needed, path = {"logits"}, list[Any]()
    for node in reversed(graph.node):
        if needed & varies & set(node.output):
            needed |= set(node.input)
            path.append(node)
    return path[::-1]


def _carries(facts: Facts, node: Any, name: str, varies: set[str]) -> bool:
    """Whether a gradient can pass a tensor: floats, what has no known type, and integers that were quantised."""
    kind = facts.types.get(name, FLOATS[0])
    if kind in FLOATS or node.op_type == "QuantizeLinear":
        return True
    return any(source in varies and facts.types.get(source) == kind for source in node.input)


def _named(node: Any) -> str:
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return f"{domain}{node.op_type} (node {node.name or node.output[0]!r})"


def _refuse(missing: list[str]) -> None:
    if missing:
        raise ExportError(
            f"no gradient rule for {', '.join(missing)}: the rules are {', '.join(sorted(RULES))}",
        )


def _differentiate(tape: Tape, path: list[Any]) -> str:
    """The name of the images' gradient; each node that has no rule in this form is refused in one error."""
    varies = {"images", *(name for node in path for name in node.output if name)}
    gradients: dict[str, list[str]] = {"logits": ["cotangent"]}
    refused: list[str] = []
    for node in reversed(path):
        totals = tuple(_total(tape, gradients.pop(name, [])) for name in node.output)
        if not any(totals):
            continue
        call = _call(tape, node, totals, varies)
        tape.steep |= call.op in STEEP
        try:
            parts = _rule(tape, call)
        except ExportError as e:
            refused.append(str(e))
            parts = {index: call.inputs[index] for index in call.varying}  # goes on, to find what else is refused
        for index, part in parts.items():
            gradients.setdefault(call.inputs[index], []).append(part)
    if refused:
        raise ExportError("; ".join(reversed(refused)))
    if "images" not in gradients:
        raise ExportError("the gradient of `logits` by `images` is zero everywhere: the graph is piecewise constant")
    return _total(tape, gradients["images"])


def _rule(tape: Tape, call: Call) -> dict[int, str]:
    if any(name not in tape.facts.shapes for name in (*call.inputs, *call.outputs) if name):
        raise call.refusal("has a tensor whose shape is not known before it runs")
    if any(call.gradients[1:]) and call.op != "Split":
        raise call.refusal("has no gradient rule where another output than its first is used")
    return RULES[call.op](tape, call)


def _call(tape: Tape, node: Any, gradients: tuple[str, ...], varies: set[str]) -> Call:
    from onnx import helper

    return Call(
        op=node.op_type,
        name=node.name or node.output[0],
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={a.name: helper.get_attribute_value(a) for a in node.attribute},
        gradients=gradients,
        varying=tuple(i for i, name in enumerate(node.input) if name in varies),
    )


def _total(tape: Tape, parts: list[str]) -> str:
    """The sum; empty where there is nothing to add."""
    if len(parts) > 2:
        return tape.emit("Sum", *parts)
    return tape.emit("Add", *parts) if len(parts) == 2 else "".join(parts)


def _like(value: Any, name: str) -> Any:
    """A value of the same type and shape under another name."""
    import onnx

    result = onnx.ValueInfoProto()
    result.CopyFrom(value)
    result.name = name
    return result
