"""The verdict, by rule and on a real engine."""

import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from edgerkd.attacks.suite import DEFAULT, attacks_named
from edgerkd.attacks.words import flag_words
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import read_bundle
from edgerkd.bundle.samples import StoredSamples
from edgerkd.bundle.write import MadeVariant, make_variant, write_bundle
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.engine import BuildLog, DeviceRecord, Engine
from edgerkd.core.errors import (
    ArtefactError,
    ConfigError,
    EngineError,
    MissingDependencyError,
    MissingGatesError,
    UnknownNameError,
)
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag
from edgerkd.core.gradient_check import judge_gradients
from edgerkd.core.judged import Judged
from edgerkd.core.precision import Precision
from edgerkd.core.profile import Budget, Gates
from edgerkd.core.progress import Silent
from edgerkd.core.requirement import (
    ReferenceResult,
    Requirement,
    check_asked,
    choose_profile,
    combined,
    required_by,
)
from edgerkd.core.run import RunFolder
from edgerkd.core.units import Radius
from edgerkd.core.variant import PARITY
from edgerkd.core.verification import Limit, Parity, VerifyReport
from edgerkd.files.atomic import sha256_of, write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.paths import read_file
from edgerkd.files.profiles import load_profile
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.cost import count_cost
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.report.words import notes, reasons
from edgerkd.verify import build as build_module
from edgerkd.verify import evidence
from edgerkd.verify.build import RECORD, BuiltEngine, build_engine, choose_backend, open_engines
from edgerkd.verify.classifier import EngineClassifier
from edgerkd.verify.distinct import distinct
from edgerkd.verify.graph import reference_of_graph
from edgerkd.verify.isolated import EngineProcess
from edgerkd.verify.own import Brought
from edgerkd.verify.parity import parity_of
from edgerkd.verify.run import verify
from edgerkd.verify.target import target_of
from edgerkd.verify.verdict import decide, gates_of, judge, settled
from tests import odd_backend
from tests.believed import pgd_believed
from tests.bundles import GRAPH, TWIN, write_small_bundle
from tests.zoo import THREAT, network

DIRECT = Row(attack="PGD", source="direct", robust_acc=accuracy_from_correct([True]))
REPLAY = Row(attack="replay", source="replay", robust_acc=accuracy_from_correct([True]))
SAME = Parity(n=1, max_abs_dlogit=0.0, limit=1e-4, agreement=1.0, ok=True)
OTHER = replace(SAME, max_abs_dlogit=1.0, ok=False)
TRUE = judge_gradients(steepest=[1.0] * 64, random=[1.0] * 64, flat=[False] * 64, precision="fp32")


def gate(low: float, high: float, required: float = 0.5):
    return judge("robust_acc", required=required, measured=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.5, 0.6, "pass"), (0.4, 0.49, "fail"), (0.4, 0.5, "inconclusive"), (0.4, 0.6, "inconclusive")],
)
def test_a_gate_asks_the_whole_interval(low, high, verdict):
    """Catches a gate judged by the point alone."""
    assert gate(low, high).verdict == verdict


BLIND = Flag(id="zero-gradients", facts={"zero": 3, "n": 9})
BENT = replace(TRUE, disagreeing=9, agreeing=55, ok=False)


@pytest.mark.parametrize(
    ("gates", "budget_ok", "rows", "agreement", "flags", "verdict", "parity", "gradients"),
    [
        ([gate(0.6, 0.7)], True, [DIRECT], 1.0, (), "pass", SAME, TRUE),
        ([gate(0.6, 0.7)], None, [DIRECT], 1.0, (), "pass", SAME, TRUE),
        ([gate(0.6, 0.7)], True, [DIRECT], 1.0, (), "fail", OTHER, TRUE),
        ([gate(0.6, 0.7)], False, [DIRECT], 1.0, (), "fail", SAME, TRUE),
        ([gate(0.6, 0.7)], True, [REPLAY], 1.0, (), "inconclusive", SAME, TRUE),
        ([gate(0.6, 0.7)], True, [DIRECT], 0.99, (), "inconclusive", SAME, TRUE),
        ([gate(0.4, 0.6)], True, [DIRECT], 1.0, (), "inconclusive", SAME, TRUE),
        ([gate(0.6, 0.7)], True, [DIRECT], 1.0, (BLIND,), "inconclusive", SAME, TRUE),
        ([gate(0.1, 0.2)], True, [DIRECT], 1.0, (BLIND,), "fail", SAME, TRUE),
        ([gate(0.4, 0.6), gate(0.1, 0.2)], True, [REPLAY], 0.9, (), "fail", SAME, TRUE),
        ([gate(0.6, 0.7)], True, [DIRECT], 1.0, (), "inconclusive", SAME, BENT),
        ([gate(0.1, 0.2)], True, [DIRECT], 1.0, (), "fail", SAME, BENT),
    ],
)
def test_the_verdict(gates, budget_ok, rows, agreement, flags, verdict, parity, gradients, verified):
    """Catches a pass from stored examples alone, of another network, a fail hidden by an open question, a budget
    ignored, and a verdict that the words do not give a reason for.
    """
    budget = [Limit(limit="params", required=10, measured=20 if budget_ok is False else 5, ok=budget_ok)]
    facts = {"gates": gates, "budget": budget, "rows": rows, "twin_agreement": agreement, "flags": flags}
    facts["gradients"] = gradients
    found = decide(parity=parity, **facts)
    assert found == verdict
    said = reasons(replace(verified, parity=parity, **facts))
    assert bool(said) == (verdict != "pass")


def test_an_infinite_host_logit_is_no_parity():
    """Catches inf <= inf, by which any engine would be the student."""
    host = np.asarray([[np.inf, 0.0]], np.float32)
    assert not parity_of(np.asarray([[1.0, 5.0]], np.float32), host, limits=PARITY["fp32"]).ok


@pytest.mark.parametrize("attack", ["fgsm", "pgd-20-ce", "pgd"])
def test_an_attack_that_over_reports_never_passes(attack, bundle, tmp_path):
    """Catches a pass on one step of FGSM, or on PGD beside a note that it over-reports."""
    given = {"requirement": Requirement(min_clean_acc=0.0, min_robust_acc=0.0), "attack": attack}
    found = verify(read_bundle(bundle), engines=tmp_path / "engines", **given, progress=Silent())
    assert any(f"{attack} alone over-reports" in flag_words(flag) for flag in found.flags)
    assert found.verdict == "inconclusive"


