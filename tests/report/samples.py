"""A made-up run. Every number is invented here, and no two that a page shows are equal."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgerkd.bundle.kept import Kept
from edgerkd.core.accuracy import Accuracy, wilson_interval
from edgerkd.core.architecture import Architecture, Cost
from edgerkd.core.by_class import ByClass, ClassAccuracy
from edgerkd.core.comparison import mcnemar_exact
from edgerkd.core.conditions import Conditions, Energy, Timing
from edgerkd.core.curve import CurvePoint, CurveReport, EpsCurve
from edgerkd.core.data_request import Augmentation, DataFacts, DataRequest, Preprocessing
from edgerkd.core.engine import BuildLog, DeviceRecord, Engine
from edgerkd.core.epoch import Epoch
from edgerkd.core.evaluation import Evaluation, Row
from edgerkd.core.flag import Flag
from edgerkd.core.gradient_check import GradientCheck
from edgerkd.core.judged import Judged
from edgerkd.core.judged_samples import JudgedSamples
from edgerkd.core.kept import Histogram, KeptFile, RadiusPoint
from edgerkd.core.manifest import MANIFEST, FileEntry, Manifest
from edgerkd.core.method import MethodFacts
from edgerkd.core.model_spec import ModelSpec
from edgerkd.core.origin import origins_of
from edgerkd.core.plain import ClassAnswers, ModelComparison, PlainAnswer
from edgerkd.core.profile import Budget, Device, Gates, Profile
from edgerkd.core.recipe import Recipe
from edgerkd.core.requirement import ReferenceResult, Requirement
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.threat import ThreatModel
from edgerkd.core.trust import Trust
from edgerkd.core.units import Radius
from edgerkd.core.variance_gap import GAPS, Correlations, EpochGap, GapPoint, Gaps, NetworkGaps, VarianceGapReport
from edgerkd.core.variant import PARITY, Variant
from edgerkd.core.verification import Gate, Latency, Limit, Parity, Skipped, Target, Verdict, VerifyReport
from edgerkd.files.decode import encode_json
from edgerkd.report.load import Facts

THREAT = ThreatModel(norm="Linf", eps=Radius("9/255"))


def accuracy(hits: int, n: int) -> Accuracy:
    low, high = wilson_interval(hits, n)
    return Accuracy(value=hits / n, n=n, low=low, high=high)


def architecture(widths: tuple[int, ...]) -> Architecture:
    return Architecture(
        family="resnet",
        widths=widths,
        blocks=(1,) * len(widths),
        channels=1,
        height=8,
        width=8,
        classes=10,
        mean=(0.3125,),
        std=(0.375,),
    )


BY_CLASS = ByClass(
    classes=(
        ClassAccuracy(name="zero", clean_acc=accuracy(61, 67), robust_acc=accuracy(41, 67)),
        ClassAccuracy(name="one", clean_acc=accuracy(70, 73), robust_acc=accuracy(23, 73)),
    ),
    missing=("two",),
    worst="one",
)


def evaluation(name: str, cost: Cost, clean: int, robust: tuple[int, int, int], *, n: int = 797) -> Evaluation:
    """`robust` counts the images that withstand the first attack, the second, and both."""
    return Evaluation(
        name=name,
        architecture=architecture((4, 8)),
        cost=cost,
        split="test",
        n=n,
        of=n,
        clean_acc=accuracy(clean, n),
        robust_acc=accuracy(robust[2], n),
        by_class=BY_CLASS,
        rows=(
            Row(attack="PGD-21 CE", source="direct", robust_acc=accuracy(robust[0], n)),
            Row(attack="PGD-21 margin", source="direct", robust_acc=accuracy(robust[1], n)),
        ),
        flags=(),
        threat_model=THREAT,
        seed=11,
    )


STUDENT_COST = Cost(params=19_234, macs=1_730_512, file_bytes=76_936, peak_bytes=102_408)
TEACHER_COST = Cost(params=312_778, macs=18_905_600, file_bytes=1_251_112, peak_bytes=1_404_712)

PROFILE = Profile(
    name="toy-board",
    title="Toy Board 3000",
    backends=("trt", "onnx"),
    device=Device(soc="T0, Amperish", power_mode="13W", sms=7, fp32_tflops=1.37),
    budget=Budget(params=120_000, macs=6_000_000, latency_ms=2.5, file="1 MiB"),
    gates=Gates(clean_acc_of_teacher=0.9, robust_acc_of_teacher=0.8, retention=0.95),
    sources={"device.sms": "a datasheet that does not exist", "budget": "ours: chosen for the test"},
)

DATA = DataFacts(
    name="digits",
    sha256="d1" * 32,
    classes=tuple("0123456789"),
    train=1201,
    val=201,
    test=797,
    per_class=(120,) * 9 + (121,),
    preprocessing=Preprocessing(size=None, fit="crop", alpha="refuse", channels=1),
    augmentation=Augmentation(crop=1, flip=False),
)

RECORD = RunRecord(
    request=DataRequest(source="digits"),
    data=DATA,
    teacher="digits-teacher",
    teacher_sha256="7e" * 32,
    profile=PROFILE,
    recipe=Recipe(method="toy", threat_model=THREAT, epochs=12, seed=11, options={"weight_toy": 0.625}),
    method=MethodFacts(name="toy", description="what a toy does", sources=("Toy et al. 1901, eq. 7", "ours")),
    architecture=architecture((4, 8)),
    cost=STUDENT_COST,
    versions={"python": "3.11.2", "edgerkd": "0.0.7", "torch": "2.98.1"},
)


def epochs(count: int = 12) -> tuple[Epoch, ...]:
    """Two phases with terms of their own, as method edgerkd has them."""
    found: list[Epoch] = []
    for k in range(1, count + 1):
        early = {"mix": 2.3 / k, "kld": 1.1 / k, "acm": 0.51 / k}
        late = {"kld": 0.31 / k, "kld_adv": 1.7 / k, "cov": 0.07 / k, "cov_adv": 0.09 / k}
        found.append(
            Epoch(
                epoch=k,
                terms=early if k <= 5 else late,
                val_clean_acc=1 - 0.83 / k,
                val_robust_acc=0.81 - 0.79 / k,
                lr=0.2 * (13 - k) / 13,
                seconds=3.125 + k / 100,
                images_per_second=4321.0 + k,
            )
        )
    return tuple(found)


REQUIREMENT = Requirement(min_clean_acc=0.8831, min_robust_acc=0.7711, min_retention=0.95, budget=PROFILE.budget)

REFERENCE = ReferenceResult(
    clean_acc=accuracy(487, 503),
    robust_acc=accuracy(453, 503),
    attacks=("PGD-21 CE", "PGD-21 margin"),
    teacher_clean_acc=accuracy(494, 503),
    teacher_robust_acc=accuracy(485, 503),
)


TARGET = Target(profile="toy-board", title="Toy Board 3000", backend="trt", reached=False)


GRADIENTS = GradientCheck(
    points=61,
    agreeing=58,
    disagreeing=1,
    flat=2,
    allowed=4,
    correlation=0.9137,
    low=0.8911,
    high=0.9363,
    required=0.6,
    ok=True,
)


SAMPLES = JudgedSamples(
    source="bundle", data="digits", n=503, of=505, repeated=2, stored=0, seed=None, sha256="5a" * 32
)

PLAIN = PlainAnswer(
    engine_acc=accuracy(486, 503),
    classes=(
        ClassAnswers(name="zero", engine_acc=accuracy(61, 67), model_acc=accuracy(62, 67)),
        ClassAnswers(name="one", engine_acc=accuracy(70, 73), model_acc=accuracy(71, 73)),
    ),
    model=ModelComparison(
        model_acc=accuracy(487, 503), engine_alone=3, model_alone=11, same_answer=0.9821, chance=mcnemar_exact(3, 11)
    ),
    causes=(),
    layer=None,
)

TIMING = Timing(
    warmup=43,
    settled=True,
    before=Conditions(governors=("schedutil",), clocks_hz={"cpu": 2_910_000_000}, celsius={"toy_thermal": 47.5}),
    after=Conditions(governors=("schedutil",), clocks_hz={"cpu": 2_930_000_000}, celsius={"toy_thermal": 48.5}),
    energy=Energy(source="Toy meter", millijoules=0.7183, runs=1_433, seconds=1.0625),
)

ORIGINS = origins_of(
    {
        **dict.fromkeys(("clean_acc", "robust_acc"), "teacher"),
        **dict.fromkeys(("retention", "params", "macs", "file_bytes", "latency_ms"), "profile"),
    },
    samples_brought=False,
    eps_brought=False,
    profile_brought=False,
    seed_brought=False,
)


def judged(clean: int, robust: int, n: int, of: int) -> Judged:
    """So many images of each fate; the host resists on one more."""
    fates = "+" * robust + "b" * (clean - robust) + "-" * (n - clean)
    host = "+" * (robust + 1) + "-" * (n - robust - 1)
    looks = range(0, n, 50)
    return Judged(
        of=of,
        images=tuple(range(n)),
        fates=tuple(fates[k : k + 50] for k in looks),
        host=tuple(host[k : k + 50] for k in looks),
    )


def verification(verdict: Verdict = "pass") -> VerifyReport:
    """What verify would have found; its gates fit the verdict."""
    robust_hits = {"pass": 451, "fail": 214, "inconclusive": 389, "measured": 451}[verdict]
    robust = accuracy(robust_hits, 503)
    asked = "pass" if verdict == "measured" else verdict
    gates = (
        Gate(gate="clean_acc", required=0.8831, measured=0.9662, low=0.9466, high=0.9788, verdict="pass"),
        Gate(
            gate="robust_acc", required=0.7711, measured=robust.value, low=robust.low, high=robust.high, verdict=asked
        ),
        Gate(gate="retention", required=0.95, measured=0.9953, low=0.9884, high=1.0021, verdict="pass"),
    )
    budget = (
        Limit(limit="params", required=120_000.0, measured=19_234.0, ok=True),
        Limit(limit="macs", required=6_000_000.0, measured=1_730_512.0, ok=True),
        Limit(limit="file_bytes", required=1_048_576.0, measured=81_307.0, ok=True),
        Limit(limit="latency_ms", required=2.5, measured=None, ok=None),
    )
    return VerifyReport(
        verdict=verdict,
        bundle="toy-run",
        manifest_sha256="ab" * 32,
        threat_model=THREAT,
        requirement=Requirement() if verdict == "measured" else REQUIREMENT,
        reference=REFERENCE,
        target=TARGET,
        engine=Engine(
            backend="onnx",
            version="1.77.2",
            device=DeviceRecord(kind="cpu", name="Toy CPU @ 1 GHz", machine="toy64"),
            variant="fp32",
            precision="fp32",
            sha256="0f1e2d3c4b5a" + "9" * 52,
        ),
        build=BuildLog(),
        skipped=(Skipped(backend="trt", problem="libnvinfer.so was not found"),),
        samples=SAMPLES,
        plain=PLAIN,
        parity=Parity(n=1006, max_abs_dlogit=3.43e-6, limit=0.00171, agreement=1.0, ok=True),
        twin_agreement=0.9992,
        gradients=GRADIENTS,
        flags=(),
        notices=(),
        clean_acc=accuracy(486, 503),
        robust_acc=robust,
        judged=judged(486, round(robust.value * 503), 503, 617),
        by_class=BY_CLASS,
        rows=(
            Row(attack="replay", source="replay", robust_acc=accuracy(463, 503)),
            Row(attack="PGD-21 CE", source="direct", robust_acc=accuracy(457, 503)),
            Row(attack="PGD-21 margin", source="direct", robust_acc=accuracy(452, 503)),
        ),
        retention=0.9953,
        gates=() if verdict == "measured" else gates,
        latency_ms=Latency(
            p50=0.0423,
            p95=0.0517,
            p99=0.0931,
            batch=1,
            runs=222,
            histogram=Histogram(low=0.0401, high=0.0633, counts=(103, 71, 29, 8), above=11),
        ),
        timing=TIMING,
        budget=() if verdict == "measured" else budget,
        origins=ORIGINS,
        seed=13,
        probe_seed=8_191,
        trust=Trust(grounds=("signature",), signature="valid", key="fa" * 32),
        curve=tuple(
            RadiusPoint(eps=Radius(eps), robust_acc=accuracy(hits, 503))
            for eps, hits in (("0/255", 486), ("3/255", 479), ("6/255", 467), ("9/255", robust_hits))
        ),
        kept=KeptFile(file="verify.images.npz", size=12_345, sha256="fe" * 32),
    )


def curve() -> CurveReport:
    """Student and teacher at two radii and without attack."""
    hits = {"student": (561, 437, 313), "teacher": (571, 521, 449)}
    return CurveReport(
        run="toy-run",
        split="test",
        n=587,
        of=9001,
        norm="Linf",
        attacks=("PGD-23 CE",),
        seed=17,
        curves=tuple(
            EpsCurve(
                name=name,
                architecture=architecture((4, 8)),
                points=tuple(
                    CurvePoint(eps=Radius(f"{7 * k}/255"), robust_acc=accuracy(right, 587), by_class=BY_CLASS)
                    for k, right in enumerate(each)
                ),
            )
            for name, each in hits.items()
        ),
        flags=(Flag(id="over-reports", facts={"name": "pgd-23"}),),
    )


def variance_gap() -> VarianceGapReport:
    """Three networks at two radii and without attack, and two epochs of the student's training."""
    names = ("student", "teacher", "neighbour")
    return VarianceGapReport(
        run="toy-run",
        split="test",
        n=563,
        of=563,
        threat_model=THREAT,
        attack="PGD-27 CE, to its last step",
        seed=19,
        networks=tuple(_network_gaps(name, 541 - 37 * k, 0.0137 * (k + 1)) for k, name in enumerate(names)),
        networks_r=_correlations(-0.2171, None, -0.1871),
        epochs=tuple(EpochGap(epoch=101 + k, robust_acc=0.57 + k / 7, within_share=-0.41 + k / 9) for k in range(2)),
        epochs_r=-0.1373,
        flags=("student: off the trend",),
    )


