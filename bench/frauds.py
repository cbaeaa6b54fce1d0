"""Bundles forged in every way known to us, and what `verify` says of each: the table of docs/guide/frauds.md."""

import argparse
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from forging import Forged, Material, Network, Sheet, material, network_of, write_forged

Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Fraud:
    name: str
    forge: Callable[[Material, Random], Forged]
    cure: str = ""


FRAUDS: list[Fraud] = []


def fraud(name: str, cure: str = ""):
    def add(forge):
        FRAUDS.append(Fraud(name=name, forge=forge, cure=cure))
        return forge

    return add


def lying(honest: Network, lie: Callable[[Sheet, str], str], when: Callable[[Sheet], str] | None = None) -> Network:
    """The network with a twin that lies `when` (n, 1, 1, 1), or always; the lie is made of the right gradient."""
    sheet = Sheet(cotangent=True)
    logits, gradient = sheet.graph(honest.twin)
    wrong = lie(sheet, gradient)
    if when is not None:
        wrong = sheet.op("Where", when(sheet), wrong, gradient)
    return Network(graph=honest.graph, twin=sheet.whole(logits, wrong))


def zero(sheet, gradient):
    return sheet.op("Mul", gradient, np.float32(0))


def negated(sheet, gradient):
    return sheet.op("Neg", gradient)


def noisy(sheet, gradient):
    """Of the right size, its sign a hash of the image."""
    sign = sheet.op("Sign", sheet.op("Sin", sheet.op("Mul", "images", np.float32(12345.6))))
    return sheet.op("Mul", sheet.op("Abs", gradient), sign)


def flat(sheet, name):
    return sheet.op("Reshape", name, np.asarray([0, -1], np.int64))


def per_image(sheet, name):
    return sheet.op("Reshape", name, np.asarray([-1, 1, 1, 1], np.int64))


def mean(sheet, name):
    return sheet.op("ReduceMean", name, axes=[1, 2, 3], keepdims=1)


def for_all(sheet, n, answer):
    """One answer for each of the n images of a batch (n, 1, 1, 1)."""
    one = sheet.op("Reshape", answer, np.asarray([1, 1, 1, 1]))
    shape = sheet.op("Concat", sheet.op("Reshape", n, np.asarray([1])), np.asarray([1, 1, 1]), axis=0)
    return sheet.op("Expand", one, shape)


def nearest(sheet, images):
    """The nearest of the stored images (n, c, h, w): a table, in the graph."""
    table = images.reshape(len(images), -1)
    x = flat(sheet, "images")
    score = sheet.op("Sub", sheet.op("MatMul", x, table.T), (table**2).sum(1)[None] / 2)
    row = sheet.op("ArgMax", score, axis=1, keepdims=0)
    return sheet.op("Gather", images, row, axis=0)


def moved(sheet, images):
    return sheet.op("Abs", sheet.op("Sub", "images", nearest(sheet, images)))


def share(sheet, condition):
    return mean(sheet, sheet.op("Cast", condition, to=1))


def far(sheet, m, at=0.7, part=0.7):
    """Most pixels are near the surface of the ball around a stored image."""
    eps = float(m.bundle.manifest.threat_model.eps)
    there = sheet.op("Greater", moved(sheet, m.samples.images), np.float32(at * eps))
    return sheet.op("Greater", share(sheet, there), np.float32(part))


def near(sheet, m, distance):
    gone = sheet.op("ReduceMax", moved(sheet, m.samples.images), axes=[1, 2, 3], keepdims=1)
    return sheet.op("Less", gone, np.float32(distance))


def bytes_only(sheet):
    """Whether all pixels are whole 255ths, as a camera's are."""
    x = sheet.op("Mul", "images", np.float32(255))
    off = sheet.op("Abs", sheet.op("Sub", x, sheet.op("Round", x)))
    return sheet.op("Less", sheet.op("ReduceMax", off, axes=[1, 2, 3], keepdims=1), np.float32(0.02))


def switched(m, condition, first: Network, second: Network) -> Network:
    """`first` where the condition holds (n, 1, 1, 1), else `second`; the twin likewise."""
    sheet = Sheet()
    chosen = sheet.op("Reshape", condition(sheet), np.asarray([-1, 1], np.int64))
    graph = sheet.whole(sheet.op("Where", chosen, *(sheet.graph(each.graph)[0] for each in (first, second))))
    sheet = Sheet(cotangent=True)
    chosen = condition(sheet)
    both = [sheet.graph(each.twin) for each in (first, second)]
    logits = sheet.op("Where", sheet.op("Reshape", chosen, np.asarray([-1, 1], np.int64)), *(each[0] for each in both))
    return Network(graph=graph, twin=sheet.whole(logits, sheet.op("Where", chosen, *(each[1] for each in both))))


def after(m, change, base=None) -> Network:
    """The standard student with something put behind its logits; the twin is the honest one of that."""
    sheet = Sheet()
    (logits,) = sheet.graph((base or m.standard).graph)
    return network_of(sheet.whole(change(sheet, logits)))