@pytest.mark.slow
def test_the_seed_of_the_attacks_is_drawn_anew_unless_it_is_given(bundle, tmp_path):
    """Catches random starts that a maker can foresee, and rehearse until the kept images are the lucky ones."""
    first, second = (run(bundle, tmp_path, seed=None, attack="fgsm") for _ in range(2))
    assert first.seed != second.seed
    assert first.origins.fields["seed"] == "measured"
    assert run(bundle, tmp_path, seed=first.seed, attack="fgsm").origins.fields["seed"] == "brought"


def forged(built: BuiltEngine, content: bytes) -> None:
    """Another engine in the place of a built one, with a record that agrees with it."""
    built.engine.write_bytes(content)
    path = built.engine.with_name("engine.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "engine_sha256": sha256_of(built.engine)}))


def test_an_engine_that_no_longer_loads_is_built_anew(bundle, tmp_path):
    """Catches an engine of another version of its backend that is kept for ever: its digest is still right."""
    forged(built_onnx(bundle, tmp_path / "engines"), b"of another version")
    assert run(bundle, tmp_path).parity.ok


def on(
    kind: str, name: str, *, machine: str | None = None, capability: str | None = None, sms: int | None = None
) -> DeviceRecord:
    return DeviceRecord(kind=kind, name=name, machine=machine, capability=capability, multiprocessors=sms)


ORIN = on("gpu", "Orin", capability="8.7")
X86 = on("cpu", "AMD EPYC 9V74", machine="x86_64")


@pytest.mark.parametrize(
    ("profile", "backend", "device", "reached"),
    [
        ("jetson-orin", "trt", ORIN, True),
        ("jetson-orin", "trt", replace(ORIN, multiprocessors=16), True),
        ("jetson-orin", "trt", replace(ORIN, multiprocessors=4), False),
        ("rtx-4060", "trt", on("gpu", "NVIDIA GeForce RTX 4060", capability="8.9", sms=24), True),
        ("rtx-4060", "trt", on("gpu", "NVIDIA GeForce RTX 4090", capability="8.9", sms=128), False),
        ("jetson-orin", "trt", on("gpu", "NVIDIA H200", capability="9.0"), False),
        ("jetson-orin", "onnx", ORIN, False),
        ("jetson-orin", "onnx", X86, False),
        ("x86-cpu", "onnx", X86, True),
        ("x86-cpu", "onnx", on("cpu", "aarch64", machine="aarch64"), False),
        ("raspberry-pi-5", "onnx", X86, False),
    ],
)
def test_a_target_is_reached_by_its_own_backend_on_a_device_like_it(profile, backend, device, reached):
    """Catches a limit of a Jetson that is met on a server, a larger GPU of the same generation taken for the profile's,
    and a verdict said to be about a device never seen.
    """
    engine = Engine(backend=backend, version="1", device=device, variant="fp32", precision="fp32", sha256="0" * 64)
    found = target_of(load_profile(profile), engine)
    assert found is not None
    assert (found.profile, found.backend) == (profile, load_profile(profile).backends[0])
    assert found.reached == reached
    assert target_of(None, engine) is None


def test_parity_counts_only_clear_answers_and_absolute_differences():
    """Catches a relative error, which explodes where logits pass zero, and a flip at a tie taken for a fault."""
    host = np.asarray([[5.0, 0.0, 1e-9], [1.0, 1.0 + 1e-6, 0.0]], np.float32)
    near = host + np.asarray([[0, 0, 1e-5], [2e-6, 0, 0]], np.float32)
    assert parity_of(near, host, limits=PARITY["fp32"]).ok
    far = host + np.asarray([[0, 0, 1e-2], [0, 0, 0]], np.float32)
    assert not parity_of(far, host, limits=PARITY["fp32"]).ok


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "bundle"
    write_small_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def verified(bundle, tmp_path_factory) -> VerifyReport:
    return run(bundle, tmp_path_factory.mktemp("verified"))


def run(bundle: Path, tmp_path: Path, **changes) -> VerifyReport:
    """By the attack that the host made, and a quick one: few tests are about the attack."""
    given = {"engines": tmp_path / "engines", "attack": "pgd", "seed": 0, **changes}
    with pgd_believed():
        return verify(read_bundle(bundle), **given, progress=Silent())


def built_onnx(bundle: Path, folder: Path, **changes) -> BuiltEngine:
    found = read_bundle(bundle)
    return build_engine(
        found, found.manifest.variant_for("onnx", "unsigned"), choose_backend("onnx", ())[0], folder, **changes
    )


def test_the_engine_is_attacked_and_every_class_is_reported(bundle, verified, tmp_path):
    """Catches rows that are not measured on the engine: they must agree with the host's on the same images."""
    report = verified
    (tmp_path / "verify.json").write_text(encode_json(report))
    assert decode_json(VerifyReport, tmp_path / "verify.json") == report
    assert [each.name for each in report.by_class.classes] == ["bar 0", "bar 1", "bar 2"]
    assert sum(each.clean_acc.n for each in report.by_class.classes) == report.clean_acc.n
    assert [row.source for row in report.rows] == ["noise", "replay", "direct", "direct"]
    host = read_bundle(bundle).manifest.reference
    assert report.reference == host
    assert host is not None
    assert (report.clean_acc.value, report.clean_acc.n) == (host.clean_acc.value, host.clean_acc.n)
    assert report.clean_acc.low < host.clean_acc.low
    assert abs(report.robust_acc.value - host.robust_acc.value) <= 1 / report.robust_acc.n
    assert report.robust_acc.value <= min(row.robust_acc.value for row in report.rows)
    assert report.parity.ok
    assert report.parity.n == 2 * report.clean_acc.n
    assert report.twin_agreement == 1.0
    assert report.latency_ms.p99 >= report.latency_ms.p95 >= report.latency_ms.p50 > 0
    assert (report.engine.backend, report.engine.variant, report.engine.device.kind) == ("onnx", "fp32", "cpu")
    assert report.engine.sha256 == sha256_of(bundle / GRAPH)
    assert report.build == BuildLog()
    assert [gate.gate for gate in report.gates] == ["clean_acc", "robust_acc", "retention"]


def test_another_seed_draws_other_starts(bundle, tmp_path):
    """Catches a seed that goes nowhere: the report must say which one it used."""
    assert run(bundle, tmp_path, seed=5).seed == 5


@pytest.mark.slow
def test_an_engine_that_is_not_the_model_fails_parity_with_its_report(bundle, tmp_path):
    """Catches a verdict about another network than the one the host measured, and figures of it as if it were."""
    other = onnx_from_network(network(seed=9, classes=3))
    folder, _ = remade(bundle, tmp_path / "other", engine=(".onnx", other))
    for measure in (False, True):
        report = run(folder, tmp_path, measure=measure)
        assert report.verdict == "fail"
        assert "logits differ" in reasons(report)[0]
        assert not report.parity.ok


def test_a_changed_engine_is_built_again(bundle, tmp_path):
    """Catches an engine file trusted for its name."""
    built = built_onnx(bundle, tmp_path)
    built.engine.write_bytes(b"something else")
    again = built_onnx(bundle, tmp_path)
    assert again.engine == built.engine
    assert again.engine.read_bytes() == (bundle / GRAPH).read_bytes()


def test_an_earlier_build_is_kept_unless_another_is_asked_for(bundle, tmp_path):
    """Catches minutes of building at every verification, and `edgerkd build` that builds nothing."""
    built = built_onnx(bundle, tmp_path)
    before = built.engine.stat().st_ino
    assert built_onnx(bundle, tmp_path).engine.stat().st_ino == before
    assert built_onnx(bundle, tmp_path, again=True).engine.stat().st_ino != before


def test_what_is_loaded_is_what_was_recorded_whatever_happens_to_the_kept_file(bundle, tmp_path, monkeypatch):
    """Catches a report on one engine under the digest of another, put there between a look at it and its loading."""
    backend, found, kept = load_backend("onnx"), read_bundle(bundle), tmp_path / "engines"
    usual, opened = EngineProcess.open, []

    def opens(self, which, path, **given):
        for file in kept.rglob("*.onnx"):
            write_atomic(file, b"something else")
        opened.append((sha256_of(path), path.is_relative_to(kept)))
        return usual(self, which, path, **given)

    monkeypatch.setattr(EngineProcess, "open", opens)
    with ExitStack() as stack:
        built = open_engines(found, found.manifest.variants[0], backend, kept, stack).built
        assert sha256_of(built.engine) == built.record.engine_sha256 == found.manifest.files[GRAPH].sha256
    files = found.manifest.files
    assert {digest for digest, _ in opened} == {files[GRAPH].sha256, files[TWIN].sha256}
    assert not any(there for _, there in opened)


def test_an_engine_that_was_replaced_after_a_look_at_its_digest_is_built_anew(bundle, tmp_path, monkeypatch):
    """Catches a digest that is held against a file, and another file that is loaded."""
    backend, found, kept = load_backend("onnx"), read_bundle(bundle), tmp_path / "engines"
    usual, copied = shutil.copyfile, []

    def copies(source, target):
        copied.append(source)
        if len(copied) == 1:
            write_atomic(source, (bundle / TWIN).read_bytes())
        return usual(source, target)

    monkeypatch.setattr(build_module.shutil, "copyfile", copies)
    with ExitStack() as stack:
        built = open_engines(found, found.manifest.variants[0], backend, kept, stack).built
        assert sha256_of(built.engine) == found.manifest.files[GRAPH].sha256
    assert len(copied) == 3, "the engine alone, then both once they were built anew"


def test_nothing_lies_beside_an_engine_when_it_is_loaded(bundle, tmp_path, monkeypatch):
    """Catches a runtime that takes weights, or kernels, from a file that nobody has a digest of."""
    backend, found, kept = load_backend("onnx"), read_bundle(bundle), tmp_path / "engines"
    built_onnx(bundle, kept).engine.with_name("weights.bin").write_bytes(b"somebody else's")
    usual, seen = EngineProcess.open, set()

    def opens(self, which, path, **given):
        seen.update(each.name for each in path.parent.iterdir())
        return usual(self, which, path, **given)

    monkeypatch.setattr(EngineProcess, "open", opens)
    with ExitStack() as stack:
        open_engines(found, found.manifest.variants[0], backend, kept, stack)
    assert seen == {"engine.onnx", "twin.onnx"}


def test_of_two_who_build_at_once_one_builds(bundle, tmp_path, monkeypatch):
    """Catches an engine of one process under the record of another: each build differs, on a GPU."""
    backend, built = load_backend("onnx"), []
    usual, barrier = type(backend).build, Barrier(2)

    def builds(self, graph, engine, *, max_batch):
        built.append(engine.name)
        return usual(self, graph, engine, max_batch=max_batch)

    def work(_):
        found = read_bundle(bundle)
        barrier.wait()
        return build_engine(found, found.manifest.variants[0], backend, tmp_path / "engines").record

    monkeypatch.setattr(type(backend), "build", builds)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, range(2))
    assert first == second
    assert sorted(built) == ["engine.onnx", "twin.onnx"]


