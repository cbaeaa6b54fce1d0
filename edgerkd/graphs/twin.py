"""The gradient twin: an ONNX graph that maps (images, cotangent) to (logits, image gradient).

Made by reverse-mode differentiation of the student's own graph, operator by operator, so the twin
is the deployed network and not a second export of it. It runs wherever the student runs, with no
training framework. See docs/adr/0011.
"""

from typing import Any

from edgerkd.core.errors import ExportError
from edgerkd.graphs.gradient_rules import RULES, Tape


def gradient_twin(student: bytes) -> bytes:
    """The twin of an ONNX graph with one input `images` and one output `logits`, as bytes.

    Raises ExportError for an operator that has no rule here, naming the node.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(student), strict_mode=True)
    graph = model.graph
    values = [*graph.input, *graph.value_info, *graph.output]
    tape = Tape(
        constants={init.name: numpy_helper.to_array(init) for init in graph.initializer},
        shapes={v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values},
    )
    for node in graph.node:
        if node.op_type == "Constant":
            tape.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in ("Identity", "DequantizeLinear") and node.input[0] in tape.constants:
            # Equal weights that are stored once, and weights in int8.
            tape.constants[node.output[0]] = tape.constants[node.input[0]]

    varies = {"images"}
    for node in graph.node:
        if varies & set(node.input):
            varies |= set(node.output)
    if "logits" not in varies:
        raise ExportError("the graph's output `logits` does not depend on its input `images`")

    gradients: dict[str, list[str]] = {"logits": ["cotangent"]}
    for node in reversed(graph.node):
        if node.output[0] not in gradients:
            continue
        if node.op_type not in RULES:
            raise ExportError(
                f"operator {node.op_type} (node {node.name or node.output[0]!r}) has no gradient rule: "
                f"the rules are {', '.join(sorted(RULES))}"
            )
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        gradient = _total(tape, gradients.pop(node.output[0]))
        for index, part in RULES[node.op_type](tape, node, attributes, gradient).items():
            if node.input[index] in varies:
                gradients.setdefault(node.input[index], []).append(part)

    tape.nodes.append(helper.make_node("Identity", [_total(tape, gradients["images"])], ["gradient"]))
    batch, *shape = (d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    twin = helper.make_graph(
        [*graph.node, *tape.nodes],
        "gradient_twin",
        [*graph.input, helper.make_tensor_value_info("cotangent", TensorProto.FLOAT, [batch, classes])],
        [*graph.output, helper.make_tensor_value_info("gradient", TensorProto.FLOAT, [batch, *shape])],
        [*graph.initializer, *(numpy_helper.from_array(value, name) for name, value in tape.added.items())],
    )
    result = helper.make_model(twin, opset_imports=model.opset_import, ir_version=model.ir_version)
    content = result.SerializeToString()
    checker: Any = onnx.checker  # Any: its functions are only partly typed
    checker.check_model(content, full_check=True)
    return content


def _total(tape: Tape, parts: list[str]) -> str:
    total = parts[0]
    for part in parts[1:]:
        total = tape.emit("Add", [total, part])
    return total