def _network_gaps(name: str, right: int, step: float) -> NetworkGaps:
    return NetworkGaps(
        name=name,
        architecture=architecture((4, 8)),
        variance=14.5,
        within_share=0.3017,
        points=tuple(
            GapPoint(
                eps=Radius(f"{9 * k}/255"),
                robust_acc=accuracy(right - 119 * k, 563),
                gaps=Gaps(
                    covariance=0.1729 + k * step,
                    gram=0.2243 + k * step,
                    within_class=0.0311 + k * step,
                    within_share=0.0517 + k * step,
                    between_class=-0.0719 - k * step,
                    total=-0.0408 - k * step,
                ),
            )
            for k in range(3)
        ),
        r=_correlations(0.8713 - 5 * step, -0.9719, None),
    )


def _correlations(first: float, radius: float | None, clean_acc: float | None) -> Correlations:
    """Each unlike the others."""
    return Correlations(radius=radius, clean_acc=clean_acc, **{name: first - 0.07 * k for k, name in enumerate(GAPS)})


def facts(verdict: Verdict | None = "pass") -> Facts:
    """A finished run; None leaves it unverified."""
    return Facts(
        run="toy-run",
        record=RECORD,
        epochs=epochs(),
        student=evaluation("student", STUDENT_COST, 771, (722, 716, 713)),
        teacher=evaluation("teacher", TEACHER_COST, 783, (769, 766, 765)),
        baseline=evaluation("baseline", replace(STUDENT_COST, params=19_235), 788, (64, 41, 39)),
        curve=curve(),
        variance_gap=variance_gap(),
        manifest_sha256="ab" * 32,
        verification=verification(verdict) if verdict else None,
    )