def test_two_bundles_side_by_side_never_share_a_file(bundle, tmp_path):
    """Catches engines or reports filed under the folder's name alone, or under the digest alone."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        write_small_bundle(folder)
    built = [built_onnx(folder, tmp_path / "engines") for folder in (first, second)]
    assert len({each.engine.parent for each in built}) == 2
    assert all(each.engine.is_file() and each.twin.is_file() for each in built), "the second build removed the first"
    keys = [read_bundle(folder).key for folder in (first, second)]
    assert len({RunFolder(tmp_path).verification(key) for key in keys}) == 2
    assert built[0].engine.relative_to(tmp_path / "engines").parts == (keys[0], "onnx", "fp32", "engine.onnx")


def test_the_engines_of_a_bundle_go_when_it_is_replaced_and_no_other_ones(tmp_path):
    """Catches engines that pile up for ever, and another bundle's removed: one whose name only begins alike, too."""
    engines, names = tmp_path / "engines", ("bundle", "bundle-0123456789ab", "bundles")
    for name in names:
        write_small_bundle(tmp_path / name)
        built_onnx(tmp_path / name, engines)
    (engines / "bundle-notes").mkdir()
    before = {path.name for path in engines.iterdir()}
    old = read_bundle(tmp_path / "bundle").key
    write_small_bundle(tmp_path / "bundle", name="made anew")
    new = read_bundle(tmp_path / "bundle").key
    assert new != old
    built_onnx(tmp_path / "bundle", engines)
    assert {path.name for path in engines.iterdir()} == before - {old} | {new}


