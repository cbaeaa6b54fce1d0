"""For each operator with a gradient rule, how to put it into a random graph."""

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, defs, helper, numpy_helper

from tests.graphs.reference import evaluator

BATCH = 2


class Growing:
    """A float64 graph that grows node by node, evaluated on one batch of images as it grows."""

    def __init__(self, opset: int, seed: int, shape: tuple[int, ...] = (BATCH, 4, 6, 5)) -> None:
        self.opset, self.rng = opset, np.random.default_rng(seed)
        self.nodes, self.constants, self.values = [], {}, {}
        self.values["images"] = self.rng.normal(size=shape)

    def constant(self, value) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.asarray(values, np.int64))

    def normal(self, *shape: int) -> str:
        return self.constant(self.rng.normal(size=shape))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes):
        """Add a node; the name of its output, or their names."""
        names = [f"t{len(self.values)}_{i}" for i in range(outputs)]
        node = helper.make_node(op, inputs, names, name=names[0], **attributes)
        self.nodes.append(node)
        known = {**self.constants, **self.values}
        given = {name: known[name] for name in inputs if name}
        results = evaluator(node, opsets={"": self.opset}).run(None, given)
        self.values.update({name: np.asarray(value) for name, value in zip(names, results, strict=True)})
        return names[0] if outputs == 1 else names

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def reduced(self, op: str, x: str, axes: list[int], **attributes) -> str:
        """A node whose axes are an input, or an attribute, as the opset has it."""
        since = 13 if op in ("ReduceSum", "Squeeze", "Unsqueeze") else 18
        if self.opset >= since:
            return self.add(op, x, self.ints(*axes), **attributes)
        return self.add(op, x, axes=axes, **attributes)

    def maps(self, x: str) -> str:
        """The value as maps of (batch, 4, height, width)."""
        shape = self.shape(x)
        if len(shape) == 4 and shape[1] == 4 and min(shape[2:]) >= 2:
            return x
        flat = self.add("Reshape", x, self.ints(-1, int(np.prod(shape[1:]))))
        product = self.add("MatMul", flat, self.normal(self.shape(flat)[1], 4 * 5 * 4))
        return self.add("Reshape", product, self.ints(-1, 4, 5, 4))

    def positive(self, x: str) -> str:
        """x^2 + 1/2."""
        return self.add("Add", self.add("Mul", x, x), self.constant(0.5))

    def tamed(self, x: str) -> str:
        """Scaled down where it has grown."""
        largest = np.abs(self.values[x]).max()
        return (
            x if largest < 3 else self.add("Mul", x, self.constant(1.9 / largest))
        )  # not 2: three times that is a jump of Ceil

    def finish(self, x: str) -> bytes:
        """The graph with logits that depend on every element of `x`."""
        shape = self.shape(x)
        flat = self.add("Reshape", x, self.ints(-1, int(np.prod(shape[1:]))))
        self.nodes.append(helper.make_node("MatMul", [flat, self.normal(self.shape(flat)[1], 3)], ["logits"]))
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("images", TensorProto.DOUBLE, ["n", *self.values["images"].shape[1:]])],
            [helper.make_tensor_value_info("logits", TensorProto.DOUBLE, ["n", 3])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


Step = Callable[[Growing, str], str]


def one(op: str, **choices) -> Step:
    """The operator on a value as it is; of each attribute one of these, drawn."""

    def step(g: Growing, x: str) -> str:
        return g.add(op, x, **{key: values[g.rng.integers(len(values))] for key, values in choices.items()})

    return step


def on_positive(op: str, **attributes) -> Step:
    return lambda g, x: g.add(op, g.positive(x), **attributes)


def beside(op: str) -> Step:
    """x plus a function of it that is constant almost everywhere."""
    return lambda g, x: g.add("Add", x, g.add(op, g.add("Mul", x, g.constant(3.0))))


def binary(op: str, *, positive: bool = False) -> Step:
    """With itself by channel, a constant that broadcasts, or a mean that does, on either side."""

    def step(g: Growing, x: str) -> str:
        x = g.add("Tanh", g.maps(x)) if positive else g.maps(x)  # a large power of a large number overflows
        prepare = g.positive if positive else lambda name: name
        kind = g.rng.integers(4)
        if kind == 0:
            other = g.constant(0.5 + g.rng.random(((4, 1, 1), (1, 1), (1, 4, 1, 1))[g.rng.integers(3)]))
        elif kind == 1:
            other = prepare(g.reduced("ReduceMean", x, [2, 3][: g.rng.integers(1, 3)], keepdims=1))
        elif kind == 2:
            other = prepare(g.add("Tanh", x))
        else:
            other = prepare(g.add("Mul", x, g.constant(0.5 + g.rng.random((1, 4, 1, 1)))))
        pair = [prepare(x), other]
        return g.add(op, *(pair if g.rng.random() < 0.5 else pair[::-1]))

    return step


def variadic(op: str) -> Step:
    return lambda g, x: g.add(op, x, g.add("Tanh", x), g.add("Mul", x, g.constant(-0.7)))


def reduction(op: str, *, positive: bool = False) -> Step:
    def step(g: Growing, x: str) -> str:
        x = g.maps(x)
        axes = [[1], [2, 3], [-1], [3, 1], [1, 2, 3]][g.rng.integers(5)]
        keep = int(g.rng.integers(2))
        found = g.reduced(op, g.positive(x) if positive else x, axes, keepdims=keep)
        return found if len(g.shape(found)) > 1 else g.add("Reshape", found, g.ints(-1, 1))

    return step


def clip(g: Growing, x: str) -> str:
    low, high = g.constant(-0.4), g.constant(0.8)
    return g.add("Clip", x, *[(low,), (low, high), ("", high)][g.rng.integers(3)])


def where(g: Growing, x: str) -> str:
    condition = g.add("Greater", x, g.constant(0.1))
    pair = [x, g.add("Mul", x, g.constant(-2.0))] if g.rng.random() < 0.5 else [g.constant(0.3), x]
    return g.add("Where", condition, *pair)


def prelu(g: Growing, x: str) -> str:
    x = g.maps(x)
    return g.add("PRelu", x, g.normal(4, 1, 1) if g.rng.random() < 0.5 else g.add("Tanh", x))


def cast(g: Growing, x: str) -> str:
    return g.add("Cast", x, to=TensorProto.DOUBLE)


def windows(g: Growing, kernel: tuple[int, int]) -> dict:
    """Random windows of a convolution or pool."""
    given = {"strides": g.rng.integers(1, 4, 2).tolist()}
    way = g.rng.integers(4)
    if way == 0:
        given["auto_pad"] = ["SAME_UPPER", "SAME_LOWER", "VALID"][g.rng.integers(3)]
    elif way == 1:
        given["pads"] = [int(g.rng.integers(0, kernel[i % 2])) for i in range(4)]
    return given


def conv(g: Growing, x: str) -> str:
    x, kernel = g.maps(x), tuple(int(k) for k in g.rng.integers(1, 3, 2))
    group = [1, 2, 4][g.rng.integers(3)]
    given = {"kernel_shape": list(kernel), "group": group, **windows(g, kernel)}
    if "auto_pad" not in given and min(g.shape(x)[2:]) > 3:
        given["dilations"] = g.rng.integers(1, 3, 2).tolist()
    bias = [g.normal(4)] if g.rng.random() < 0.5 else []
    return g.add("Conv", x, g.normal(4, 4 // group, *kernel), *bias, **given)


def conv_transpose(g: Growing, x: str) -> str:
    x, group = g.maps(x), [1, 2][g.rng.integers(2)]
    strides = g.rng.integers(1, 4, 2).tolist()
    given = {"strides": strides, "group": group, "kernel_shape": [3, 2]}
    if g.rng.random() < 0.5:
        given["pads"] = [1, 0, 0, 1]
        given["output_padding"] = [int(g.rng.integers(stride)) for stride in strides]
    return g.add("ConvTranspose", x, g.normal(4, 4 // group, 3, 2), **given)


def pool(op: str) -> Step:
    def step(g: Growing, x: str) -> str:
        x = g.maps(x)
        kernel = tuple(int(k) for k in g.rng.integers(1, 3, 2))
        given = {"kernel_shape": list(kernel), **windows(g, kernel)}
        if op == "AveragePool":
            given["count_include_pad"] = int(g.rng.integers(2))
        return g.add(op, x, **given)

    return step


def gemm(g: Growing, x: str) -> str:
    flat = g.add("Flatten", x)
    n = g.shape(flat)[1]
    given = {"alpha": 0.5, "beta": 2.0, "transA": int(g.rng.integers(2)), "transB": int(g.rng.integers(2))}
    first = g.add("Transpose", flat) if given["transA"] else flat
    weight = g.normal(5, n) if given["transB"] else g.normal(n, 5)
    third = [g.normal(5)] if g.rng.random() < 0.5 else [g.add("MatMul", flat, g.normal(n, 1))]
    return g.add("Gemm", first, weight, *third, **given)


def matmul(g: Growing, x: str) -> str:
    x = g.maps(x)
    kind = g.rng.integers(5)
    width, height = g.shape(x)[3], g.shape(x)[2]
    if kind == 0:
        return g.add("MatMul", x, g.normal(width, 3))
    if kind == 1:
        return g.add("MatMul", g.normal(3, height), x)
    if kind == 2:
        return g.add("MatMul", x, g.normal(width))
    if kind == 3:
        return g.add("MatMul", x, g.add("Transpose", g.add("Tanh", x), perm=[0, 1, 3, 2]))
    mean = g.reduced("ReduceMean", x, [1], keepdims=1)
    return g.add("MatMul", g.add("Transpose", x, perm=[0, 1, 3, 2]), mean)


def einsum(g: Growing, x: str) -> str:
    x = g.maps(x)
    width = g.shape(x)[3]
    kind = g.rng.integers(5)
    if kind == 0:
        return g.add("Einsum", x, g.normal(width, 3), equation="bchw,wk->bkch")
    if kind == 1:
        return g.add("Einsum", x, g.add("Tanh", x), equation="bchw,bcij->bhij")
    if kind == 2:
        return g.add("Einsum", x, equation="bchw->bhc")
    if kind == 3:
        return g.add("Einsum", x, g.normal(width, 3), equation="...w,wk->...k")
    return g.add("Einsum", x, g.normal(width, 3), equation="bchw,wk")


def batch_norm(g: Growing, x: str) -> str:
    x = g.maps(x)
    return g.add("BatchNormalization", x, g.normal(4), g.normal(4), g.normal(4), g.constant(0.5 + g.rng.random(4)))


def instance_norm(g: Growing, x: str) -> str:
    x = g.maps(x)
    return g.add("InstanceNormalization", x, g.normal(4), g.normal(4), epsilon=1e-2)


def layer_norm(g: Growing, x: str) -> str:
    x, axis = g.maps(x), [-1, 2][g.rng.integers(2)]
    shape = g.shape(x)[axis:]
    bias = [g.normal(*shape)] if g.rng.random() < 0.5 else []
    return g.add("LayerNormalization", x, g.normal(*shape), *bias, axis=axis, epsilon=1e-2)


def lrn(g: Growing, x: str) -> str:
    return g.add("LRN", g.maps(x), size=[3, 5][g.rng.integers(2)], alpha=0.5, beta=0.75, bias=1.5)


def lp_norm(g: Growing, x: str) -> str:
    return g.add("LpNormalization", g.maps(x), axis=[1, -1][g.rng.integers(2)], p=int(g.rng.integers(1, 3)))


def concat(g: Growing, x: str) -> str:
    x = g.maps(x)
    return g.add("Concat", x, g.add("Tanh", x), x, axis=[1, -1, 2][g.rng.integers(3)])


def split(g: Growing, x: str) -> str:
    x = g.maps(x)
    sizes = [1, 3] if g.rng.random() < 0.5 or g.opset >= 18 else [2, 2]
    given = [g.ints(*sizes)] if g.opset >= 13 else []
    first, second = g.add("Split", x, *given, outputs=2, axis=1, **({} if given else {"split": sizes}))
    if g.rng.random() < 0.5:
        return second
    return g.add("Concat", second, g.add("Tanh", first), axis=1)


def slice_(g: Growing, x: str) -> str:
    x = g.maps(x)
    starts, ends, axes, steps = [
        ([1, 0], [3, 2**60], [1, 2], [1, 2]),
        ([-1, -2], [-(2**60), -(2**60)], [1, -1], [-1, -2]),
        ([1], [-1], [-2], [1]),
        ([1], [2**60], [1], [3]),
    ][g.rng.integers(4)]
    return g.add("Slice", x, g.ints(*starts), g.ints(*ends), g.ints(*axes), g.ints(*steps))


def gather(g: Growing, x: str) -> str:
    indices = [np.int64(2), np.int64([3, 1]), np.int64([[0, 0], [-1, 2]]), np.int64([1, 2, 3])][g.rng.integers(4)]
    return g.add("Gather", g.maps(x), g.constant(indices), axis=1)


def expand(g: Growing, x: str) -> str:
    x = g.reduced("Unsqueeze", g.reduced("ReduceMean", g.maps(x), [2], keepdims=1), [1])
    return g.add("Expand", x, g.ints(1, 3, 1, 2, 1))


def tile(g: Growing, x: str) -> str:
    return g.add("Tile", g.maps(x), g.ints(1, 2, 1, 3))


def pad(g: Growing, x: str) -> str:
    x, mode = g.maps(x), ["constant", "reflect", "edge"][g.rng.integers(3)]
    pads = [1, 0, 0, 1] if mode != "constant" else [2, 1, 0, 1]
    if g.opset >= 18:
        return g.add("Pad", x, g.ints(*pads), "", g.ints(2, -1), mode=mode)
    return g.add("Pad", x, g.ints(0, 0, *pads[:2], 0, 0, *pads[2:]), mode=mode)


def flatten(g: Growing, x: str) -> str:
    x = g.maps(x)
    return g.add("Reshape", g.add("Flatten", x, axis=2), g.ints(-1, *g.shape(x)[1:]))


def reshape(g: Growing, x: str) -> str:
    """Windows of a map, merged with the batch as Swin merges them, and taken apart again."""
    x = g.maps(x)
    _, c, h, w = g.shape(x)
    merged = g.add("Reshape", x, g.ints(-1, h, w))
    halved = g.add("Tanh", merged)
    return g.add("Reshape", halved, g.ints(-1, 2, c // 2, h * w))


def squeeze(g: Growing, x: str) -> str:
    return g.reduced("Squeeze", g.reduced("ReduceMean", g.maps(x), [1], keepdims=1), [1])


def transpose(g: Growing, x: str) -> str:
    moved = g.add("Transpose", g.maps(x), perm=[2, 3, 0, 1])
    return g.add("Transpose", g.add("Tanh", moved), perm=[2, 0, 3, 1])


def space_to_depth(g: Growing, x: str) -> str:
    x = g.add("Pad", g.maps(x), g.ints(0, 0, 0, 0, 0, 0, *(n % 2 for n in g.shape(g.maps(x))[2:])))
    return g.add("SpaceToDepth", x, blocksize=2)


def cumulative(g: Growing, x: str) -> str:
    given = {"exclusive": int(g.rng.integers(2)), "reverse": int(g.rng.integers(2))}
    return g.add("CumSum", g.maps(x), g.constant(np.int64(2)), **given)


def resize(g: Growing, x: str) -> str:
    x = g.maps(x)
    mode = ["nearest", "linear", "cubic"][g.rng.integers(3)]
    given = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
    if mode != "nearest":
        modes = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
        given["coordinate_transformation_mode"] = modes[g.rng.integers(4)]
    else:
        given["nearest_mode"] = ["floor", "round_prefer_floor"][g.rng.integers(2)]
    roi = g.constant(np.zeros(0))
    if g.rng.random() < 0.5:
        return g.add("Resize", x, roi, g.constant(np.float32([1, 1, 2, 3])), **given)
    sizes = g.ints(*g.shape(x)[:2], 7, 3)
    return g.add("Resize", x, roi, g.constant(np.zeros(0, np.float32)) if g.opset < 13 else "", sizes, **given)


STEPS: dict[str, Step] = {
    "Abs": one("Abs"),
    "Add": binary("Add"),
    "AveragePool": pool("AveragePool"),
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Ceil": beside("Ceil"),
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Cos": one("Cos"),
    "CumSum": cumulative,
    "DepthToSpace": lambda g, x: g.add("DepthToSpace", g.maps(x), blocksize=2, mode=["DCR", "CRD"][g.rng.integers(2)]),
    "Div": binary("Div", positive=True),
    "Dropout": one("Dropout"),
    "Einsum": einsum,
    "Elu": one("Elu", alpha=[0.5, 1.0]),
    "Erf": one("Erf"),
    "Exp": one("Exp"),
    "Expand": expand,
    "Flatten": flatten,
    "Floor": beside("Floor"),
    "Gather": gather,
    "Gelu": one("Gelu", approximate=["none", "tanh"]),
    "Gemm": gemm,
    "GlobalAveragePool": lambda g, x: g.add("GlobalAveragePool", g.maps(x)),
    "GlobalMaxPool": lambda g, x: g.add("GlobalMaxPool", g.maps(x)),
    "HardSigmoid": one("HardSigmoid", alpha=[0.2, 0.5], beta=[0.4]),
    "HardSwish": one("HardSwish"),
    "Identity": one("Identity"),
    "InstanceNormalization": instance_norm,
    "LRN": lrn,
    "LayerNormalization": layer_norm,
    "LeakyRelu": one("LeakyRelu", alpha=[0.01, 0.3]),
    "Log": on_positive("Log"),
    "LogSoftmax": lambda g, x: g.add("LogSoftmax", x, axis=-1),
    "LpNormalization": lp_norm,
    "MatMul": matmul,
    "Max": variadic("Max"),
    "MaxPool": pool("MaxPool"),
    "Mean": variadic("Mean"),
    "Min": variadic("Min"),
    "Mish": one("Mish"),
    "Mul": binary("Mul"),
    "Neg": one("Neg"),
    "PRelu": prelu,
    "Pad": pad,
    "Pow": binary("Pow", positive=True),
    "Reciprocal": on_positive("Reciprocal"),
    "ReduceL1": reduction("ReduceL1"),
    "ReduceL2": reduction("ReduceL2"),
    "ReduceLogSum": reduction("ReduceLogSum", positive=True),
    "ReduceLogSumExp": reduction("ReduceLogSumExp"),
    "ReduceMax": reduction("ReduceMax"),
    "ReduceMean": reduction("ReduceMean"),
    "ReduceMin": reduction("ReduceMin"),
    "ReduceSum": reduction("ReduceSum"),
    "ReduceSumSquare": reduction("ReduceSumSquare"),
    "Relu": one("Relu"),
    "Reshape": reshape,
    "Resize": resize,
    "Selu": one("Selu"),
    "Sigmoid": one("Sigmoid"),
    "Sign": beside("Sign"),
    "Sin": one("Sin"),
    "Slice": slice_,
    "Softmax": lambda g, x: g.add("Softmax", x, axis=-1),
    "Softplus": one("Softplus"),
    "Softsign": one("Softsign"),
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Sqrt": on_positive("Sqrt"),
    "Squeeze": squeeze,
    "Sub": binary("Sub"),
    "Sum": variadic("Sum"),
    "Tanh": one("Tanh"),
    "ThresholdedRelu": one("ThresholdedRelu", alpha=[0.3]),
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": lambda g, x: g.reduced("Unsqueeze", x, [1, -1]),
    "Where": where,
}
"""By operator, a step of a random graph. Left out are those whose rule is not their derivative: BY_DEFINITION."""
BY_DEFINITION = {"DequantizeLinear", "QuantizeLinear", "Round"}
NOT_IN_FLOAT64 = {"Celu"}


def is_in(op: str, opset: int) -> bool:
    """Whether the opset has the operator."""
    return defs.has(op, "") and any(
        s.name == op and s.since_version <= opset for s in defs.get_all_schemas_with_history()
    )