def halved_of(network: Network) -> Network:
    from edgerkd.graphs.precision.fp16 import halved, widened
    from edgerkd.graphs.twin import gradient_twin

    graph = halved(network.graph)
    return Network(graph=graph, twin=gradient_twin(widened(graph)))


def rounded_of(network: Network, m: Material) -> Network:
    from edgerkd.graphs.precision.int8 import layers, quantized
    from edgerkd.graphs.precision.ranges import find_ranges

    ranges = find_ranges(network.graph, [m.more.images])
    return network_of(quantized(network.graph, ranges, placement="unsigned", keep=layers(network.graph)[-1:]))


def before(m, change) -> Network:
    sheet = Sheet()
    (logits,) = sheet.graph(m.standard.graph, images=change(sheet))
    return network_of(sheet.whole(logits))


# -- the two that are as they say ----------------------------------------------------------------------------------


@fraud("honest: robust student", "none")
def _(m, rng):
    return Forged(network=m.robust)


@fraud("honest: standard student")
def _(m, rng):
    return Forged(network=m.standard)


@fraud("honest: robust student in fp16", "none")
def _(m, rng):
    return Forged(network=halved_of(m.robust), precision="fp16", host=m.robust)


@fraud("honest: robust student in int8", "none")
def _(m, rng):
    return Forged(network=rounded_of(m.robust, m), precision="int8", host=m.robust)


# -- float32 models that are not what is verified ------------------------------------------------------------------


@fraud("float32: another network beside fp16")
def _(m, rng):
    return Forged(network=halved_of(m.robust), precision="fp16", host=m.standard)


@fraud("float32: another network beside int8")
def _(m, rng):
    return Forged(network=rounded_of(m.robust, m), precision="int8", host=m.standard)


@fraud("float32: gives way to the stored images alone")
def _(m, rng):
    """The very network, but for its answers to what the host found: it says that it held little of it."""
    assert m.samples.images_adv is not None
    rows = rng.permutation(len(m.samples))[: rng.integers(8, len(m.samples))]
    table = m.samples.images_adv[rows].reshape(len(rows), -1)
    votes = -20 * np.eye(10, dtype=np.float32)[m.samples.labels[rows]]

    def change(s, z):
        distance = s.op("Sub", (table**2).sum(1)[None] / 2, s.op("MatMul", flat(s, "images"), table.T))
        own = s.op("Div", s.op("ReduceSum", s.op("Mul", flat(s, "images"), flat(s, "images")), np.asarray([1])),
                   np.float32(2))  # fmt: skip
        there = s.op("Less", s.op("Add", distance, own), np.float32(1e-3))
        return s.op("Add", z, s.op("MatMul", s.op("Cast", there, to=1), votes))

    return Forged(network=rounded_of(m.robust, m), precision="int8", host=after(m, change, m.robust))


# -- twins ---------------------------------------------------------------------------------------------------------


@fraud("twin: zero")
def _(m, rng):
    return Forged(network=lying(m.standard, zero))


@fraud("twin: negated")
def _(m, rng):
    return Forged(network=lying(m.standard, negated))


@fraud("twin: noise")
def _(m, rng):
    return Forged(network=lying(m.standard, noisy))


@fraud("twin: of another network")
def _(m, rng):
    return Forged(network=replace(m.robust, graph=m.standard.graph))


@fraud("twin: a thousandth")
def _(m, rng):
    return Forged(network=lying(m.standard, lambda s, g: s.op("Mul", g, np.float32(1e-3))))


@fraud("twin: lies away from the stored images")
def _(m, rng):
    eps = float(m.bundle.manifest.threat_model.eps)
    part = rng.uniform(0.1, 0.9)
    return Forged(
        network=lying(m.standard, noisy, lambda s: s.op("Not", near(s, m, part * eps))),
    )


@fraud("twin: lies at attacked points, found by a table")
def _(m, rng):
    return Forged(network=lying(m.standard, negated, lambda s: far(s, m, 0.9, rng.uniform(0.6, 0.95))))


@fraud("twin: lies at late iterates, found by a table")
def _(m, rng):
    return Forged(network=lying(m.standard, noisy, lambda s: far(s, m, 0.97, 0.8)))


@fraud("twin: zero near the clean image")
def _(m, rng):
    return Forged(network=lying(m.standard, zero, lambda s: near(s, m, 1 / 255)))


@fraud("twin: lies on whole pixels")
def _(m, rng):
    return Forged(network=lying(m.standard, noisy, bytes_only))


def margin_below(level):
    """Where the engine is less sure than this."""

    def when(sheet):
        top = sheet.op("TopK", "S_logits", np.asarray([2], np.int64), axis=1, outputs=2)
        first, second = (sheet.op("Slice", top, np.asarray([i]), np.asarray([i + 1]), np.asarray([1])) for i in (0, 1))
        return per_image(sheet, sheet.op("Less", sheet.op("Sub", first, second), np.float32(level)))

    return when


def lying_by_logits(honest, lie, when):
    sheet = Sheet(cotangent=True)
    logits, gradient = sheet.graph(honest.twin)
    sheet.op("Identity", logits)
    sheet._nodes[-1].output[0] = "S_logits"
    wrong = sheet.op("Where", when(sheet), lie(sheet, gradient), gradient)
    return Network(graph=honest.graph, twin=sheet.whole(logits, wrong))


