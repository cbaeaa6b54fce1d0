"""What fp16 and int8 do to students: speed, size, and robust accuracy under a white-box attack.

    python bench/study.py bench/plans/precision.toml               first: it trains the students
    OMP_NUM_THREADS=1 taskset -c 0 python bench/precision.py [--only NAME ...] [--runs FOLDER ...] [-n 500]
    python bench/precision.py --table docs/measured/precision.json

Each graph of a student (edgerkd's own, and those of ONNX Runtime's quantiser) is timed by each runtime, all of them in
turn, round after round; medians, ratios to float32 in ONNX Runtime. The images are the first n that the study drew from
the test split. torchvision's networks of 224 x 224 have random weights: their latency, size and agreement are measured.
With `--no-attack` the students' as well, for a quiet few minutes: int8 has its last layer in float32 then.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import machine_facts
from numpy.typing import NDArray
from plan import read_plan
from setting import opened
from torch import nn

from edgerkd.attacks.suite import DEFAULT, attacks_of
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.samples import StoredSamples
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.precision import Placement, PrecisionSearch
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset, Split, to_float
from edgerkd.files.atomic import write_atomic
from edgerkd.files.decode import decode_json
from edgerkd.graphs.precision.int8 import layers
from edgerkd.graphs.precision.wiring import Wiring
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.precision import FloatModel, Tried, attacked, try_precision
from edgerkd.models.build import build
from edgerkd.models.network import Network
from edgerkd.models.onnx_graph import OPSET, onnx_from_module, onnx_from_network
from edgerkd.models.store import load_network, read_safetensors
from edgerkd.verify.graph import graph_logits

PLAN = Path("bench/plans/precision.toml")
BATCHES = (1, 8, 64)
ROUNDS = {1: 60, 8: 20, 64: 5}
CALIBRATION = 512
ANY = ThreatModel(norm="Linf", eps=Radius("8/255"))  # of networks that are not attacked

Call = Callable[[NDArray[np.float32]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network with the graph that is exported for it, and images: to calibrate with, and to judge or compare by."""

    name: str
    network: nn.Module
    graph: bytes
    calibration: NDArray[np.float32]
    images: NDArray[np.float32]
    judged: "Judged | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The attack on the network itself, in float32."""

    samples: StoredSamples
    threat_model: ThreatModel


def students(work: Path, n: int, only: list[str], *, attack: bool) -> list[Subject]:
    """Those of the plan whose weights are in `work`."""
    found: list[Subject] = []
    for case in read_plan(PLAN).cases:
        weights = work / f"{PLAN.stem}-{case.name}-edgerkd-0.safetensors"
        if not weights.exists() or (only and case.name not in only):
            continue
        data, threat_model = opened(case.data)
        network = build(case.architecture(data))
        network.load_state_dict(read_safetensors(weights))
        found.append(judged_subject(case.name, network, data, threat_model, n, attack=attack))
    return found


def student_of(folder: Path, n: int, *, attack: bool) -> Subject:
    """That of a run of `edgerkd distill` on data which come by their name, such as the demo's."""
    run = RunFolder(folder)
    record = decode_json(RunRecord, run.recipe)
    data, _ = opened(record.data.name)
    network, threat_model = load_network(run.trained), record.recipe.threat_model
    return judged_subject(folder.resolve().name, network, data, threat_model, n, attack=attack)


def judged_subject(
    name: str, network: Network, data: Dataset, threat_model: ThreatModel, n: int, *, attack: bool
) -> Subject:
    """The network, attacked on `n` test images as a bundle's are; not judged without `attack`."""
    chosen = data.test.sample(min(n, len(data.test)), seed=0)
    judged = None
    if attack:
        judged = Judged(samples=attacked_samples(network, chosen, data, threat_model), threat_model=threat_model)
    return Subject(
        name=name,
        network=network.eval(),
        graph=onnx_from_network(network),
        calibration=floats(data.train.sample(CALIBRATION, seed=0)),
        images=floats(chosen),
        judged=judged,
    )