def test_an_engine_that_the_bundle_brings_is_taken_as_it_is(bundle, tmp_path):
    """Catches an engine of the customer's own that is quietly replaced by one built here."""
    folder, content = remade(bundle, tmp_path / "brings", engine=(".onnx", (bundle / GRAPH).read_bytes()))
    before = content.read_bytes()
    built = built_onnx(folder, tmp_path / "engines")
    assert built.engine == content
    assert built.record.engine_sha256 == sha256_of(content)
    assert [path.name for path in built.twin.parent.iterdir() if path.suffix == ".onnx"] == ["twin.onnx"]
    report = run(folder, tmp_path)
    assert report.parity.ok
    assert report.engine.sha256 == sha256_of(content)
    assert content.read_bytes() == before


def remade(
    bundle: Path, folder: Path, *, engine: tuple[str, bytes] | None = None, attacked: bool = True, **changes
) -> tuple[Path, Path]:
    """The bundle with other facts, without what the host's attacks found where not `attacked`; and its engine."""
    found = read_bundle(bundle)
    samples, reference = found.samples(found.manifest.variants[0])
    if not attacked:
        samples = StoredSamples(pixels=samples.pixels, labels=samples.labels)
        reference = replace(reference, logits_adv=None)
    made = make_variant(
        "fp32",
        backend=None if engine is None else "onnx",
        graph=(bundle / GRAPH).read_bytes(),
        twin=(bundle / TWIN).read_bytes(),
        reference=reference,
        engine=engine,
    )
    write_bundle(folder, replace(found.manifest, **changes), variants=[made], samples=samples)
    return folder, folder / (made.variant.engine or "")


def test_a_bundle_without_adversarial_images_is_verified(bundle, tmp_path):
    """Catches a crash, a replay of nothing, and retention of what nobody measured."""
    folder, _ = remade(bundle, tmp_path / "plain", attacked=False, reference=None)
    report = run(folder, tmp_path, requirement=Requirement(min_robust_acc=0.0))
    assert [row.source for row in report.rows] == ["noise", "direct", "direct"]
    assert [gate.gate for gate in report.gates] == ["robust_acc"]
    assert report.retention is None
    assert report.reference is None
    assert report.parity.n == report.clean_acc.n
    (tmp_path / "verify.json").write_text(encode_json(report))
    assert decode_json(VerifyReport, tmp_path / "verify.json") == report


@pytest.fixture(scope="module")
def several(bundle, tmp_path_factory) -> Path:
    """A bundle for two devices with requirements of their own; the first one's budget is too small for any network."""
    reference = read_bundle(bundle).manifest.reference
    profiles = (
        replace(load_profile("jetson-orin"), gates=Gates(
            clean_acc_of_teacher=1.0, robust_acc_of_teacher=1.0, retention=1.0), budget=Budget(params=1)),
        replace(load_profile("x86-cpu"), gates=Gates(
            clean_acc_of_teacher=0.0, robust_acc_of_teacher=0.0, retention=0.0), budget=Budget(params=10**9)),
    )  # fmt: skip
    assert reference is not None
    return remade(bundle, tmp_path_factory.mktemp("several") / "bundle", profiles=profiles)[0]


@pytest.mark.slow
def test_the_profile_that_is_named_judges(several, tmp_path):
    """Catches a profile that is named and not asked, and one whose budget is another's."""
    first, second = (run(several, tmp_path, profile=name) for name in (None, "x86-cpu"))
    assert first.target is not None
    assert (first.target.profile, first.verdict) == ("jetson-orin", "fail")
    assert first.requirement.budget == Budget(params=1)
    assert second.target is not None
    assert second.target.profile == "x86-cpu"
    assert second.requirement.budget == Budget(params=10**9)
    assert [limit.ok for limit in second.budget] == [True]
    assert first.requirement.min_retention == 1.0
    assert second.requirement.min_retention == 0.0
    with pytest.raises(UnknownNameError, match=r"no profile in this bundle named 'x86-cpus': did you mean 'x86-cpu'"):
        run(several, tmp_path, profile="x86-cpus")


def test_a_profile_is_chosen_by_name_or_is_the_first():
    """Catches a bundle for no device that fails for a default, and a name that is quietly ignored there."""
    profiles = [load_profile("jetson-orin"), load_profile("x86-cpu")]
    assert choose_profile(profiles, None) is profiles[0]
    assert choose_profile(profiles, "x86-cpu") is profiles[1]
    assert choose_profile((), None) is None
    with pytest.raises(ConfigError, match="--profile x86-cpu: this bundle was made for no device"):
        choose_profile((), "x86-cpu")


HALF, MOST = (accuracy_from_correct([True] * right + [False] * (10 - right)) for right in (5, 8))
REFERENCE_RESULT = ReferenceResult(
    clean_acc=HALF, robust_acc=HALF, attacks=("PGD",), teacher_clean_acc=MOST, teacher_robust_acc=HALF
)


def test_a_profile_asks_for_shares_of_the_teacher_and_never_less_than_chance():
    """Catches shares of the student's own accuracy, a gate that guessing passes, and gates without a teacher."""
    profile = load_profile("x86-cpu")
    gates = profile.gates
    asked = required_by(profile, REFERENCE_RESULT, floor=0.1)
    assert asked.min_clean_acc == pytest.approx(gates.clean_acc_of_teacher * 0.8)
    assert asked.min_robust_acc == pytest.approx(gates.robust_acc_of_teacher * 0.5)
    assert (asked.min_retention, asked.budget) == (gates.retention, profile.budget)
    assert required_by(profile, REFERENCE_RESULT, floor=0.9).min_robust_acc == 0.9
    alone = replace(REFERENCE_RESULT, teacher_clean_acc=None, teacher_robust_acc=None)
    assert required_by(profile, alone, floor=0.1) == Requirement(min_retention=gates.retention, budget=profile.budget)
    assert required_by(profile, None, floor=0.1) == Requirement(budget=profile.budget)


