"""What a graph may ask of a runtime: each kind of thing that is refused, and that nothing a classifier needs is."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

from edgerkd.core.errors import ArtefactError
from edgerkd.files.onnx_frame import read_onnx
from edgerkd.files.onnx_operators import ALLOWED, MOST_NODES, SHAPING, check_operators
from edgerkd.graphs.rules import RULES
from tests.exporters.small_graphs import classifier, save

SCHEMAS = {schema.name: schema for schema in defs.get_all_schemas() if schema.domain == ""}
BRANCH = helper.make_graph([], "branch", [], [])


def node(kind, *inputs, name="odd", **attributes):
    return helper.make_node(kind, inputs or ["images"], ["out"], name=name, **attributes)


def graph_with(*nodes, weights=(), change=lambda model: None):
    model = classifier()
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    change(model)
    return model.SerializeToString()


def weight(value, name="w"):
    return numpy_helper.from_array(np.asarray(value), name)


def elsewhere(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def larger(model):
    model.graph.initializer[0].dims[0] = 1 << 40


def negative(model):
    model.graph.initializer[0].dims[0] = -1


def typed(kind):
    def change(model):
        model.graph.output[0].type.CopyFrom(kind)

    return change


def a_function(model):
    model.functions.add().name = "F"


def sparse(model):
    model.graph.sparse_initializer.add().values.name = "s"


def field(number, content):
    """A message in a field of another, by protobuf's encoding; short enough for one byte of length."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def said_twice(**again):
    """A graph with one weight more, some of whose fields stand twice."""
    tensor = weight([1.0]).SerializeToString() + TensorProto(**again).SerializeToString()
    return graph_with() + field(7, field(5, tensor))


def attribute_twice(**again):
    """A graph with one Cast more, whose attribute has some fields twice."""
    attribute = helper.make_attribute("to", TensorProto.FLOAT).SerializeToString()
    attribute += AttributeProto(**again).SerializeToString()
    return graph_with() + field(7, field(1, node("Cast").SerializeToString() + field(5, attribute)))