def attacked_samples(network: Network, images: Split, data: Dataset, threat_model: ThreatModel) -> StoredSamples:
    """These test images, and what the default attack made of them."""
    return attack_network(
        network,
        images,
        name="student",
        split="test",
        of=len(data.test),
        class_names=data.class_names,
        threat_model=threat_model,
        seed=0,
        progress=Silent(),
        attack=DEFAULT,
    ).samples


def floats(split: Split) -> NDArray[np.float32]:
    """Images (n, c, h, w) in [0, 1]."""
    return np.ascontiguousarray(to_float(split.images).numpy())


def large(only: list[str]) -> list[Subject]:
    """torchvision's networks with random weights."""
    from torchvision import models

    found: list[Subject] = []
    for name in ("resnet18", "mobilenet_v3_large"):
        if only and name not in only:
            continue
        torch.manual_seed(0)
        network = getattr(models, name)(weights=None).eval()
        images = np.random.default_rng(0).random((96, 3, 224, 224), np.float32)
        graph = onnx_from_module(network, torch.zeros(2, 3, 224, 224), opset=OPSET)
        found.append(
            Subject(name=name, network=network, graph=graph, calibration=images[:32], images=images[32:], judged=None)
        )
    return found


def variants(subject: Subject) -> dict[str, tuple[Tried, float]]:
    """edgerkd's own graphs, with the seconds each took; attacked where the subject is judged."""
    model = model_of(subject)
    found: dict[str, tuple[Tried, float]] = {}
    for precision in ("fp16", "int8"):
        started = time.perf_counter()
        tried = try_precision(model, precision, progress=Silent())
        seconds = time.perf_counter() - started - sum(each.search.attack_seconds for each in tried)
        for each in tried:
            placement = each.search.placement
            found[precision if placement is None else f"{precision}-{placement}"] = each, seconds / len(tried)
    return found


def model_of(subject: Subject) -> FloatModel:
    """The subject as edgerkd's precision search takes it."""
    judged = subject.judged
    nothing = StoredSamples(pixels=np.zeros((1, *subject.images.shape[1:]), np.uint8), labels=np.zeros(1, np.int64))
    return FloatModel(
        graph=subject.graph,
        samples=nothing if judged is None else judged.samples,
        calibration=subject.calibration,
        attacks=attacks_of(DEFAULT),
        threat_model=ANY if judged is None else judged.threat_model,
        seed=0,
    )


def by_onnx_runtime(subject: Subject, *, signed: bool) -> tuple[Tried, float]:
    """ONNX Runtime's own quantiser: activations kept, biases in float32, the last layer left out."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    batches = iter([{"images": part} for part in np.array_split(subject.calibration, len(subject.calibration) // 32)])

    class Reader(CalibrationDataReader):
        def get_next(self) -> Any:  # Any: as ONNX Runtime has it
            return next(batches, None)

    last = layers(subject.graph)[-1]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(subject.graph)
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "MaxPool"],
            nodes_to_exclude=[name_of(subject.graph, last)],
            extra_options={
                "ActivationSymmetric": signed,
                "QuantizeBias": False,
                "QDQKeepRemovableActivations": True,
            },
        )
        graph = target.read_bytes()
    seconds = time.perf_counter() - started
    return foreign(subject, graph, "signed" if signed else "unsigned", last), seconds


def by_nncf(subject: Subject) -> tuple[Tried, float]:
    """NNCF's quantiser as it comes, the last layer left out. It is no dependency: PYTHONPATH names where it is."""
    import nncf  # type: ignore[import-not-found]  optional
    import onnx

    last = layers(subject.graph)[-1]
    started = time.perf_counter()
    model = nncf.quantize(
        onnx.load_from_string(subject.graph),
        nncf.Dataset(np.array_split(subject.calibration, len(subject.calibration)), lambda part: {"images": part}),
        subset_size=len(subject.calibration),
        ignored_scope=nncf.IgnoredScope(names=[name_of(subject.graph, last)]),
    )
    seconds = time.perf_counter() - started
    graph = model.SerializeToString()
    return foreign(subject, graph, "unsigned", last), seconds