def test_a_later_requirement_counts_and_asks_only_what_it_asks():
    """Catches a caller's threshold that is ignored, and one that clears all the others."""
    first = Requirement(min_clean_acc=0.1, min_robust_acc=0.2, min_retention=0.3, budget=Budget(params=1))
    assert combined(first) == combined(first, None, Requirement()) == first
    second = Requirement(min_robust_acc=0.0)
    assert combined(first, second) == replace(first, min_robust_acc=0.0)
    third = Requirement(min_robust_acc=0.9, budget=Budget(macs=2))
    assert combined(first, second, third) == replace(first, min_robust_acc=0.9, budget=Budget(macs=2))


def test_the_callers_requirement_counts_before_the_bundles_and_that_before_the_profiles(bundle, tmp_path):
    """Catches an order in which a bundle's maker overrules whoever verifies it."""
    folder, _ = remade(bundle, tmp_path / "own", requirement=Requirement(min_clean_acc=0.71, min_robust_acc=0.72))
    own = run(folder, tmp_path).requirement
    retention = load_profile("x86-cpu").gates.retention
    assert (own.min_clean_acc, own.min_robust_acc, own.min_retention) == (0.71, 0.72, retention)
    asked = run(folder, tmp_path, requirement=Requirement(min_robust_acc=1.0))
    assert (asked.requirement.min_clean_acc, asked.requirement.min_robust_acc) == (0.71, 1.0)
    assert [(gate.gate, gate.required) for gate in asked.gates][:2] == [("clean_acc", 0.71), ("robust_acc", 1.0)]
    assert asked.verdict != "pass"


@pytest.mark.parametrize("asked", [0.0, 1e-300, 0.05])
def test_what_a_maker_asks_is_never_less_than_chance_and_a_caller_may_ask_for_nothing(bundle, tmp_path, asked):
    """Catches a bundle that passes because its maker requires nothing of it."""
    folder, _ = remade(bundle, tmp_path / "own", requirement=Requirement(min_clean_acc=asked, min_robust_acc=asked))
    report = run(folder, tmp_path)
    floor = report.plain.floor
    assert 0.1 < floor == report.requirement.min_robust_acc == report.requirement.min_clean_acc
    assert run(folder, tmp_path, requirement=Requirement(min_robust_acc=0.0)).requirement.min_robust_acc == 0.0


def test_a_verdict_without_a_gate_for_robustness_says_so(bundle, tmp_path):
    """Catches a pass that reads as one of robustness, where nobody required any."""
    folder, _ = remade(bundle, tmp_path / "bare", profiles=(), reference=None, requirement=None)
    clean, both = (
        run(folder, tmp_path, requirement=Requirement(min_clean_acc=0.4, min_robust_acc=robust))
        for robust in (None, 0.2)
    )
    said = [any("nobody requires any robust accuracy" in note for note in notes(each)) for each in (clean, both)]
    assert said == [True, False]


def test_nothing_asked_is_no_verdict(bundle, tmp_path):
    """Catches a pass because nothing was required, and hours of attacks before that is said."""
    folder, _ = remade(bundle, tmp_path / "bare", profiles=(), reference=None)
    with pytest.raises(MissingGatesError, match=r"--min-robust and --min-clean, .*--measure") as caught:
        run(folder, tmp_path)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "engines").exists(), "an engine was built before anybody asked what for"
    check_asked(Requirement(min_robust_acc=0.0))
    with pytest.raises(MissingGatesError):
        check_asked(Requirement(min_retention=0.9, budget=Budget(params=1)))
    measured = run(folder, tmp_path, measure=True)
    assert (measured.verdict, measured.gates, measured.budget, measured.target) == ("measured", (), (), None)
    assert measured.requirement == Requirement()


def test_measuring_asks_nothing_of_a_bundle_that_would_be_judged(several, tmp_path):
    """Catches a budget or a gate of the profile that makes figures alone a failure."""
    found = run(several, tmp_path, measure=True)
    assert (found.verdict, found.gates, found.budget) == ("measured", (), ())
    assert found.requirement == Requirement()


def judged(fates: str, host: str | None) -> Judged:
    return Judged(
        of=len(fates), images=tuple(range(len(fates))), fates=(fates,), host=None if host is None else (host,)
    )


def test_only_gates_that_are_asked_and_can_be_judged_are():
    """Catches a gate on what was not measured, one that is left out, and an error that is not shared among them."""
    seen = judged("+" * 50 + "a" * 40 + "-" * 10, "+" * 55 + "-" * 45)
    every = Requirement(min_clean_acc=0.0, min_robust_acc=0.99, min_retention=0.5)
    found = gates_of(every, seen)
    assert [(gate.gate, gate.measured, gate.verdict) for gate in found] == [
        ("clean_acc", 0.9, "pass"),
        ("robust_acc", 0.5, "fail"),
        ("retention", pytest.approx(50 / 55), "pass"),
    ]
    alone = gates_of(Requirement(min_robust_acc=0.99), seen)
    assert [gate.gate for gate in alone] == ["robust_acc"]
    assert alone[0].high < found[1].high
    assert [gate.gate for gate in gates_of(every, replace(seen, host=None))] == ["clean_acc", "robust_acc"]
    assert gates_of(Requirement(), seen) == ()


@pytest.mark.parametrize(
    ("verdicts", "enough"),
    [
        ((), False),
        (("pass",), True),
        (("pass", "inconclusive"), False),
        (("inconclusive", "fail"), True),
        (("pass", "pass"), True),
    ],
)
def test_it_stops_when_all_gates_are_met_or_one_is_missed(verdicts, enough):
    """Catches a stop at the first gate that is met, and one where nothing was asked."""
    ends = {"pass": (0.6, 0.7), "fail": (0.1, 0.2), "inconclusive": (0.4, 0.6)}
    assert settled([gate(*ends[verdict]) for verdict in verdicts]) == enough