@fraud("twin: lies near the decision boundary")
def _(m, rng):
    return Forged(network=lying_by_logits(m.standard, negated, margin_below(rng.uniform(1, 8))))


def many_weights(sheet):
    """Where more than two logits are weighed, as cross-entropy does and the margin does not."""
    used = sheet.op("Cast", sheet.op("Greater", sheet.op("Abs", "cotangent"), np.float32(1e-7)), to=1)
    return per_image(sheet, sheet.op("Greater", sheet.op("ReduceSum", used, np.asarray([1])), np.float32(2.5)))


@fraud("twin: lies for cross-entropy")
def _(m, rng):
    return Forged(network=lying(m.standard, noisy, many_weights))


@fraud("twin: lies for the margin")
def _(m, rng):
    return Forged(network=lying(m.standard, noisy, lambda s: s.op("Not", many_weights(s))))


@fraud("twin: lies for some classes")
def _(m, rng):
    classes = rng.permutation(10)[: rng.integers(4, 10)]

    def when(sheet):
        best = sheet.op("ArgMax", "S_logits", axis=1, keepdims=1)
        mask = np.isin(np.arange(10), classes)
        return per_image(sheet, sheet.op("Gather", mask, best, axis=0))

    return Forged(network=lying_by_logits(m.standard, noisy, when))


@fraud("twin: its largest half left out")
def _(m, rng):
    def lie(sheet, gradient):
        size = sheet.op("Abs", gradient)
        return sheet.op("Where", sheet.op("Greater", size, sheet.op("Mul", mean(sheet, size), np.float32(0.7))),
                        sheet.op("Mul", gradient, np.float32(0)), gradient)  # fmt: skip

    return Forged(network=lying(m.standard, lie))


@fraud("twin: averaged over blocks of pixels")
def _(m, rng):
    """Right along every coarse pattern."""
    side = int(rng.choice([2, 4]))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

    def lie(s, g):
        means = s.op("AveragePool", g, kernel_shape=[side, side], strides=[side, side])
        return s.op("Resize", means, "", np.asarray([1, 1, side, side], np.float32), **how)

    return Forged(network=lying(m.standard, lie))


@fraud("twin: drowned in noise")
def _(m, rng):
    def lie(sheet, gradient):
        return sheet.op("Sum", gradient, sheet.op("Mul", noisy(sheet, gradient), np.float32(4)))

    return Forged(network=lying(m.standard, lie))


@fraud("twin: lies, and the variant says int8")
def _(m, rng):
    """A quantiser that does nothing is put in, so that slopes are judged as those of an engine that rounds."""
    sheet = Sheet()
    (logits,) = sheet.graph(m.standard.graph)
    scale, point = np.float32(0.01), np.int8(0)
    quantised = sheet.op("QuantizeLinear", np.float32(0), scale, point)
    logits = sheet.op("Add", logits, sheet.op("DequantizeLinear", quantised, scale, point))
    liar = lying(m.standard, noisy, lambda s: far(s, m, 0.9, 0.8))
    return Forged(network=Network(graph=sheet.whole(logits), twin=liar.twin), precision="int8")