def foreign(subject: Subject, graph: bytes, placement: Placement, last: str) -> Tried:
    """Another quantiser's graph, with its layer `last` in float32, attacked as our own are."""
    search = PrecisionSearch(precision="int8", placement=placement, float_layers=(last,))
    return attacked(model_of(subject), Tried(graph=graph, twin=gradient_twin(graph), search=search), Silent())


def name_of(graph: bytes, output: str) -> str:
    """The node that makes a tensor."""
    import onnx

    return Wiring.of(onnx.load_from_string(graph)).makers[output].name


def calls(subject: Subject, graphs: dict[str, bytes], folder: Path) -> dict[str, Call]:
    """Everything that is timed, by name: runtime and graph."""
    found: dict[str, Call] = {}
    for runtime in ("onnx", "openvino"):
        backend = load_backend(runtime)
        for name, graph in graphs.items():
            path = folder / f"{name}.onnx"
            path.write_bytes(graph)
            found[f"{runtime} {name}"] = backend.open(path)
    found["torch eager"] = by_torch(subject.network)
    found["torch.compile"] = by_torch(torch.compile(subject.network))
    return found


def by_torch(module: Callable[[torch.Tensor], torch.Tensor]) -> Call:
    """From an array to an array, as the engines."""

    def call(images: NDArray[np.float32]) -> object:
        with torch.inference_mode():
            return module(torch.from_numpy(images)).numpy()

    return call