def test_a_latency_is_judged_on_its_own_device_only(bundle, tmp_path):
    """Catches a limit of a Jetson that is met, or missed, on a server."""
    impossible = Requirement(min_robust_acc=0.0, budget=Budget(latency_ms=1e-9))
    anywhere, _ = remade(bundle, tmp_path / "anywhere", profiles=())
    (limit,) = run(anywhere, tmp_path, requirement=impossible).budget
    assert limit.measured is not None
    assert limit.ok is False
    elsewhere, _ = remade(bundle, tmp_path / "elsewhere", profiles=(load_profile("jetson-orin"),))
    (limit,) = run(elsewhere, tmp_path, requirement=impossible, backend="onnx").budget
    assert (limit.measured, limit.ok) == (None, None)


def test_backends_are_tried_in_order_and_the_choice_is_explained(monkeypatch):
    """Catches a silent step down to another backend, and a bundle's unknown backend that stops everything."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    backend, skipped = choose_backend(None, ("quantum", "trt", "onnx"))
    assert backend.name == "onnx"
    assert [each.backend for each in skipped] == ["quantum", "trt"]
    assert "no backend named 'quantum'" in skipped[0].problem
    assert "edgerkd[trt]" in skipped[1].problem


def test_where_no_backend_works_every_reason_is_given(monkeypatch):
    """Catches the last problem told for all of them."""
    for module in ("tensorrt", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"(?s)trt is not used: .*onnx is not used: .*edgerkd\[ort\]"):
        choose_backend(None, ("trt",))


def test_a_backend_asked_for_is_never_replaced():
    """Catches a fallback where the user named the backend."""
    with pytest.raises(UnknownNameError, match="did you mean 'onnx'"):
        choose_backend("onn", ("onnx",))


def test_a_backend_that_does_not_work_says_what_mends_it(monkeypatch):
    """Catches a name that is listed and cannot be used, and another backend used in its place."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .edgerkd\[trt\]"):
        choose_backend("trt", ("onnx",))


def test_a_variant_that_is_not_there_is_named(bundle, tmp_path):
    """Catches --variant that falls back to another precision."""
    with pytest.raises(UnknownNameError, match="variant of this bundle for onnx named 'int8'"):
        run(bundle, tmp_path, variant="int8")


def test_nan_logits_are_an_error_and_not_a_robust_answer():
    """Catches NaN, whose argmax is class 0: on images of class 0 such an engine looks perfect."""

    class Broken:
        backend, version, device = "broken", "0", X86

        def __call__(self, *inputs):
            return (np.full((len(inputs[0]), 3), np.nan, np.float32),)

    with pytest.raises(EngineError, match="NaN or infinite logits for 2 of 2"):
        EngineClassifier(Broken(), Broken()).logits(np.zeros((2, 1, 4, 4), np.float32))


def test_an_onnx_engine_is_the_bundles_own_file_whatever_its_record_says(bundle, tmp_path):
    """Catches a twin swapped among the kept engines together with its record: it travels with a careless copy."""
    built = built_onnx(bundle, tmp_path / "engines")
    built.twin.write_bytes(gradient_twin(onnx_from_network(network(seed=9, classes=3))))
    record = json.loads((built.engine.parent / RECORD).read_text())
    record["twin_sha256"] = sha256_of(built.twin)
    (built.engine.parent / RECORD).write_text(json.dumps(record))
    again = built_onnx(bundle, tmp_path / "engines")
    assert again.twin.read_bytes() == (bundle / TWIN).read_bytes()


def test_int8_is_only_claimed_where_something_is_quantised(bundle, tmp_path):
    """Catches a precision claimed for the looser look at slopes that goes with it."""
    found = read_bundle(bundle)
    samples, reference = found.samples(found.manifest.variants[0])
    graphs = {"graph": (bundle / GRAPH).read_bytes(), "twin": (bundle / TWIN).read_bytes()}
    made = [make_variant(precision, **graphs, reference=reference) for precision in ("int8", "fp32")]
    folder = tmp_path / "claims"
    write_bundle(folder, found.manifest, variants=made, samples=samples)
    with pytest.raises(ArtefactError, match="variant int8 says that it is int8, and nothing in it is quantised"):
        run(folder, tmp_path)


@pytest.mark.slow
def test_where_it_is_looked_is_drawn_anew_each_time_and_recorded(bundle, tmp_path):
    """Catches points and probes at the same images every time, where a bundle can be honest."""
    first, second = (run(bundle, tmp_path, probe_seed=None) for _ in range(2))
    assert first.probe_seed != second.probe_seed
    assert run(bundle, tmp_path, probe_seed=first.probe_seed).gradients == first.gradients


def test_an_accuracy_near_chance_is_noted(bundle, tmp_path):
    """Catches a network that reads its images wrong, whose figures look like a finding."""
    report = run(bundle, tmp_path)
    guess = replace(report, clean_acc=accuracy_from_correct([True] * 3 + [False] * 7))
    assert any("near chance" in note for note in notes(guess))
    sure = replace(report, clean_acc=accuracy_from_correct([True] * 60))
    assert not any("near chance" in note for note in notes(sure))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_distinct_images_are_those_that_brute_force_finds(norm):
    """Catches a screen that lets a near image pass, and one that drops what only the screen calls near."""
    generator = np.random.default_rng(0)
    seeds = generator.random((12, 3, 9, 9), np.float32)
    eps = 0.05 if norm == "Linf" else 0.6
    moves = generator.uniform(-1, 1, (60, 3, 9, 9)).astype(np.float32)
    size = eps * generator.uniform(0.2, 2.0, (60, 1, 1, 1)).astype(np.float32)
    unit = np.sign(moves) if norm == "Linf" else moves / np.sqrt(np.square(moves).sum((1, 2, 3), keepdims=True))
    images = np.concatenate([seeds, seeds[generator.integers(0, 12, 60)] + size * unit, seeds])
    changed = generator.permutation(243)[:14]
    for number, image in enumerate(images[72:]):  # few values, and by much more than eps
        image.reshape(-1)[changed[: number + 3]] += 2 * eps
    kept: list[int] = []
    for row, image in enumerate(images):
        moved = [images[other] - image for other in kept]
        if norm == "Linf":
            copies = [(np.abs(m) > eps + 1e-6).mean() <= 0.05 for m in moved]
        else:
            copies = [np.sqrt(np.square(m).sum()) <= eps + 1e-6 for m in moved]
        if not any(copies):
            kept.append(row)
    assert distinct(images, eps=eps, norm=norm).tolist() == kept
    assert 12 < len(kept) < 72
    assert (72 in kept, 83 in kept) == ((False, True) if norm == "Linf" else (True, True))


