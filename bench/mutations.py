"""Random damage to bundles, and what `verify` makes of it: no crash, no hang, no flood of memory, no wrong pass.

Half of the mutants keep the digests that were, so that they end at the door. In the other half every digest is
computed anew, and most of these change a graph, a twin or the arrays in a way that leaves them readable. Where ONNX
Runtime is not given the damaged graph or twin, or other damage is refused as such, the mutant is counted among those
that were drawn again, and another is drawn until one gets there. A quarter are of bundles with an int8 variant, which
is the one that is damaged and verified.

So that ten thousand take less than hours, a mutant is stopped where it cannot pass any more: where its logits are not
the reference's, or its twin's slopes are not the engine's; one short attack comes first, and only what would pass by
it, and one in two hundred of the others, is verified whole, by PGD: a weaker attack than the default, so that a wrong
pass is the easier. Engines' processes are forked from this one instead of started anew, and live under the same limits.

    python bench/mutations.py ROBUST STANDARD --out FOLDER -n 10000     # goes on where it was interrupted
"""

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import onnx
from forging import Forged, Material, Network, material, network_of, write_forged
from machine import machine_facts

from edgerkd.core.progress import Silent
from edgerkd.files.atomic import sha256_of
from edgerkd.graphs.precision.int8 import quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.verify import engine_process, evidence, isolated

IMAGES, OTHERS, GATE = 96, 48, 0.5
SLOW, LARGE = 11.0, 1 << 30  # seconds and bytes that no mutant may take
STOPS: list[bool] = []  # not empty: what cannot pass is left
REFUSED = (3, 5)  # exit codes of bad input, and of what is damaged
BASES = ("robust", "standard", "robust-int8", "standard-int8")


class Damage(NamedTuple):
    """What was done, and to which file."""

    kind: str
    file: Path


Mutant = Callable[[random.Random, Path], Damage]


class Handed:
    """The digests of the graphs that ONNX Runtime was given, by this process or any forked from it."""

    def __init__(self) -> None:
        self._handle, name = tempfile.mkstemp()
        Path(name).unlink()

    def forget(self) -> None:
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.truncate(self._handle, 0)

    def add(self, graph: str | bytes) -> None:
        if isinstance(graph, str):
            os.write(self._handle, f"{sha256_of(Path(graph))}\n".encode())

    def digests(self) -> set[str]:
        size = os.lseek(self._handle, 0, os.SEEK_END)
        return set(os.pread(self._handle, size, 0).decode().split())


HANDED = Handed()


def has_reached(damage: Damage, handed: set[str], exit_code: int) -> bool:
    """Whether ONNX Runtime was given the damaged graph; or any, and what else is damaged was not refused."""
    if damage.file.suffix != ".onnx":
        return bool(handed) and exit_code not in REFUSED
    return damage.file.is_file() and sha256_of(damage.file) in handed