def latencies(found: dict[str, Call], images: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    """Milliseconds by name and batch: the median of rounds in which each has its turn, in an order drawn anew.

    A turn is a call that fills the caches, as in a program that has nothing else to run, and then a timed one. Timed
    at once, what happened to follow torch took a third longer than the same graph behind another engine.
    """
    result: dict[str, dict[str, float]] = {name: {} for name in found}
    every, order = list(found.items()), np.random.default_rng(0)
    for batch in BATCHES:
        part = np.ascontiguousarray(images[:batch])
        rounds = ROUNDS[batch] if images.shape[-1] < 100 else max(3, ROUNDS[batch] // 6)
        times: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(2 + rounds):
            for name, call in (every[k] for k in order.permutation(len(every))):
                call(part)
                started = time.perf_counter()
                call(part)
                times[name].append(1e3 * (time.perf_counter() - started))
        for name, measured in times.items():
            result[name][str(batch)] = median(measured[2:])
    return result


def accuracies(subject: Subject, graph: bytes, search: PrecisionSearch | None) -> dict[str, Any]:
    """Agreement and differences of logits; of judged ones accuracy, replay, and what the attack left."""
    expected, logits = graph_logits(subject.graph, subject.images), graph_logits(graph, subject.images)
    found: dict[str, Any] = {
        "agreement": float((logits.argmax(1) == expected.argmax(1)).mean()),
        "rms": float(np.sqrt(np.square(logits - expected).mean())),
        "bytes": len(graph),
    }
    judged = subject.judged
    if judged is None or judged.samples.images_adv is None or judged.samples.host_robust is None:
        return found
    labels, held = judged.samples.labels, judged.samples.host_robust
    right = logits.argmax(1) == labels
    replay = right & (graph_logits(graph, judged.samples.images_adv).argmax(1) == labels)
    found["clean"] = str(accuracy_from_correct(right.tolist()))
    found["replay"] = str(accuracy_from_correct(replay.tolist()))
    retention = None if search is None else search.retention
    robust = float(held.mean()) if retention is None else retention.value * float(held.mean())
    found["robust"] = robust
    found["n"] = len(labels)
    if retention is not None and search is not None:
        found["retention"] = [retention.value, retention.low, retention.high, retention.n]
        found["float_layers"] = len(search.float_layers)
    return found


def measured(subject: Subject) -> dict[str, Any]:
    """One subject's rows."""
    own = variants(subject)
    own["ort-quantiser uint8"] = by_onnx_runtime(subject, signed=False)
    own["ort-quantiser int8"] = by_onnx_runtime(subject, signed=True)
    if find_spec("nncf") is not None:
        own["nncf"] = by_nncf(subject)
    graphs = {"fp32": subject.graph} | {name: tried.graph for name, (tried, _) in own.items()}
    if isinstance(subject.network, Network):
        shape = subject.network.architecture.image_shape
        graphs["plain export"] = onnx_from_module(subject.network, torch.zeros(2, *shape), opset=OPSET)
    with tempfile.TemporaryDirectory() as folder:
        times = latencies(calls(subject, graphs, Path(folder)), subject.images)
    return {
        "name": subject.name,
        "layers": len(layers(subject.graph)),
        "graphs": {
            name: accuracies(subject, graph, own[name][0].search if name in own else None)
            | ({"seconds": own[name][1]} if name in own else {})
            for name, graph in graphs.items()
        },
        "latency_ms": times,
    }


def table(path: Path) -> None:
    """Markdown of a file of results."""
    content = json.loads(path.read_text())
    for result in content["results"]:
        print(f"\n**{result['name']}**, {result['layers']} layers\n")
        print(
            "| graph | of fp32's bytes | agreement | rms | clean | replay | white-box | retention | in fp32 |"
            " made in s |"
        )
        print("| --- " * 10 + "|")
        base = result["graphs"]["fp32"]["bytes"]
        for name, row in result["graphs"].items():
            kept = row.get("retention")
            retention = f"{kept[0]:.3f} [{kept[1]:.3f}, {kept[2]:.3f}] of {kept[3]}" if kept else ""
            robust = f"{100 * row['robust']:.1f} %" if "robust" in row else ""
            made = f"{row['seconds']:.1f}" if "seconds" in row else ""
            print(
                f"| {name} | {row['bytes'] / base:.2f} | {100 * row['agreement']:.1f} % | {row['rms']:.4f} | "
                f"{row.get('clean', '')} | {row.get('replay', '')} | {robust} | {retention} | "
                f"{row.get('float_layers', '')} | {made} |"
            )
        if not result["latency_ms"]:
            continue
        print("\n| runtime and graph | " + " | ".join(f"batch {b}, ms" for b in BATCHES) + " | faster than fp32 |")
        print("| --- " * (len(BATCHES) + 2) + "|")
        first = result["latency_ms"]["onnx fp32"]
        for name, row in result["latency_ms"].items():
            ratios = ", ".join(f"{first[str(b)] / row[str(b)]:.2f}" for b in BATCHES)
            values = " | ".join(f"{row[str(b)]:.3f}" for b in BATCHES)
            print(f"| {name} | {values} | {ratios} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], help="these students and networks alone")
    parser.add_argument("--runs", nargs="+", type=Path, default=[], help="runs of `edgerkd distill`, as well")
    parser.add_argument("-n", type=int, default=500, help="test images that are attacked")
    parser.add_argument("--no-attack", action="store_true", help="latency, size and agreement alone")
    parser.add_argument("--work", type=Path, default=Path("build/study"), help="where the study keeps its students")
    parser.add_argument("--out", type=Path, default=Path("docs/measured/precision.json"))
    parser.add_argument("--table", type=Path, help="print the table of this file, and measure nothing")
    args = parser.parse_args()
    if args.table:
        table(args.table)
        return
    warnings.simplefilter("ignore")  # of quantisers and exporters
    facts = machine_facts(("torch", "onnxruntime", "openvino"))
    attack = not args.no_attack
    own = (student_of(folder, args.n, attack=attack) for folder in args.runs)
    for subject in (*own, *students(args.work, args.n, args.only, attack=attack), *large(args.only)):
        print(subject.name, flush=True)
        row = measured(subject)
        kept = json.loads(args.out.read_text())["results"] if args.out.exists() else []
        others = [other for other in kept if other["name"] != subject.name]
        content = {"machine": facts, "n": args.n, "results": [*others, row]}
        write_atomic(args.out, json.dumps(content, indent=1) + "\n")
    table(args.out)


if __name__ == "__main__":
    main()