TEXT = helper.make_tensor("t", TensorProto.STRING, [1], [b"a"])
REFUSED = {
    "a loop": (graph_with(node("Loop", body=BRANCH)), "'Loop' node 'odd' is not allowed"),
    "a branch": (graph_with(node("If", then_branch=BRANCH, else_branch=BRANCH)), "'If' node 'odd' is not allowed"),
    "a scan": (graph_with(node("Scan", body=BRANCH, num_scan_inputs=1)), "'Scan' node 'odd' is not allowed"),
    "a graph in an allowed operator": (graph_with(node("Relu", body=BRANCH)), "holds a graph of its own"),
    "chance": (graph_with(node("RandomNormalLike")), "'RandomNormalLike' node 'odd' is not allowed"),
    "chance of another kind": (graph_with(node("Multinomial")), "'Multinomial' node"),
    "dropout while training": (graph_with(node("Dropout", "images", "", "w"), weights=[weight(True)]), "training mode"),
    "dropout that may train": (graph_with(node("Dropout", "images", "", "product")), "training mode"),
    "batch norm while training": (graph_with(node("BatchNormalization", training_mode=1)), "training mode"),
    "another domain": (graph_with(node("Relu", domain="com.acme")), "is of 'com.acme', not a standard"),
    "no operator": (graph_with(node("Frobnicate")), "'Frobnicate' node 'odd' is not allowed"),
    "a name that would deceive": (graph_with(node("Loop\x1b[2J", name="\u202e")), r"'Loop\\x1b[2J' node '\\u202e'"),
    "text": (graph_with(node("Constant", "", value=TEXT)), "does not hold numbers"),
    "a cast to text": (graph_with(node("Cast", to=TensorProto.STRING)), "makes something else than numbers"),
    "a sequence": (graph_with(node("SequenceConstruct")), "'SequenceConstruct' node"),
    "another file": (graph_with(change=elsewhere), "'weight' lies in another file, which is never read"),
    "sizes that are not there": (graph_with(change=larger), "says that it has the sizes (1099511627776, 5)"),
    "a negative size": (graph_with(change=negative), "says that it has the sizes"),
    "an output that is no tensor": (
        graph_with(change=typed(helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None)))),
        "'logits' is no tensor",
    ),
    "functions": (graph_with(change=a_function), "functions of its own"),
    "sparse weights": (graph_with(change=sparse), "sparse weights"),
    "a shape from pixels": (graph_with(node("Expand", "w", "product"), weights=[weight(1.0)]), "axis from pixels"),
    "a count from pixels": (graph_with(node("Range", "w", "product", "w"), weights=[weight(1.0)]), "axis from pixels"),
    "a loop in a second part": (graph_with() + graph_with(node("Loop")), "'Loop' node 'odd' is not allowed"),
    "more nodes than any network": (graph_with(*[node("Relu")] * (MOST_NODES + 1)), "100,004 nodes"),
    "a weight with two names": (said_twice(name="other"), "its name or its bytes twice"),
    "a weight of two kinds": (said_twice(data_type=TensorProto.INT32), "says its kind"),
    "a weight with other bytes after": (said_twice(raw_data=b"abcd"), "its name or its bytes twice"),
    "an attribute with two names": (attribute_twice(name="other"), "stands twice"),
    "an attribute with two numbers": (attribute_twice(i=TensorProto.INT32), "stands twice"),
    "cut short": (graph_with()[:-7], "not an ONNX graph, or damaged"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_classifier_needs_is_refused_by_its_name(kind):
    """Catches each of these shown to a runtime, and a message with a name that moves a cursor."""
    content, said = REFUSED[kind]
    with pytest.raises(ArtefactError) as caught:
        check_operators(content, where="x.onnx")
    assert said in str(caught.value)
    assert "x.onnx" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_every_file_for_a_runtime_is_looked_at(tmp_path):
    """Catches a backend's reader that goes round the list."""
    path = save(classifier(), tmp_path / "good.onnx")
    assert read_onnx(path) == path.read_bytes()
    Path(tmp_path / "bad.onnx").write_bytes(REFUSED["chance"][0])
    with pytest.raises(ArtefactError, match="RandomNormalLike"):
        read_onnx(tmp_path / "bad.onnx")


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Dropout")],
        [node("Dropout", "images", "", "w")],
        [node("Expand", "w", "shape"), helper.make_node("Shape", ["images"], ["shape"])],
        [node("Relu", domain="ai.onnx")],
        [node("BatchNormalization", training_mode=0)],
        [node("Cast", to=TensorProto.FLOAT16)],
    ],
)
def test_what_looks_alike_is_allowed(nodes):
    """Catches dropout refused in evaluation mode, and shapes that follow from other shapes."""
    check_operators(graph_with(*nodes, weights=[weight(False)]), where="x.onnx")


def test_what_has_a_gradient_rule_is_allowed_and_nothing_that_ends_elsewhere():
    """Catches a rule whose graphs no device would run, and chance or control flow on the list."""
    assert set(RULES) <= ALLOWED
    assert set(SCHEMAS) >= ALLOWED
    chance = {name for name in ALLOWED if "NonDeterministic" in str(SCHEMAS[name].node_determinism)}
    assert chance == {"Dropout"}
    graphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    assert not [n for n in ALLOWED if any(a.type.value in graphs for a in SCHEMAS[n].attributes.values())]


def test_inputs_that_shape_are_those_of_integers():
    """Catches a place that is another input's: shapes and axes are int64 in every version of an operator."""
    others = {"Resize", "Upsample", "Range", "NonZero", "Dropout", "OneHot"}  # scales; numbers; a ratio and a switch
    for name in set(SHAPING) - others:
        known = SCHEMAS[name].inputs
        for place in SHAPING[name]:
            assert place >= len(known) or "tensor(int64)" in known[place].types or known[place].type_str == "Tind", name


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_are_refused_or_allowed(content, at):
    """Catches an error of another kind, and a loop that does not end."""
    whole = classifier().SerializeToString()
    for damaged in (content, whole[:at] + content + whole[at + len(content) :]):
        with suppress(ArtefactError):
            check_operators(damaged, where="x.onnx")
