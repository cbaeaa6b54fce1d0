"""A graph made for one batch size -> the same graph for any."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from edgerkd.core.errors import ConfigError
from edgerkd.graphs.values import Known, Model, Node, initial_values, label, node_outputs, opset_of

_FACTOR = 7  # how many times the batch the second look has: a prime, which few networks have as a size; ours


@dataclass(slots=True)
class _Pair:
    """Every tensor twice: for the graph's own batch, and for `_FACTOR` of them."""

    model: Model
    image: str
    batch: int
    one: dict[str, Known]
    many: dict[str, Known]
    left: dict[str, int] = field(default_factory=dict[str, int])
    """Of a tensor's batch axis, how many parts of it vary slower than the batch: (l, n, e) as (l n, e) has l."""
    nodes: list[Node] = field(default_factory=list[Node])
    added: int = 0

    def axis(self, name: str, node: Node) -> int | None:
        """The axis along which a tensor grows with the batch; None where it does not."""
        one, many = self.one[name].shape, self.many[name].shape
        if len(one) != len(many):
            raise ConfigError(f"{label(node)}: {name!r} loses the batch axis when there are several images")
        axes = [axis for axis, (a, b) in enumerate(zip(one, many, strict=True)) if a != b]
        if len(axes) > 1 or (axes and many[axes[0]] != _FACTOR * one[axes[0]]):
            raise ConfigError(f"{label(node)}: {name!r} of shape {one} for one batch has {many} for {_FACTOR} of it")
        return axes[0] if axes else None

    def add(self, node: Node) -> None:
        """One node, and what it gives."""
        opset = opset_of(self.model)
        self.one.update(node_outputs(node, self.one, opset))
        self.many.update(node_outputs(node, self.many, opset))
        self.nodes.append(node)
        grows = next((name for name in node.input if name and self.axis(name, node) is not None), None)
        for name in node.output:
            if grows is not None and name and (axis := self.axis(name, node)) is not None:
                self.left[name] = self._left(node, grows, self.one[name].shape, axis)

    def outer(self, name: str, axis: int) -> int:
        """How many parts of a tensor vary slower than the batch, in row-major order."""
        return prod(self.one[name].shape[:axis]) * self.left.get(name, 1)

    def _left(self, node: Node, source: str, after: tuple[int, ...], axis: int) -> int:
        before = self.axis(source, node)
        assert before is not None
        if node.op_type == "Reshape":
            return max(1, self.outer(source, before) // prod(after[:axis]))
        return self.left.get(source, 1) if after[axis] == self.one[source].shape[before] else 1

    def emit(self, op: str, inputs: list[str], **attributes: Any) -> str:  # Any: whatever an attribute holds
        """Add a node of ours; the name of its output."""
        from onnx import helper

        self.added += 1
        output = f"edgerkd_batch_{self.added}"
        self.add(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def integers(self, values: list[int]) -> str:
        """Add a constant; its name."""
        from onnx import numpy_helper

        self.added += 1
        name, value = f"edgerkd_batch_{self.added}", np.asarray(values, np.int64)
        self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        self.one[name] = self.many[name] = Known(7, value.shape, value)
        return name

    def sizes(self, shape: tuple[int, ...], axis: int) -> str:
        """A shape whose entry at `axis`, for the graph's own batch, grows with it."""
        whole = self.emit("Shape", [self.image])
        images = self.emit("Slice", [whole, self.integers([0]), self.integers([1])])
        if shape[axis] % self.batch:
            raise ConfigError(f"a size of {shape[axis]} is no multiple of the batch of {self.batch}")
        if self.batch > 1:
            images = self.emit("Div", [images, self.integers([self.batch])])
        if shape[axis] != 1:
            images = self.emit("Mul", [images, self.integers([shape[axis]])])
        parts = [self.integers(list(shape[:axis])), images, self.integers(list(shape[axis + 1 :]))]
        return self.emit("Concat", [part for part in parts if self.one[part].shape != (0,)], axis=0)


def free_batch(model: Model, image: str, known: Known) -> int:
    """Make the batch axis of a graph free, in place; `known` is the input for its own batch, its first axis.

    Constant shapes in which the batch is written out are replaced, node by node, wherever a tensor that should grow
    with the batch does not. Returns how many nodes were changed or added. Raises ConfigError naming the node at which
    this cannot be done.
    """
    constants = initial_values(model.graph)
    batch, *rest = known.shape
    many = Known(known.kind, (_FACTOR * batch, *rest))
    pair = _Pair(model, image, batch, {**constants, image: known}, {**constants, image: many})
    changed = 0
    for node in model.graph.node:
        changed += _freed(pair, node)
        pair.add(node)
        _check_kept(pair, node)
    del model.graph.node[:]
    model.graph.node.extend(pair.nodes)
    return changed


def _check_kept(pair: _Pair, node: Node) -> None:
    """An output must grow with the batch where an input does, but for shapes."""
    grows = [name for name in node.input if name and pair.axis(name, node) is not None]
    if not grows or pair.one[node.output[0]].value is not None or node.op_type in ("Shape", "Size"):
        return
    if all(pair.axis(name, node) is None for name in node.output if name):
        raise ConfigError(
            f"{label(node)} mixes the images of a batch, or keeps one of them: export the model with a dynamic batch"
        )


def _freed(pair: _Pair, node: Node) -> int:
    """Change the node's shape inputs, if need be; how many."""
    if node.op_type == "Reshape":
        return _freed_reshape(pair, node)
    if node.op_type == "Concat":
        return _freed_concat(pair, node)
    if node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
        return _freed_sizes(pair, node, 3)
    if node.op_type == "Expand":
        return _freed_sizes(pair, node, 1)
    return 0


def _is_fixed(pair: _Pair, name: str) -> bool:
    """Whether a tensor has one known value whatever the batch."""
    one, many = pair.one[name].value, pair.many[name].value
    return one is not None and many is not None and one.shape == many.shape and bool((one == many).all())


def _freed_reshape(pair: _Pair, node: Node) -> int:
    """The axis that holds the batch becomes -1, the others stay as they are."""
    axis = pair.axis(node.input[0], node)
    if axis is None or not _is_fixed(pair, node.input[1]):
        return 0
    opset = opset_of(pair.model)
    before = pair.one[node.input[0]].shape
    after = node_outputs(node, pair.one, opset)[node.output[0]].shape
    place = _place(pair, before, axis, pair.outer(node.input[0], axis), after)
    if place is None:
        raise ConfigError(
            f"{label(node)} of {before} to {after} mixes the images of a batch: export with a dynamic batch"
        )
    grown = list(after)
    grown[place] *= _FACTOR
    try:
        if node_outputs(node, pair.many, opset)[node.output[0]].shape == tuple(grown):
            return 0
    except ConfigError:
        pass  # the constant shape does not fit several images: it is what is replaced here
    node.input[1] = pair.integers([-1 if index == place else size for index, size in enumerate(after)])
    return 1


def _place(pair: _Pair, before: tuple[int, ...], axis: int, outer: int, after: tuple[int, ...]) -> int | None:
    """The axis of a reshaped tensor that holds the batch, which keeps its place in row-major order.

    With a batch of one several can: an axis of its own comes first, then one after which all is as it was, then one
    that begins with the batch; of a matrix, which a linear map takes, its rows. None where there is none. Ours.
    """
    fitting: list[tuple[bool, bool, bool, int]] = []
    for place, size in enumerate(after):
        slower = prod(after[:place])
        if slower == 0 or outer % slower or size % (outer // slower * pair.batch):
            continue
        begins = outer == slower
        alone = begins and size == pair.batch
        same = len(after) == 2 or before[axis + 1 :] == after[place + 1 :]
        fitting.append((not alone, not same, begins if len(after) == 2 else not begins, place))
    return min(fitting)[-1] if fitting else None


def _freed_concat(pair: _Pair, node: Node) -> int:
    """A constant beside what grows, such as a class token, is repeated for every image."""
    axes = {axis for name in node.input if (axis := pair.axis(name, node)) is not None}
    along = next(a.i for a in node.attribute if a.name == "axis") % max(1, len(pair.one[node.input[0]].shape))
    if not axes:
        return 0
    if len(axes) > 1 or along in axes:
        raise ConfigError(f"{label(node)} joins images of a batch: export the model with a dynamic batch")
    (axis,) = axes
    changed = 0
    for index, name in enumerate(node.input):
        shape = pair.one[name].shape
        if pair.axis(name, node) is None and shape[axis] == 1 and pair.batch == 1:
            repeats = tuple(1 for _ in shape)
            node.input[index] = pair.emit("Expand", [name, pair.sizes(repeats, axis)])
            changed += 1
    return changed


def _freed_sizes(pair: _Pair, node: Node, index: int) -> int:
    """The batch in a constant size of Resize or Expand."""
    axis = pair.axis(node.input[0], node)
    if axis is None or not _is_fixed(pair, node.input[index]):
        return 0
    value = pair.one[node.input[index]].value
    data = pair.one[node.input[0]].shape
    assert value is not None
    given = tuple(int(size) for size in value)
    place = axis + len(given) - len(data)
    if any(a.name == "axes" for a in node.attribute) or place < 0 or given[place] != data[axis]:
        return 0
    if given[place] == 1 and node.op_type == "Expand":  # broadcasts
        return 0
    node.input[index] = pair.sizes(given, place)
    return 1