def test_repeated_images_are_counted_once_and_said(tmp_path):
    """Catches ten robust images repeated to hundreds, each a little changed, for a narrow interval."""
    folder = tmp_path / "bundle"
    write_small_bundle(folder)
    found = read_bundle(folder)
    samples, _ = found.samples(found.manifest.variants[0])
    rows = np.resize(np.arange(5), 60)
    pixels = samples.pixels[rows] ^ np.random.default_rng(0).integers(0, 2, (60, 1, 8, 8), np.uint8)
    graph, twin = (read_file(folder / name) for name in (GRAPH, TWIN))
    few = StoredSamples(pixels=pixels, labels=samples.labels[rows])
    made = make_variant("fp32", graph=graph, twin=twin, reference=reference_of_graph(graph, few))
    write_bundle(folder, replace(found.manifest, variants=(), reference=None), variants=[made], samples=few)
    report = run(folder, tmp_path, measure=True)
    assert report.clean_acc.n == len(distinct(samples.images[:5], eps=float(THREAT.eps), norm="Linf"))
    assert report.robust_acc.n == report.clean_acc.n
    words = [flag_words(flag) for flag in report.notices]
    assert f"left out: {60 - report.clean_acc.n} of the images of the bundle, too near to another one" in str(words)


def test_an_engine_that_is_another_one_for_single_images_fails(bundle, tmp_path, monkeypatch):
    """Catches an attack in batches on a robust network, where a device, image by image, runs a weak one."""
    odd_backend.install(tmp_path / "plugins", monkeypatch, "is another one for single images")
    report = run(bundle, tmp_path, backend="odd")
    assert report.verdict == "fail"
    assert not report.parity.ok


def test_an_engine_that_is_another_one_for_attacks_is_not_believed(bundle, tmp_path, monkeypatch):
    """Catches images that fool what an attack asks, and not the engine, counted as resisted without a word."""
    odd_backend.install(tmp_path / "plugins", monkeypatch, "is another one for attacks")
    report = run(bundle, tmp_path, backend="odd", brought=Brought(eps=Radius("1/255")), measure=True)
    assert report.robust_acc.value > 0
    assert "other-answers-later" in {flag.id for flag in report.flags}