def manifest(**changes) -> Manifest:
    """The index of a bundle."""
    variant = Variant(
        name="fp32",
        precision="fp32",
        backend=None,
        graph="fp32.onnx",
        twin="fp32.twin.onnx",
        reference="fp32.reference.npz",
        parity=PARITY["fp32"],
    )
    return Manifest(
        **{
            "name": "toy",
            "dataset": DATA.name,
            "model": ModelSpec(image_shape=(1, 8, 8), classes=("zero", "one"), architecture=None, cost=STUDENT_COST),
            "preprocessing": DATA.preprocessing,
            "threat_model": THREAT,
            "format": "onnx",
            "variants": (variant,),
            "profiles": (),
            "requirement": None,
            "reference": None,
            "versions": {"edgerkd": "0.0.9"},
            "files": {"fp32.onnx": FileEntry(size=76_543, sha256="ed" * 32)},
            **changes,
        }
    )


def write_manifest(folder: Path, **changes) -> None:
    """The same as a file, in a bundle whose other files are not there."""
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(encode_json(manifest(**changes)))


VERIFICATION_KEY = "bundle-" + "ab" * 6
"""Of the bundle that `verification` is about."""


def written(facts: Facts, folder: Path) -> RunFolder:
    """The facts as the files of a run in `folder`; the bundle is left out."""
    run = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run.recipe.write_text(encode_json(facts.record))
    if facts.epochs:
        run.metrics.write_text("".join(json.dumps(json.loads(encode_json(epoch))) + "\n" for epoch in facts.epochs))
    for path, value in (
        (run.evaluation, facts.student),
        (run.teacher, facts.teacher),
        (run.baseline, facts.baseline),
        (run.curve, facts.curve),
        (run.variance_gap, facts.variance_gap),
        (run.verification(VERIFICATION_KEY), facts.verification),
    ):
        if value is not None:
            path.write_text(encode_json(value))
    return run


def kept(n: int = 503, *, side: int = 8, channels: int = 1) -> Kept:
    """What `verify` would have kept of `n` images, two of them with their pixels: one fooled, one held."""
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (2, channels, side, side), np.uint8)
    moved = np.divide(images, 255, dtype=np.float32) + np.float32(9 / 255)
    robust = np.arange(n) % 5 != 3
    return Kept(
        ids=np.arange(n, dtype=np.uint64),
        clean=robust | (np.arange(n) % 2 == 0),
        robust=robust,
        distances=np.where(robust, np.inf, 0.02).astype(np.float32),
        rows=np.array([3, 5]),
        images=images,
        images_adv=np.clip(moved, 0, 1),
        labels=np.array([4, 7]),
        answers=np.array([4, 7]),
        answers_adv=np.array([6, 7]),
        shares=np.array([0.8125, 0.9375], np.float32),
        shares_adv=np.array([0.6875, 0.5625], np.float32),
    )