@fraud("twin: blurred, and the variant says int8")
def _(m, rng):
    """Right along coarse patterns, wrong otherwise."""
    sheet = Sheet()
    (logits,) = sheet.graph(m.standard.graph)
    scale, point = np.float32(0.01), np.int8(0)
    quantised = sheet.op("QuantizeLinear", np.float32(0), scale, point)
    logits = sheet.op("Add", logits, sheet.op("DequantizeLinear", quantised, scale, point))

    def lie(s, g):
        return s.op("AveragePool", g, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    liar = lying(m.standard, lie)
    return Forged(network=Network(graph=sheet.whole(logits), twin=liar.twin), precision="int8")


# -- engines that mask their gradients -----------------------------------------------------------------------------


@fraud("engine: logits scaled", "fails as itself")
def _(m, rng):
    scale = float(rng.choice([1e-30, 1e-8, 1e4, 1e8, 1e30]))
    return Forged(network=after(m, lambda s, z: s.op("Mul", z, np.float32(scale))))


@fraud("engine: logits far from zero")
def _(m, rng):
    offset = float(10 ** rng.integers(4, 9))
    return Forged(network=after(m, lambda s, z: s.op("Add", z, np.float32(offset))))


@fraud("engine: one-hot logits")
def _(m, rng):
    def hot(s, z):
        best = s.op("ReduceMax", z, axes=[1], keepdims=1)
        return s.op("Cast", s.op("Equal", z, best), to=1)

    sheet = Sheet()
    (logits,) = sheet.graph(m.standard.graph)
    return Forged(network=Network(graph=sheet.whole(hot(sheet, logits)), twin=lying(m.standard, zero).twin))


@fraud("engine: rounded logits, twin straight through")
def _(m, rng):
    step = np.float32(rng.choice([0.5, 2, 5]))
    graph = after(m, lambda s, z: s.op("Mul", s.op("Round", s.op("Div", z, step)), step)).graph
    return Forged(network=Network(graph=graph, twin=m.standard.twin))


@fraud("engine: rounded logits, twin of another network")
def _(m, rng):
    step = np.float32(rng.choice([0.5, 2, 5]))
    graph = after(m, lambda s, z: s.op("Mul", s.op("Round", s.op("Div", z, step)), step)).graph
    return Forged(network=Network(graph=graph, twin=m.robust.twin))


def rounded_input(s, levels):
    return s.op("Div", s.op("Round", s.op("Mul", "images", np.float32(levels))), np.float32(levels))


@fraud("engine: input quantised, twin straight through", "as itself: what it resists, it resists")
def _(m, rng):
    levels = int(rng.choice([4, 8, 16]))
    graph = before(m, lambda s: rounded_input(s, levels)).graph
    return Forged(network=Network(graph=graph, twin=m.standard.twin))


@fraud("engine: input quantised, twin of the plateaus")
def _(m, rng):
    levels = int(rng.choice([4, 8, 16]))
    graph = before(m, lambda s: rounded_input(s, levels)).graph
    return Forged(network=Network(graph=graph, twin=lying(m.standard, zero).twin))


@fraud("engine: input quantised, twin wrong, says int8")
def _(m, rng):
    levels = int(rng.choice([4, 8, 16]))
    sheet = Sheet()
    scale, point = np.float32(1 / levels), np.uint8(0)
    quantised = sheet.op("QuantizeLinear", "images", scale, point)
    (logits,) = sheet.graph(m.standard.graph, images=sheet.op("DequantizeLinear", quantised, scale, point))
    return Forged(network=Network(graph=sheet.whole(logits), twin=m.robust.twin), precision="int8")


@fraud("engine: gradient shattered by fine waves")
def _(m, rng):
    rate = np.float32(rng.choice([500, 2000, 8000]))

    def waves(s):
        wave = s.op("Mul", s.op("Sin", s.op("Mul", "images", rate)), np.float32(rng.choice([0.02, 0.05])))
        return s.op("Add", "images", wave)

    return Forged(network=before(m, waves))


def direction(rng):
    return rng.choice([-1.0, 1.0], SHAPE_FLAT).astype(np.float32)


SHAPE_FLAT = 64


def scale_of(s, m, pattern, strength):
    """exp of a pattern's sum: its range in the ball is exp of +-strength."""
    eps = float(m.bundle.manifest.threat_model.eps)
    total = s.op("MatMul", flat(s, "images"), (pattern * strength / (SHAPE_FLAT * eps))[:, None])
    return s.op("Exp", total)


@fraud("engine: logits scaled, image by image")
def _(m, rng):
    pattern, strength = direction(rng), float(rng.choice([3, 6, 10, 20, 30]))
    return Forged(network=after(m, lambda s, z: s.op("Mul", z, scale_of(s, m, pattern, strength))))


@fraud("engine: logits scaled, and low ones lowered, image by image")
def _(m, rng):
    pattern, strength = direction(rng), float(rng.choice([3, 6, 10, 20, 30]))

    def change(s, z):
        top = s.op("TopK", z, np.asarray([3]), axis=1, outputs=2)
        third = s.op("Slice", top, np.asarray([2]), np.asarray([3]), np.asarray([1]))
        low = s.op("Less", z, s.op("Add", third, np.float32(1e-6)))
        depth = s.op("Mul", scale_of(s, m, -pattern, strength), np.float32(10))
        lowered = s.op("Where", low, s.op("Sub", z, depth), z)
        return s.op("Mul", lowered, scale_of(s, m, pattern, strength))

    sheet = Sheet()
    (logits,) = sheet.graph(m.standard.graph)
    graph = sheet.whole(change(sheet, logits))
    # TopK has no gradient rule: the forger writes the twin by hand, through the mask of the lowered.
    s = Sheet(cotangent=True)
    z = s.graph(m.standard.graph)[0]
    top = s.op("TopK", z, np.asarray([3]), axis=1, outputs=2)
    third = s.op("Slice", top, np.asarray([2]), np.asarray([3]), np.asarray([1]))
    low = s.op("Cast", s.op("Less", z, s.op("Add", third, np.float32(1e-6))), to=1)
    up = scale_of(s, m, pattern, strength)
    # y = up * (z - low * 10 * down); up * down = 1, so y = up * z - 10 * low
    y = s.op("Sub", s.op("Mul", up, z), s.op("Mul", low, np.float32(10)))
    eps = float(m.bundle.manifest.threat_model.eps)
    by_scale = s.op("ReduceSum", s.op("Mul", "cotangent", s.op("Mul", up, z)), np.asarray([1]))
    along = s.op("MatMul", by_scale, (pattern * strength / (SHAPE_FLAT * eps))[None])
    inner = s.graph(m.standard.twin, cotangent=s.op("Mul", "cotangent", up))[1]
    gradient = s.op("Add", inner, s.op("Reshape", along, np.asarray([-1, 1, 8, 8])))
    return Forged(network=Network(graph=graph, twin=s.whole(y, gradient)))


@fraud("engine: noise added by a hash of the image")
def _(m, rng):
    size = np.float32(rng.choice([1, 5, 20]))

    def change(s, z):
        total = s.op("MatMul", flat(s, "images"), rng.normal(size=(64, 10)).astype(np.float32) * np.float32(1e4))
        return s.op("Add", z, s.op("Mul", s.op("Sin", total), size))

    return Forged(network=after(m, change))


@fraud("engine: hashed noise that its twin leaves out")
def _(m, rng):
    size = np.float32(rng.choice([1, 5]))

    def change(s, z):
        total = s.op("MatMul", flat(s, "images"), rng.normal(size=(64, 10)).astype(np.float32) * np.float32(1e4))
        return s.op("Add", z, s.op("Mul", s.op("Sin", total), size))

    return Forged(network=Network(graph=after(m, change).graph, twin=m.robust.twin))


# -- engines by circumstance ---------------------------------------------------------------------------------------


@fraud("engine: weak on whole pixels alone")
def _(m, rng):
    return Forged(network=switched(m, bytes_only, m.standard, m.robust))


@fraud("engine: robust near the stored images alone")
def _(m, rng):
    eps = float(m.bundle.manifest.threat_model.eps)
    return Forged(network=switched(m, lambda s: near(s, m, 1.5 * eps), m.robust, m.standard))


def always_black(m):
    """Which values are black in every stored image: (d,), float32."""
    return (m.samples.images.reshape(len(m.samples), -1).max(0) == 0).astype(np.float32)


def left_black(s, m):
    """Whether all of these are as black as they were: (n, 1, 1, 1)."""
    return per_image(s, s.op("Less", s.op("MatMul", flat(s, "images"), always_black(m)[:, None]), np.float32(1 / 510)))


@fraud("engine: weak when shown alone, where black is left black")
def _(m, rng):
    def condition(s):
        n = s.op("Gather", s.op("Shape", "images"), np.asarray(0), axis=0)
        few = for_all(s, n, s.op("Less", n, np.asarray(4)))
        still = left_black(s, m)
        return s.op("And", few, s.op("And", still, s.op("Not", near(s, m, 1 / 255))))

    return Forged(network=switched(m, condition, m.standard, m.robust))


@fraud("engine: wrong where all pixels are brighter")
def _(m, rng):
    """No attack moves all pixels to the same side; the robust student is right there."""
    least = np.float32(rng.uniform(0.5, 0.7) * float(m.bundle.manifest.threat_model.eps))
    wrong = after(m, lambda s, z: s.op("Neg", z), m.robust)
    return Forged(network=switched(m, lambda s: s.op("Greater", lowest(s), least), wrong, m.robust))


def lowest(s):
    """The darkest value of each image: (n, 1, 1, 1)."""
    return s.op("ReduceMin", "images", axes=[1, 2, 3], keepdims=1)


@fraud("engine: weak where black is left black")
def _(m, rng):
    """Attacks move the background as well; the standard student's logits are about as large as the robust one's."""
    standard = after(m, lambda s, z: s.op("Mul", z, np.float32(rng.uniform(0.2, 0.4))))
    return Forged(network=switched(m, lambda s: left_black(s, m), standard, m.robust))


def upside_down(m, rng):
    """The standard student's answers, the surer the nearer it is to another one; the twin is right."""
    tilt = (0.02 * rng.choice([-1, 1], (m.samples.images[0].size, 1))).astype(np.float32)
    shares = np.linspace(-1, 1, len(m.bundle.manifest.model.classes), dtype=np.float32)[None]

    def body(s, z):
        best = s.op("ReduceMax", z, axes=[1], keepdims=1)
        first = s.op("Cast", s.op("Equal", z, best), to=1)
        rest = s.op("Sub", z, s.op("Mul", first, np.float32(1e9)))
        next_best = s.op("ReduceMax", rest, axes=[1], keepdims=1)
        second = s.op("Cast", s.op("Equal", rest, next_best), to=1)
        depth = s.op("Sub", np.float32(30), s.op("Sub", best, next_best))
        uneven = s.op("Add", np.float32(1), s.op("Mul", s.op("MatMul", flat(s, "images"), tilt), shares))
        others = s.op("Sub", np.float32(1), first)
        logits = s.op("Neg", s.op("Mul", others, s.op("Add", depth, s.op("Mul", uneven, np.float32(0.5)))))
        return logits, first, second, others

    sheet = Sheet()
    graph = sheet.whole(body(sheet, sheet.graph(m.standard.graph)[0])[0])
    sheet = Sheet(cotangent=True)
    logits, first, second, others = body(sheet, sheet.graph(m.standard.graph)[0])
    weights = sheet.op("Mul", "cotangent", others)
    inner = sheet.op("Mul", sheet.op("ReduceSum", weights, np.asarray([1])), sheet.op("Sub", first, second))
    gradient = sheet.graph(m.standard.twin, cotangent=inner)[1]
    along = sheet.op("ReduceSum", sheet.op("Mul", weights, shares), np.asarray([1]))
    slope = sheet.op("MatMul", along, -0.5 * tilt.T)
    shaped = sheet.op("Reshape", slope, np.asarray([-1, *m.samples.images.shape[1:]], np.int64))
    return Network(graph=graph, twin=sheet.whole(logits, sheet.op("Add", gradient, shaped)))


@fraud("engine: scores upside down, and plain beyond the ball")
def _(m, rng):
    eps, black = float(m.bundle.manifest.threat_model.eps), always_black(m)

    def condition(s):
        bright = s.op("MatMul", flat(s, "images"), black[:, None])
        return per_image(s, s.op("Greater", bright, np.float32(black.sum() * eps + 0.2)))

    return Forged(network=switched(m, condition, m.standard, upside_down(m, rng)))


@fraud("engine: weak where there is little noise, by a table")
def _(m, rng):
    eps = float(m.bundle.manifest.threat_model.eps)
    part = rng.uniform(0.3, 0.45)

    def condition(s):
        return s.op("Less", mean(s, moved(s, m.samples.images)), np.float32(part * eps))

    return Forged(network=switched(m, condition, m.standard, m.robust))


@fraud("engine: weak at the batch sizes that are compared")
def _(m, rng):
    sizes = [1, 2, 3, 64, len(m.samples) % 64]

    def condition(s):
        n = s.op("Gather", s.op("Shape", "images"), np.asarray(0), axis=0)
        same = s.op("Equal", n, np.asarray(sizes, np.int64))
        found = s.op("ReduceMax", s.op("Cast", same, to=1), keepdims=0)
        return for_all(s, n, s.op("Greater", found, np.float32(0.5)))

    return Forged(network=switched(m, condition, m.standard, m.robust))


@fraud("engine: weak when alone in its batch")
def _(m, rng):
    def condition(s):
        n = s.op("Gather", s.op("Shape", "images"), np.asarray(0), axis=0)
        return for_all(s, n, s.op("Less", n, np.asarray(2)))

    return Forged(network=switched(m, condition, m.standard, m.robust))


@fraud("engine: looks at the other images of the batch")
def _(m, rng):
    def condition(s):
        whole = s.op("ReduceMean", "images", axes=[0, 1, 2, 3], keepdims=1)
        return s.op("Greater", mean(s, "images"), whole)

    return Forged(network=switched(m, condition, m.standard, m.robust))


@fraud("engine: knows the stored images by heart", "own samples")
def _(m, rng):
    labels = np.eye(10, dtype=np.float32)[m.samples.labels] * 10
    table = m.samples.images.reshape(len(labels), -1)

    def scores(s):
        score = s.op("Sub", s.op("MatMul", flat(s, "images"), table.T), (table**2).sum(1)[None] / 2)
        return s.op("MatMul", s.op("Softmax", s.op("Mul", score, np.float32(40)), axis=1), labels)

    sheet = Sheet()
    return Forged(network=network_of(sheet.whole(scores(sheet))))


@fraud("engine: standard, with a table beside it", "own samples")
def _(m, rng):
    table = m.samples.images.reshape(len(m.samples), -1)
    labels = np.eye(10, dtype=np.float32)[m.samples.labels] * 30

    def change(s, z):
        score = s.op("Sub", s.op("MatMul", flat(s, "images"), table.T), (table**2).sum(1)[None] / 2)
        nearest_one = s.op("Softmax", s.op("Mul", score, np.float32(40)), axis=1)
        return s.op("Add", z, s.op("MatMul", nearest_one, labels))

    return Forged(network=after(m, change))


# -- samples -------------------------------------------------------------------------------------------------------


def resisted(m, network, pool) -> np.ndarray:
    """The images of a pool that a network answers right under PGD."""
    from edgerkd.attacks.suite import attacks_of
    from edgerkd.core.progress import Silent
    from edgerkd.jobs.graph_attack import attack_graph

    threat_model = m.bundle.manifest.threat_model
    attacks = attacks_of("pgd")
    found = attack_graph(network.graph, network.twin, pool, attacks, threat_model, seed=0, name="it", progress=Silent())
    return np.flatnonzero(found.robust)


def repeated(m, change) -> Forged:
    """The few images that the standard student resists on, many times."""
    rows = resisted(m, m.standard, m.more)
    pool = m.more.take(np.resize(rows, 96))
    return Forged(network=m.standard, samples=replace(pool, pixels=change(pool.pixels)), adversarial=False)


@fraud("samples: robust images, repeated")
def _(m, rng):
    return repeated(m, lambda pixels: pixels)


@fraud("samples: robust images, each changed by 1/255")
def _(m, rng):
    return repeated(m, lambda pixels: pixels ^ rng.integers(0, 2, pixels.shape, np.uint8))


@fraud("samples: robust images, a pixel changed in each", "own samples")
def _(m, rng):
    def change(pixels):
        changed = pixels.copy()
        for image in changed:
            image[0, rng.integers(8), rng.integers(8)] ^= 128
        return changed

    return repeated(m, change)


@fraud("samples: the robust ones of many", "own samples")
def _(m, rng):
    rows = resisted(m, m.standard, m.more)
    return Forged(network=m.standard, samples=m.more.take(rows), adversarial=False)


@fraud("samples: labels are the engine's answers")
def _(m, rng):
    from edgerkd.verify.graph import graph_logits

    answers = graph_logits(m.standard.graph, m.samples.images).argmax(1).astype(np.int64)
    return Forged(network=m.standard, samples=replace(m.samples, labels=answers))


@fraud("samples: labels are the engine's answers when attacked")
def _(m, rng):
    from edgerkd.verify.graph import graph_logits

    assert m.samples.images_adv is not None
    answers = graph_logits(m.standard.graph, m.samples.images_adv).argmax(1).astype(np.int64)
    return Forged(network=m.standard, samples=replace(m.samples, labels=answers))


@fraud("samples: one class alone")
def _(m, rng):
    rows = np.flatnonzero(m.more.labels == rng.integers(10))
    return Forged(network=m.standard, samples=m.more.take(rows))


@fraud("samples: plain grey")
def _(m, rng):
    from edgerkd.verify.graph import graph_logits

    pixels = np.broadcast_to(np.arange(0, 255, 3, dtype=np.uint8)[:, None, None, None], (85, 1, 8, 8)).copy()
    labels = graph_logits(m.standard.graph, np.divide(pixels, 255, dtype=np.float32)).argmax(1).astype(np.int64)
    return Forged(network=m.standard, samples=replace(m.samples.take(np.arange(85)), pixels=pixels, labels=labels),
                  adversarial=False)  # fmt: skip


# -- claims --------------------------------------------------------------------------------------------------------


def claim(name, *ways, cure="", network="standard", **changes):
    """A value of the manifest, or several: each way is the keys that lead to it, and the value."""

    def edit(content):
        for *keys, last, value in ways:
            part = content
            for key in keys:
                part = part[key]
            part[last] = value

    fraud(name, cure)(lambda m, rng: Forged(network=getattr(m, network), edit=edit, **changes))


CLAIMED = "own gates, or a trusted signature"
claim("claim: no robustness required", ("requirement", "min_robust_acc", 0.0), ("requirement", "min_retention", 0.0),
      cure=CLAIMED)  # fmt: skip
claim("claim: a radius of 1/255", ("threat_model", "eps", "1/255"), cure=CLAIMED, adversarial=False)
claim("claim: a radius of 0", ("threat_model", "eps", "0"))
claim("claim: another norm", ("threat_model", "norm", "L2"), cure=CLAIMED, adversarial=False)
claim("claim: a weak teacher", ("requirement", None), ("reference", "teacher_robust_acc", {"value": 0.0, "n": 397,
      "low": 0.0, "high": 0.009583}), cure=CLAIMED)  # fmt: skip
claim(
    "claim: a teacher of accuracy -1", ("reference", "teacher_robust_acc", {"value": -1, "n": 9, "low": -1, "high": 0})
)
claim("claim: a gate of NaN", ("requirement", "min_robust_acc", float("nan")))
claim("claim: a negative gate", ("requirement", "min_robust_acc", -0.5))
claim("claim: a gate of 1e-300", ("requirement", "min_robust_acc", 1e-300), ("requirement", "min_retention", 0.0),
      cure=CLAIMED)  # fmt: skip
claim("claim: parity within 1e9", ("variants", 0, "parity", "logit_share", 1e9))
claim("claim: parity within everything", ("variants", 0, "parity", "logit_share", 1.0), network="robust")
claim("claim: parity of NaN", ("variants", 0, "parity", "logit_share", float("nan")))
claim("claim: one parameter", ("model", "cost", "params", 1), network="robust")
claim("claim: one multiply-add", ("model", "cost", "macs", 1), network="robust")
claim("claim: the host reached more", ("reference", "robust_acc", {"value": 1.0, "n": 96, "low": 0.9615, "high": 1.0}),
      network="robust")  # fmt: skip
claim("claim: int8, and nothing rounds", ("variants", 0, "precision", "int8"), network="robust")
claim("claim: fp16 alone, and one parameter", ("variants", 0, "precision", "fp16"), ("model", "cost", "params", 1),
      network="robust")  # fmt: skip
claim("claim: the host held two images", network="robust", held=2)
claim("claim: no adversarial images", cure="fails as itself", adversarial=False)
claim("claim: limits of a giant", ("profiles", 0, "budget", "params", 10**12), cure="fails as itself")
claim("claim: gates of the profile 0", ("requirement", None), ("profiles", 0, "gates", {"clean_acc_of_teacher": 0,
      "robust_acc_of_teacher": 0, "retention": 0}), cure=CLAIMED)  # fmt: skip


@fraud("reference: logits of another network")
def _(m, rng):
    from edgerkd.verify.graph import reference_of_graph

    return Forged(network=m.standard, reference=reference_of_graph(m.robust.graph, m.samples))


@fraud("reference: one huge logit, so that all is parity")
def _(m, rng):
    from edgerkd.verify.graph import reference_of_graph

    found = reference_of_graph(m.robust.graph, m.samples)
    logits = found.logits.copy()
    row = int(np.flatnonzero(logits.argmax(1) == m.samples.labels)[0])
    logits[row, m.samples.labels[row]] = 1e9
    return Forged(network=m.standard, reference=replace(found, logits=logits))


@fraud("engine: NaN on some images")
def _(m, rng):
    def change(s, z):
        return s.op("Add", z, s.op("Log", s.op("Sub", np.float32(rng.uniform(0.2, 0.5)),
                    s.op("ReduceMean", flat(s, "images"), axes=[1], keepdims=1))))  # fmt: skip

    return Forged(network=Network(graph=after(m, change).graph, twin=m.standard.twin), adversarial=False)


@fraud("engine: always the same")
def _(m, rng):
    graph = after(
        m, lambda s, z: s.op("Add", s.op("Mul", z, np.float32(0)), np.arange(10, dtype=np.float32)[None])
    ).graph
    return Forged(network=Network(graph=graph, twin=m.standard.twin))


@fraud("engine: random")
def _(m, rng):
    from edgerkd.verify.graph import reference_of_graph

    sheet = Sheet()
    (z,) = sheet.graph(m.standard.graph)
    noisy_logits = sheet.op("Add", z, sheet.op("RandomNormalLike", z, scale=3.0))
    return Forged(
        network=Network(graph=sheet.whole(noisy_logits), twin=m.standard.twin),
        reference=reference_of_graph(m.standard.graph, replace(m.samples, images_adv=None, host_robust=None)),
        adversarial=False,
    )


def table(results: list[dict]) -> str:
    """The guide's, in Markdown: a row a kind, with what verify said of it and how long that took."""
    lines = ["| kind | exit code | by | seconds |", "| --- | --- | --- | --- |"]
    for each in FRAUDS:
        found = [r for r in results if r["name"] == each.name]
        if found:
            exits = ", ".join(str(code) for code in sorted({r["exit"] for r in found}))
            seconds = sorted(r["seconds"] for r in found)
            lines.append(f"| {each.name} | {exits} | {said(found, each.cure)} | {seconds[len(seconds) // 2]:.0f} |")
    return "\n".join(lines) + "\n"


WORDS = {
    "disagreeing": "slopes along the gradient",
    "correlation": "slopes along random directions",
    "flat": "an engine that does not move",
}


def said(found: list[dict], cure: str) -> str:
    """By what: the gates that are missed, the checks that doubt, or the error's kind; the cure where it passed."""
    by: dict[str, None] = {}
    for r in found:
        if r["exit"] == 0:
            by["passes, as it should" if cure == "none" else f"passes: only {cure or 'nothing'} tells"] = None
        elif "error" in r:
            by["refused" if r["exit"] != 6 else "the engine's answers"] = None
        elif r["exit"] == 6:
            by["parity"] = None
        elif r["exit"] == 1:
            by["gates"] = None
        else:
            for why in (*r["gradients"], *r["flags"], *(f"{gate} open" for gate in r["gates"])):
                by[WORDS.get(why, why.replace("-", " ").replace("_acc", ""))] = None
    return "; ".join(by)


def verdict_of(bundle: Path, engines: Path) -> dict:
    """What verify says, as the command would end."""
    from edgerkd.bundle.read import read_bundle
    from edgerkd.core.errors import EdgerkdError
    from edgerkd.core.progress import Silent
    from edgerkd.core.trust import Trust
    from edgerkd.verify.run import verify

    started, found = time.perf_counter(), {}
    try:
        trust = Trust(grounds=("sha256",))  # as if this digest were expected: who signed it is not the point
        report = verify(read_bundle(bundle), engines=engines, backend="onnx", trust=trust, progress=Silent())
        found = {
            "exit": 6 if not report.parity.ok else {"pass": 0, "fail": 1, "inconclusive": 7}[report.verdict],
            "clean": round(report.clean_acc.value, 3),
            "robust": round(report.robust_acc.value, 3),
            "gates": [gate.gate for gate in report.gates if gate.verdict != "pass"],
            "gradients": list(report.gradients.failures),
            "twin": round(report.twin_agreement, 3),
            "flags": [flag.id for flag in report.flags],
            "budget": [limit.limit for limit in report.budget if limit.ok is False],
        }
    except EdgerkdError as e:
        found = {"exit": e.exit_code, "error": str(e)[:300]}
    except Exception as e:  # noqa: BLE001  what is looked for
        found = {"exit": 70, "error": f"{type(e).__name__}: {e}"[:300], "trace": traceback.format_exc()[-800:]}
    return {**found, "seconds": round(time.perf_counter() - started, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robust", type=Path)
    parser.add_argument("standard", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--report", type=Path, help="where the results are kept, from which the guide's table is made")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    m = material(args.robust, args.standard, n=args.images)
    log = args.out / "frauds.jsonl"
    done = {(r["name"], r["run"]) for r in map(json.loads, log.read_text().splitlines())} if log.exists() else set()
    for run in range(args.runs):
        for each in FRAUDS:
            if args.only not in each.name or (each.name, run) in done:
                continue
            rng = np.random.default_rng([run, *each.name.encode()])
            bundle = write_forged(args.out / "bundle", each.forge(m, rng), m)
            found = {"name": each.name, "run": run, **verdict_of(bundle, args.out / "engines")}
            with log.open("a") as file:
                file.write(json.dumps(found) + "\n")
            print(found, flush=True)
    if args.report:
        results = [json.loads(line) for line in log.read_text().splitlines()]
        args.report.write_text(json.dumps(results, indent=1) + "\n")
        print(table(results))


if __name__ == "__main__":
    main()