def claiming(folder: Path, change) -> Path:
    """The bundle with another manifest, whose own digests are right."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def _set(*keys, value):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("model", "cost", "params", value=1), "1 parameters are claimed, and fp32.onnx has"),
        (_set("model", "cost", "macs", value=1), "1 multiply-adds are claimed"),
        (_set("model", "cost", "macs", value=209_455), "209,455 multiply-adds are claimed, and fp32.onnx was seen to"),
        (_set("model", "cost", "params", value=9_000), "9,000 parameters are claimed, and fp32.onnx was seen to need"),
        (
            _set("model", "cost", "peak_bytes", value=38_000),
            "38,000 bytes of peak memory are claimed, and fp32.onnx was",
        ),
        (_set("model", "cost", "peak_bytes", value=4), "1 bytes of peak memory are claimed"),
        (
            _set("reference", "clean_acc", value={"value": 0.2, "n": 20, "low": 0.1, "high": 0.3}),
            "20.00% clean accuracy is claimed of the host, and its stored answers have",
        ),
        (
            _set("reference", "robust_acc", value={"value": 0.95, "n": 20, "low": 0.9, "high": 1.0}),
            "95.00% robust accuracy is claimed of the host",
        ),
        (_set("reference", "clean_acc", "n", value=2000), "clean accuracy is claimed of the host"),
        (_set("reference", "teacher_robust_acc", "value", value=-1), "teacher_robust_acc"),
        (_set("reference", "clean_acc", "high", value=1.5), "clean_acc"),
    ],
)
def test_claims_that_do_not_fit_the_files_are_refused(tmp_path, change, message):
    """Catches a budget met by a number in the manifest, and host figures that were invented."""
    folder = tmp_path / "bundle"
    write_small_bundle(folder)
    with pytest.raises(ArtefactError, match=re.escape(message)):
        run(claiming(folder, change), tmp_path)


def beside(bundle: Path, folder: Path, made: MadeVariant, precision: Precision, **changes) -> Path:
    """The bundle with its network in this precision, behind another variant."""
    found = read_bundle(bundle)
    samples, reference = found.samples(found.manifest.variants[0])
    own = make_variant(precision, graph=read_file(bundle / GRAPH), twin=read_file(bundle / TWIN), reference=reference)
    write_bundle(folder, replace(found.manifest, **changes), variants=[made, own], samples=samples)
    return folder


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_small_network_in_float32_does_not_vouch_for_what_another_costs(bundle, tmp_path, precision):
    """Catches the cost of a network that is in the bundle for this alone, and for another backend."""
    manifest = read_bundle(bundle).manifest
    small = network(widths=(2,), blocks=(1,), classes=3)
    graph = onnx_from_network(small)
    _, reference = read_bundle(bundle).samples(manifest.variants[0])
    made = make_variant("fp32", backend="trt", graph=graph, twin=gradient_twin(graph), reference=reference)
    model = replace(manifest.model, architecture=None, cost=count_cost(small.architecture)[0])
    folder = beside(bundle, tmp_path / "two", made, precision, model=model)
    with pytest.raises(ArtefactError, match=f"parameters are claimed, and {precision}.onnx has"):
        run(folder, tmp_path)


def test_a_float32_variant_is_held_against_the_claims_itself(bundle, tmp_path):
    """Catches a clean accuracy that is that of another float32 variant, which no backend here can build."""
    found = read_bundle(bundle)
    samples, reference = found.samples(found.manifest.variants[0])
    assert found.manifest.reference is not None
    right = reference.logits.argmax(1) == samples.labels
    worse = np.flatnonzero(right & ~samples.host_robust)
    assert len(worse)
    logits = reference.logits.copy()
    logits[worse] *= -1
    claimed = accuracy_from_correct((right & samples.host_robust).tolist())
    made = make_variant(
        "fp32",
        backend="trt",
        graph=read_file(bundle / GRAPH),
        twin=read_file(bundle / TWIN),
        reference=replace(reference, logits=logits),
    )
    changed = replace(found.manifest.reference, clean_acc=claimed)
    folder = beside(bundle, tmp_path / "two", made, "fp32", reference=changed)
    with pytest.raises(ArtefactError, match="clean accuracy is claimed of the host, and its stored answers have"):
        run(folder, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "the host's robust accuracy is claimed, and what it resisted is not stored"),
        (
            {"reference": None, "requirement": Requirement(min_retention=0.9)},
            "retention is asked for, and what the host",
        ),
    ],
)
def test_what_the_host_resisted_must_be_there_where_it_is_spoken_of(tmp_path, changes, message):
    """Catches a gate of retention that is dropped in silence with the answers that it is of."""
    folder = tmp_path / "bundle"
    write_small_bundle(folder)
    found = read_bundle(folder)
    samples, reference = found.samples(found.manifest.variants[0])
    graph, twin = (read_file(folder / name) for name in (GRAPH, TWIN))
    made = make_variant("fp32", graph=graph, twin=twin, reference=replace(reference, logits_adv=None))
    bare = replace(samples, images_adv=None, host_robust=None)
    write_bundle(tmp_path / "bare", replace(found.manifest, variants=(), **changes), variants=[made], samples=bare)
    with pytest.raises(ArtefactError, match=re.escape(message)):
        run(tmp_path / "bare", tmp_path, measure=True)


def test_rows_come_by_origin_and_those_of_other_networks_have_their_names(bundle, tmp_path):
    """Catches images of another network shown as the model's own, left out, or given to other clean images."""
    found = read_bundle(bundle)
    samples, reference = found.samples(found.manifest.variants[0])
    assert samples.images_adv is not None
    blank = np.zeros_like(samples.images_adv)
    stored = replace(samples, transfers=np.stack([samples.images_adv, blank]))
    made = make_variant("fp32", graph=read_file(bundle / GRAPH), twin=read_file(bundle / TWIN), reference=reference)
    manifest = replace(found.manifest, variants=(), origins=("teacher", "black"))
    folder = tmp_path / "bundle"
    write_bundle(folder, manifest, variants=[made], samples=stored)
    report = run(folder, tmp_path, measure=True, attack="fgsm")
    assert [(row.attack, row.source) for row in report.rows] == [
        ("noise", "noise"),
        ("replay", "replay"),
        ("transfer:teacher", "transfer"),
        ("transfer:black", "transfer"),
        ("fgsm", "direct"),
    ]
    values = [row.robust_acc.value for row in report.rows]
    assert values[1] == values[2] >= values[3]
    for number, row in enumerate(report.rows, 1):
        assert report.judged.after(number).value == pytest.approx(row.robust_acc.value)


def test_images_of_more_or_fewer_networks_than_are_named_are_refused(bundle, tmp_path):
    """Catches a row under another network's name."""
    folder, _ = remade(bundle, tmp_path / "named", origins=("teacher",))
    with pytest.raises(ArtefactError, match="made against 0 other networks, and the manifest names 1"):
        run(folder, tmp_path)


@pytest.fixture
def looking_at_five(monkeypatch):
    monkeypatch.setattr(evidence, "LOOK", 5)


@pytest.mark.slow
def test_it_decides_early_in_an_order_of_its_own_and_full_judges_all(bundle, tmp_path, looking_at_five):
    """Catches an attack to the last image where the first ones tell, a fixed first part, and --full that stops."""
    hopeless = Requirement(min_clean_acc=0.0, min_robust_acc=1.0)
    anything = {"requirement": hopeless, "attack": "fgsm"}
    found = run(bundle, tmp_path, probe_seed=1, **anything)
    assert found.verdict == "fail"
    assert found.judged.n < found.judged.of == 20
    assert sum(each.clean_acc.n for each in found.by_class.classes) == found.judged.n == found.clean_acc.n
    assert {len(look) for look in found.judged.fates} == {5}
    again, other = (run(bundle, tmp_path, probe_seed=seed, **anything) for seed in (1, 2))
    assert again.judged == found.judged
    assert other.judged.images[:5] != found.judged.images[:5]
    assert found.gates == gates_of(found.requirement, found.judged), "a report's own counts give its gates"
    full = run(bundle, tmp_path, full=True, **anything)
    assert (full.judged.n, sorted(full.judged.images)) == (20, list(range(20)))
    assert full.verdict == "fail"


def test_full_takes_the_attacks_at_their_full_length():
    """Catches a --full that only judges more images."""
    assert [attack.id for attack in attacks_named(DEFAULT, classes=10)[0]] == ["apgd-ce", "apgd-t3", "square:500"]
    assert [attack.id for attack in attacks_named(DEFAULT, classes=10, full=True)[0]] == ["apgd-ce", "apgd-t", "square"]


def test_an_open_gate_says_how_many_images_would_settle_it(verified):
    """Catches an inconclusive verdict that nobody can do anything about."""
    seen = judged("+" * 60 + "a" * 40, None)
    gates = gates_of(Requirement(min_robust_acc=0.5), seen)
    report = replace(verified, judged=seen, gates=gates)
    (reason,) = [each for each in reasons(report) if "lies too near" in each]
    assert re.search(r"60.0% lies too near 50.0% for 100 images \(4\d\.\d% to 7\d\.\d%\): some [23]\d0 images", reason)
    at_it = gates_of(Requirement(min_robust_acc=0.6), seen)
    assert "more images would not settle it" in str(reasons(replace(report, gates=at_it)))