class Forked:
    """What isolated.py needs of a subprocess, by fork: the runtime is loaded already."""

    most = 0

    def __init__(self, arguments: list[str], **options: Any) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            with Path(os.devnull).open("w") as null:
                os.dup2(null.fileno(), 2)
                os.dup2(null.fileno(), 1)
            try:
                engine_process.main(int(arguments[-2]), int(arguments[-1]))
            finally:
                os._exit(0)

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            pid, status, usage = os.wait4(self.pid, 0 if until is None else os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                Forked.most = max(Forked.most, usage.ru_maxrss * 1024)
            elif until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired("fork", timeout or 0)
            else:
                time.sleep(0.005)


class DecidedError(Exception):
    """It cannot pass any more."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code


def prepare() -> None:
    """Fork engines' processes, stop where parity fails, and let an engine pass by PGD alone."""
    import onnxruntime

    assert onnxruntime.__version__
    import edgerkd_exporters.onnx as backend
    from edgerkd.attacks.suite import ATTACKS, ENSEMBLES

    for name in ENSEMBLES["pgd"]:
        ATTACKS[name] = replace(ATTACKS[name], evidence="good")
    backend.OnnxBackend.check = lambda self: None
    opened = backend._session

    def noted(ort: Any, graph: str | bytes, *args: Any, **options: Any) -> Any:
        HANDED.add(graph)
        return opened(ort, graph, *args, **options)

    backend._session = noted
    isolated.subprocess = SimpleNamespace(Popen=Forked, TimeoutExpired=subprocess.TimeoutExpired, DEVNULL=-3)
    compared = evidence.compare

    def stopping(*args: Any) -> Any:
        found = compared(*args)
        if STOPS and not found[0].ok:
            raise DecidedError(6)
        return found

    checked, flags = evidence.check_gradients, evidence.all_flags

    def stopping_too(*args: Any, **kwargs: Any) -> Any:
        found = checked(*args, **kwargs)
        if STOPS and not found.ok:
            raise DecidedError(7)
        return found

    evidence.compare = stopping
    evidence.check_gradients = stopping_too
    evidence.all_flags = lambda *args, **kwargs: () if STOPS else flags(*args, **kwargs)


# -- bytes -------------------------------------------------------------------------------------------------------------


def damaged(rng: random.Random, content: bytes) -> bytes:
    """A few bytes changed, lost, doubled, swapped, or the end cut off."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 30])):
        at, size = rng.randrange(len(data) or 1), rng.choice([1, 1, 2, 4, 8, 64, 1000])
        how = rng.randrange(8)
        if how == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1 and data:
            data[at] = rng.choice([0, 1, 127, 128, 255])
        elif how == 2:
            del data[at : at + size]
        elif how == 3:
            data[at:at] = rng.randbytes(size)
        elif how == 4:
            data[at:at] = data[at : at + size]
        elif how == 5:
            data[at : at + size] = bytes(min(size, len(data) - at))
        elif how == 6:
            del data[at:]
        else:
            other = rng.randrange(len(data) or 1)
            a, b = data[at : at + size], data[other : other + size]
            data[at : at + size], data[other : other + size] = b, a
    return bytes(data)


def any_file(rng: random.Random, folder: Path) -> Damage:
    path = rng.choice(sorted(folder.iterdir()))
    path.write_bytes(damaged(rng, path.read_bytes()))
    return Damage(f"bytes of {kind_of(path)}", path)


def kind_of(path: Path) -> str:
    for end, kind in ((".twin.onnx", "the twin"), (".onnx", "the graph"), ("reference.npz", "the reference")):
        if path.name.endswith(end):
            return kind
    return "the manifest" if path.suffix == ".json" else "the samples"


def lost_or_odd(rng: random.Random, folder: Path) -> Damage:
    """A file that is not there, or something else in its place."""
    path = rng.choice(sorted(folder.iterdir()))
    content = path.read_bytes()
    path.unlink()
    how = rng.choice(["gone", "folder", "pipe", "link", "empty", "circle"])
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "link":
        other = folder.parent / "elsewhere"
        other.write_bytes(content)
        path.symlink_to(other)
    elif how == "circle":
        path.symlink_to(path)
    elif how == "empty":
        path.write_bytes(b"")
    return Damage(f"a file {how}", path)


# -- the manifest ------------------------------------------------------------------------------------------------------

ODD: list[Any] = [None, True, 0, -1, 1e308, -0.0, 10**30, 1e-9, "", "x", "a" * 300, "\x1b[2J", "../up", [], {}, [[]]]
ODD += ["NaN", "1/255", "0/255", "-8/255", "1e-999999", "int8", "fp16", "trt", "L2", {"a": 1}, [1, 2, 3], 2**63, 0.5]


def places(data: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [way] if way else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += places(value, (*way, key))
    return found


def manifest_value(rng: random.Random, folder: Path) -> Damage:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        way = rng.choice([each for each in places(data) if each[0] != "files"])
        part = data
        for key in way[:-1]:
            part = part[key]
        old, how = part[way[-1]], rng.randrange(4)
        if how == 0 and isinstance(part, dict):
            del part[way[-1]]
        elif how == 1 and isinstance(old, (int, float)) and not isinstance(old, bool):
            part[way[-1]] = old * rng.choice([0, -1, 0.5, 0.99, 1.01, 2, 1000, 1e12])
        elif how == 2 and isinstance(part, list):
            part.append(old)
        else:
            part[way[-1]] = rng.choice(ODD)
    path.write_text(json.dumps(data))
    return Damage("values of the manifest", path)


# -- arrays ------------------------------------------------------------------------------------------------------------


def arrays_in(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        return dict(archive)


def arrays(rng: random.Random, folder: Path) -> Damage:
    path = rng.choice([p for p in sorted(folder.iterdir()) if p.suffix == ".npz"])
    found = arrays_in(path)
    name, numbers = rng.choice(sorted(found)), np.random.default_rng(rng.randrange(1 << 30))
    array = found[name]
    how = rng.choice(["values", "noise", "type", "shape", "order", "rows", "nan", "gone", "huge", "repeat", "roll"])
    if how == "values":
        flat = array.reshape(-1)
        flat[numbers.integers(0, flat.size, 3)] = numbers.choice(flat, 3)
    elif how == "noise" and array.dtype == np.float32:
        array = array + numbers.normal(size=array.shape).astype(np.float32) * rng.choice([1e-6, 1e-3, 1, 1e6])
    elif how == "type":
        array = array.astype(rng.choice([np.float64, np.int8, np.int32, np.float16, np.complex64, "U3", ">f4"]))
    elif how == "shape":
        array = array.reshape(rng.choice([(-1,), (1, *array.shape), (*array.shape, 1)]))
    elif how == "order":
        array = np.asfortranarray(array)
    elif how == "rows":
        array = array[: rng.randrange(len(array))]
    elif how == "nan" and array.dtype == np.float32:
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e38])
    elif how == "huge" and array.dtype != np.bool_:
        array = array * array.dtype.type(rng.choice([0, 2, 100]))
    elif how == "repeat":
        array = np.repeat(array[:1], len(array), axis=0)
    elif how == "roll":
        array = np.roll(array, 1, axis=0)
    found[name] = array
    if how == "gone":
        del found[name]
    buffer = io.BytesIO()
    (np.savez_compressed if rng.random() < 0.2 else np.savez)(buffer, **found)
    path.write_bytes(buffer.getvalue())
    return Damage(f"arrays of {kind_of(path)}", path)


def few_numbers(rng: random.Random, folder: Path) -> Damage:
    """Some numbers of images, labels or answers, of which each stays one that there could be."""
    path = rng.choice([p for p in sorted(folder.iterdir()) if p.suffix == ".npz"])
    found, numbers = arrays_in(path), np.random.default_rng(rng.randrange(1 << 30))
    name = rng.choice(sorted(found))
    flat = found[name].reshape(-1)
    rows = numbers.integers(0, flat.size, rng.choice([1, 1, 3, 10]))
    if name.startswith("logits"):
        flat[rows] += (numbers.normal(size=len(rows)) * rng.choice([1e-6, 1e-3, 0.1])).astype(flat.dtype)
    else:
        flat[rows] = numbers.permutation(flat)[: len(rows)]
    np.savez(path, **found)
    return Damage(f"numbers of {kind_of(path)}", path)


# -- graphs ------------------------------------------------------------------------------------------------------------

OPERATORS = "Add Mul Sub Relu Sigmoid Exp Log Sqrt Neg Identity Softmax Reciprocal Abs Floor Round Sign Transpose Loop"
OPERATORS += " RandomNormalLike Flatten Shape Tile Expand ReduceSum ReduceMax Sin Cast Where MatMul Clip Gather NonZero"


def graph(rng: random.Random, folder: Path) -> Damage:
    """One or two parts of a graph changed; it stays one that protobuf can read."""
    path = rng.choice([p for p in sorted(folder.iterdir()) if p.suffix == ".onnx"][-2:])  # int8 comes after fp32
    model = onnx.load_from_string(path.read_bytes())
    what = ""
    for _ in range(rng.choice([1, 1, 2])):
        what = rng.choice(sorted(CHANGES))
        with suppress(ValueError, TypeError):  # the first change may have left nothing that the second can read
            CHANGES[what](rng, model.graph)
    path.write_bytes(model.SerializeToString())
    return Damage(f"{what} in {kind_of(path)}", path)


def weights(rng: random.Random, g: Any) -> None:
    change_numbers(rng, rng.choice(g.initializer))


def quantisers(rng: random.Random, g: Any) -> None:
    """A scale or a zero point, where there are any."""
    nodes = [node for node in g.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    names = {name for node in nodes for name in node.input[1:]}
    if found := [tensor for tensor in g.initializer if tensor.name in names]:
        change_numbers(rng, rng.choice(found))
    else:
        weights(rng, g)


def change_numbers(rng: random.Random, tensor: Any) -> None:
    array = onnx.numpy_helper.to_array(tensor).copy()
    numbers = np.random.default_rng(rng.randrange(1 << 30))
    if array.dtype == np.float32 and array.size:
        flat = array.reshape(-1)
        rows = numbers.integers(0, flat.size, rng.choice([1, 3, flat.size]))
        flat[rows] = flat[rows] * rng.choice([0, -1, 0.999, 1.001, 10, 1e20, np.nan]) + rng.choice([0, 0, 1e-4, 1])
    elif array.size:
        flat = array.reshape(-1)
        values = [0, 1, -1, 2, 1000, 2**31 - 1, 2**40, 2**62, -(2**62)]
        flat[rng.randrange(flat.size)] = np.array(rng.choice(values)).astype(array.dtype)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def sizes(rng: random.Random, g: Any) -> None:
    tensor = rng.choice(g.initializer)
    if len(tensor.dims):
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice([0, 1, 2, 1 << 20, 1 << 40, -1])
    if rng.random() < 0.3:
        tensor.data_type = rng.choice([0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 16, 99])


def operator(rng: random.Random, g: Any) -> None:
    node = rng.choice(g.node)
    node.op_type = rng.choice(OPERATORS.split())
    if rng.random() < 0.1:
        node.domain = rng.choice(["com.microsoft", "ai.onnx.ml", "x"])


def wiring(rng: random.Random, g: Any) -> None:
    node = rng.choice([node for node in g.node if node.input])
    names = [name for each in g.node for name in (*each.input, *each.output)] + ["", "nowhere"]
    node.input[rng.randrange(len(node.input))] = rng.choice(names)


def attribute(rng: random.Random, g: Any) -> None:
    node = rng.choice([node for node in g.node if node.attribute] or g.node)
    if not node.attribute:
        return
    found = rng.choice(node.attribute)
    if found.ints:
        found.ints[rng.randrange(len(found.ints))] = rng.choice([0, 1, 2, 3, -1, 7, 1000, 2**31, 2**60])
    elif found.type == onnx.AttributeProto.INT:
        found.i = rng.choice([0, 1, 2, -1, 10, 99, 2**40])
    elif found.type == onnx.AttributeProto.FLOAT:
        found.f = rng.choice([0.0, -1.0, 1e30, float("nan")])
    elif rng.random() < 0.5:
        node.attribute.remove(found)
    else:
        found.name = "other"


def order(rng: random.Random, g: Any) -> None:
    nodes = list(g.node)
    how = rng.randrange(3)
    if how == 0:
        del nodes[rng.randrange(len(nodes))]
    elif how == 1:
        nodes.insert(rng.randrange(len(nodes)), rng.choice(nodes))
    else:
        rng.shuffle(nodes)
    del g.node[:]
    g.node.extend(nodes)


def added(rng: random.Random, g: Any) -> None:
    """A node before another: some ask for more memory or time than there is."""
    node = rng.choice([node for node in g.node if node.input])
    place, name = rng.randrange(len(node.input)), f"added{rng.randrange(1 << 30)}"
    source, numpy_helper = node.input[place], onnx.numpy_helper
    kind = rng.choice(["Identity", "Neg", "Tile", "Expand", "Pad", "Mul", "Reshape", "Cast", "ConstantOfShape"])
    given = [source]
    if kind in ("Tile", "Expand", "Reshape", "ConstantOfShape", "Pad"):
        shape = np.asarray(rng.choice([[1, 1], [1, 1, 1, 1], [1, 1, 1 << 15, 1 << 15], [1 << 20] * 2, [-1], [0]]))
        if kind == "Pad":
            shape = np.concatenate([shape, shape])
        g.initializer.append(numpy_helper.from_array(shape.astype(np.int64), f"{name}_w"))
        given = [f"{name}_w"] if kind == "ConstantOfShape" else [source, f"{name}_w"]
    elif kind == "Mul":
        g.initializer.append(numpy_helper.from_array(np.float32(rng.choice([1, 1.0001, -1, 0, 1e30])), f"{name}_w"))
        given = [source, f"{name}_w"]
    to: dict[str, Any] = {"to": rng.choice([1, 7, 8, 10, 11])} if kind == "Cast" else {}
    made = onnx.helper.make_node(kind, given, [name], **to)
    node.input[place] = name
    nodes = list(g.node)
    nodes.insert(nodes.index(node), made)
    del g.node[:]
    g.node.extend(nodes)


def ends(rng: random.Random, g: Any) -> None:
    value = rng.choice([*g.input, *g.output])
    how = rng.randrange(4)
    if how == 0:
        value.name = rng.choice(["x", "images", "logits", "", "gradient"])
    elif how == 1 and value.type.tensor_type.shape.dim:
        value.type.tensor_type.shape.dim[rng.randrange(len(value.type.tensor_type.shape.dim))].dim_value = 3
    elif how == 2:
        value.type.tensor_type.elem_type = rng.choice([0, 1, 7, 8, 10, 11])
    else:
        g.output.append(g.output[0])


CHANGES: dict[str, Callable[[random.Random, Any], None]] = {
    "weights": weights,
    "quantisers": quantisers,
    "sizes": sizes,
    "operators": operator,
    "wiring": wiring,
    "attributes": attribute,
    "order": order,
    "nodes added": added,
    "inputs and outputs": ends,
}


def with_digests(folder: Path) -> None:
    """Digests and sizes as the files are now, where the manifest can still be read."""
    path = folder / "manifest.json"
    try:
        data = json.loads(path.read_text())
        for name, entry in data["files"].items():
            file = folder / name
            if file.is_file():
                entry.update(size=file.stat().st_size, sha256=sha256_of(file))
        path.write_text(json.dumps(data))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def tried(bundle: Path, engines: Path, *, thorough: bool, known: bool) -> dict[str, Any]:
    """How the command would end; quickly where that cannot be a pass, or is one of a `known` graph."""
    if not thorough:
        STOPS.append(True)
        try:
            found = ended(bundle, engines, "pgd-20-margin")
        finally:
            STOPS.clear()
        if found["exit"] != 0 or known:
            return found
    return ended(bundle, engines, "pgd")


def ended(bundle: Path, engines: Path, attack: str) -> dict[str, Any]:
    from edgerkd.bundle.read import read_bundle
    from edgerkd.core.errors import EdgerkdError
    from edgerkd.core.trust import Trust
    from edgerkd.verify.run import verify

    started, Forked.most = time.perf_counter(), 0
    found: dict[str, Any] = {}
    try:
        report = verify(
            read_bundle(bundle),
            engines=engines,
            backend="onnx",
            attack=attack,
            trust=Trust(grounds=("sha256",)),  # as if this digest were expected: who signed it is not the point
            progress=Silent(),
        )
        found = {"exit": {"pass": 0, "fail": 1, "inconclusive": 7}[report.verdict], "variant": report.engine.variant}
    except DecidedError as e:
        found = {"exit": e.exit_code, "error": "parity" if e.exit_code == 6 else "slopes"}
    except EdgerkdError as e:
        found = {"exit": e.exit_code, "error": str(e)[-200:]}
    except Exception:  # noqa: BLE001  what is looked for
        found = {"exit": 70, "error": traceback.format_exc()[-1500:]}
    found["attack"] = attack
    found["seconds"] = round(time.perf_counter() - started, 2)
    return {**found, "bytes": Forked.most}


def is_wrong(bundle: Path, variant: str, m: Material) -> bool:
    """Whether an engine that passed resists, on other images, less than its gate asks, by APGD-CE and targeted."""
    from edgerkd.attacks.apgd import APGD_CE, APGD_T, apgd
    from edgerkd.attacks.losses import cross_entropy, margin_targeted
    from edgerkd.bundle.read import read_bundle
    from edgerkd.core.errors import EdgerkdError
    from edgerkd.graphs.twin import gradient_twin
    from edgerkd.jobs.graph_attack import attack_graph

    verified = next(each for each in read_bundle(bundle).manifest.variants if each.name == variant)
    content, twin = ((bundle / name).read_bytes() for name in (verified.graph, verified.twin))
    others = m.more.take(np.arange(OTHERS))
    short = (
        APGD_CE.with_budget(25, partial(apgd, loss=cross_entropy, steps=25)),
        APGD_T.with_budget(25, partial(apgd, loss=margin_targeted, steps=25, targets=3)),
    )
    threat_model = m.bundle.manifest.threat_model
    unusable = (EdgerkdError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    with suppress(*unusable):  # the bundle's own twin was found to tell the engine's slopes
        twin = gradient_twin(declared_as(m.robust.graph, content))
    found = attack_graph(content, twin, others, short, threat_model, seed=1, name="it", progress=Silent())
    return found.robust_acc.value < GATE


def declared_as(honest: bytes, content: bytes) -> bytes:
    """The graph with the types of an honest one at its ends: its runtime does not hold a mutant to what it declares."""
    true, model = onnx.load_from_string(honest), onnx.load_from_string(content)
    for ends, others in ((model.graph.input, true.graph.input), (model.graph.output, true.graph.output)):
        for end, other in zip(ends, others, strict=False):
            end.type.CopyFrom(other.type)
    return model.SerializeToString()


def rounded(network: Network, images: np.ndarray) -> Network:
    """The same in int8, as ONNX Runtime wants it."""
    return network_of(quantized(network.graph, find_ranges(network.graph, [images]), placement="unsigned"))


def write_bases(folder: Path, m: Material) -> None:
    """What mutants are made of, by its name in BASES; all but the standard networks pass."""
    for name, network in (("robust", m.robust), ("standard", m.standard)):
        write_forged(folder / name, Forged(network=network), m)
        forged = Forged(network=rounded(network, m.more.images), precision="int8")
        write_forged(folder / f"{name}-int8", forged, m)


def ones(number: int, bases: Path, work: Path, m: Material) -> Iterator[dict[str, Any]]:
    """What became of the mutants of this number: of those with digests that fit, all until one reaches a runtime."""
    rng = random.Random(number)
    base = bases / BASES[number % 2 + 2 * (number % 16 >= 12)]
    valid, reached = number % 4 >= 2, False
    mutants: list[Mutant] = [graph] * 6 + [arrays, few_numbers, manifest_value, any_file]
    if not valid:
        mutants = [any_file, any_file, lost_or_odd, manifest_value, arrays, graph]
    while not reached:
        folder = work / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work / "engines", ignore_errors=True)
        shutil.copytree(base, folder)
        damage = rng.choice(mutants)(rng, folder)
        if valid:
            with_digests(folder)
        HANDED.forget()
        known = is_robust(base, folder)
        thorough = number % 800 in (6, 7, 14, 15)
        found = tried(folder, work / "engines", thorough=thorough, known=known)
        reached = has_reached(damage, HANDED.digests(), found["exit"])
        if found["exit"] == 0 and not known:
            found["wrong"] = is_wrong(folder, found["variant"], m)
        facts = {"number": number, "base": base.name, "kind": damage.kind, "digests": valid, "thorough": thorough}
        yield {**facts, **found, "reached": reached}
        reached = reached or not valid


def is_robust(base: Path, folder: Path) -> bool:
    """Whether the graph that is verified is the robust network's, as it was."""
    name = "int8-unsigned.onnx" if base.name.endswith("int8") else "fp32.onnx"
    graph = folder / name
    return base.name.startswith("robust") and graph.is_file() and graph.read_bytes() == (base / name).read_bytes()


def is_slow(found: dict[str, Any]) -> bool:
    """Whether it hung: the whole attack of a mutant that is as good as new may take longer."""
    return found["attack"] != "pgd" and found["seconds"] > SLOW


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept of a run."""
    return {
        "numbers": len({r["number"] for r in results}),
        "mutants": len(results),
        "digests": sum(r["digests"] for r in results),
        "digests_and_reached_a_runtime": sum(r["digests"] and r["reached"] for r in results),
        "drawn_again": sum(r["digests"] and not r["reached"] for r in results),
        "reached_a_runtime": sum(r["reached"] for r in results),
        "exits": dict(sorted(Counter(str(r["exit"]) for r in results).items())),
        "crashes": sum(r["exit"] == 70 for r in results),
        "longest_seconds": max(r["seconds"] for r in results if r["attack"] != "pgd"),
        "over_11_seconds": sum(is_slow(r) for r in results),
        "most_bytes_of_an_engine": max(r["bytes"] for r in results),
        "over_1_gib": sum(r["bytes"] > LARGE for r in results),
        "passes": sum(r["exit"] == 0 for r in results),
        "wrong_passes": sum(r.get("wrong", False) for r in results),
        "bases": dict(sorted(Counter(r["base"] for r in results).items())),
        "kinds": {
            kind: dict(sorted(Counter(str(r["exit"]) for r in results if r["kind"] == kind).items()))
            for kind in sorted({r["kind"] for r in results})
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("robust", type=Path)
    parser.add_argument("standard", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    m = material(args.robust, args.standard, n=IMAGES)
    bases, work = args.out / f"bases-{args.first}", args.out / f"work-{args.first}"
    write_bases(bases, m)
    prepare()
    log = args.out / f"mutations-{args.first}.jsonl"
    done = {json.loads(line)["number"] for line in log.read_text().splitlines()} if log.exists() else set()
    for number in range(args.first, args.first + args.n):
        if number in done:
            continue
        found = list(ones(number, bases, work, m))
        with log.open("a") as file:
            file.write("".join(json.dumps(each) + "\n" for each in found))
        for each in found:
            if each["exit"] == 70 or is_slow(each) or each["bytes"] > LARGE or each.get("wrong"):
                print(each, flush=True)
    results = [
        json.loads(line)
        for each in sorted(args.out.glob("mutations-*.jsonl"))
        for line in each.read_text().splitlines()
    ]
    found = {"machine": machine_facts(["numpy", "onnxruntime"]), **summary(results)}
    found["most_bytes_here"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    text = json.dumps(found, indent=2) + "\n"
    (args.report or args.out / "summary.json").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
