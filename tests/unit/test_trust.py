"""Who says so: what a verdict rests on, who signed, and that no bundle, report or cache is passed off as another."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgerkd.bundle.kept import kept_bytes, kept_path, read_kept
from edgerkd.bundle.keys import Key, Signer, own_signer
from edgerkd.bundle.read import read_bundle
from edgerkd.bundle.signature import SIGNATURE, sign
from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import ArtefactError
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.origin import FIELDS
from edgerkd.core.progress import Silent
from edgerkd.core.requirement import GATES, Requirement
from edgerkd.core.trust import Trust
from edgerkd.core.verification import VerifyReport
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.report.words import notes, reasons
from edgerkd.verify import build as build_module
from edgerkd.verify.build import RECORD, BuiltEngine, build_engine, choose_backend
from edgerkd.verify.recheck import problems_of
from edgerkd.verify.run import verify
from edgerkd.verify.seal import SECRET, SUFFIX
from edgerkd.verify.signed_report import check_report, signature_of, write_report
from edgerkd.verify.trust import backed, trust_in
from edgerkd.verify.verdict import gates_of
from tests.bundles import GRAPH, TWIN, write_small_bundle
from tests.zoo import network

MAKER, STRANGER = (Signer(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """Signed by its maker, with the gates of profile x86-cpu."""
    folder = tmp_path_factory.mktemp("maker") / "bundle"
    write_small_bundle(folder)
    return signed(folder, MAKER)


@pytest.fixture
def bundle(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch) -> Path:
    """A machine of its own: its user has no key yet."""
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def signed(folder: Path, signer: Signer) -> Path:
    """The bundle with another signature, of what is in it now."""
    files = {path.name: sha256_of(path) for path in folder.iterdir() if path.name != SIGNATURE}
    (folder / SIGNATURE).write_text(sign(folder.name, files, signer))
    return folder


# -- a bundle ----------------------------------------------------------------------------------------------------------


def test_without_anything_of_the_verifiers_there_is_no_ground(bundle):
    """Catches a stranger's signature that counts because it is right, and a key that is not named."""
    found = trust_in(read_bundle(bundle))
    assert found == Trust(grounds=(), signature="valid", key=MAKER.key.fingerprint)
    (bundle / SIGNATURE).unlink()
    assert trust_in(read_bundle(bundle)) == Trust()


def test_what_the_verifier_brings_counts(bundle):
    """Catches --trust or --expect-sha256 that goes nowhere, and an own key that counts for nothing."""
    found = read_bundle(bundle)
    assert trust_in(found, keys=[STRANGER.key, MAKER.key]).grounds == ("signature",)
    assert trust_in(found, sha256=sha256_of(bundle / MANIFEST)).grounds == ("sha256",)
    assert trust_in(found, keys=[MAKER.key], sha256=found.sha256).grounds == ("signature", "sha256")
    assert trust_in(read_bundle(signed(bundle, own_signer()))).grounds == ("signature",)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"keys": [STRANGER.key]}, f"the key {MAKER.key.fingerprint}, and --trust names {STRANGER.key.fingerprint}"),
        ({"sha256": "0" * 64}, f"{'0' * 64} was expected"),
        ({"keys": [MAKER.key], "sha256": "0" * 64}, "was expected"),
    ],
    ids=["key", "digest", "both"],
)
def test_a_bundle_that_says_otherwise_is_refused(bundle, asked, message):
    """Catches a wrong key made good by a right digest, or the other way round."""
    with pytest.raises(ArtefactError, match=message):
        trust_in(read_bundle(bundle), **asked)


def test_the_own_key_does_not_stand_in_for_one_that_is_asked(bundle):
    """Catches a bundle that somebody on this machine made anew, in the place of the vendor's."""
    with pytest.raises(ArtefactError, match="and --trust names"):
        trust_in(read_bundle(signed(bundle, own_signer())), keys=[MAKER.key])


def test_an_unsigned_bundle_is_refused_where_a_signature_is_asked(bundle):
    """Catches a signature that is taken away."""
    (bundle / SIGNATURE).unlink()
    with pytest.raises(ArtefactError, match="is not signed"):
        trust_in(read_bundle(bundle), keys=[MAKER.key])


def _manifest(change):
    def fraud(bundle: Path) -> None:
        path = bundle / MANIFEST
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return fraud


def _redigested(bundle: Path) -> None:
    """Another graph, and a manifest that agrees with it."""
    content = (bundle / TWIN).read_bytes()
    (bundle / GRAPH).write_bytes(content)
    entry = {"size": len(content), "sha256": sha256_of(bundle / GRAPH)}
    _manifest(lambda found: {**found, "files": {**found["files"], GRAPH: entry}})(bundle)


def _signature_of_another(bundle: Path) -> None:
    files = {MANIFEST: "11" * 32, GRAPH: sha256_of(bundle / GRAPH)}
    (bundle / SIGNATURE).write_text(sign("bundle", files, MAKER))


def _signature_of_a_part(bundle: Path) -> None:
    """Of the manifest alone: it would do, but it is not what the form says."""
    (bundle / SIGNATURE).write_text(sign("bundle", {MANIFEST: sha256_of(bundle / MANIFEST)}, MAKER))


def _damaged(bundle: Path) -> None:
    path = bundle / SIGNATURE
    path.write_text(path.read_text().replace('"sig": "M', '"sig": "N', 1))


def _no_file(bundle: Path) -> None:
    (bundle / SIGNATURE).unlink()
    (bundle / SIGNATURE).mkdir()


FRAUDS = {
    "a gate lowered": (_manifest(lambda found: {**found, "requirement": None, "profiles": []}), "manifest.json: not"),
    "white space": (_manifest(lambda found: found), "manifest.json: not what was signed"),
    "a file and its digest": (_redigested, "2 problems"),
    "signature of another bundle": (_signature_of_another, "not signed"),
    "signature of a part": (_signature_of_a_part, "not signed"),
    "signature damaged": (_damaged, "has been changed"),
    "signature is a folder": (_no_file, "a folder"),
    "a file that nobody signed": (lambda b: (b / "weights.bin").write_bytes(b"x"), "weights.bin: not listed"),
    "a link to elsewhere": (lambda b: (b / "weights.bin").symlink_to("/etc/hostname"), "weights.bin: not listed"),
    "a folder that nobody signed": (lambda b: (b / "more").mkdir(), "more: not listed"),
}


@pytest.mark.parametrize("name", FRAUDS)
@pytest.mark.parametrize("keys", [[MAKER.key], []], ids=["trusted", "unknown"])
def test_a_bundle_that_is_not_as_it_was_signed_is_refused(bundle, name, keys: list[Key]):
    """Catches a signature that is only looked at where its key is trusted, and one that covers the manifest in part."""
    fraud, message = FRAUDS[name]
    fraud(bundle)
    with pytest.raises(ArtefactError, match=re.escape(message)):
        trust_in(read_bundle(bundle), keys=keys)


def test_a_bundle_may_lie_in_a_repository(bundle):
    """Catches a bundle refused for what git keeps beside it."""
    (bundle / ".gitattributes").write_text("*.onnx filter=lfs\n")
    assert trust_in(read_bundle(bundle)).signature == "valid"


def test_where_signatures_cannot_be_checked_they_are_no_ground_and_a_digest_is(bundle, monkeypatch):
    """Catches a device without cryptography that believes whatever lies beside a bundle, or cannot verify at all."""
    own_signer()
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    found = trust_in(read_bundle(bundle))
    assert found == Trust(signature="unchecked")
    assert trust_in(read_bundle(bundle), sha256=sha256_of(bundle / MANIFEST)).grounds == ("sha256",)


@pytest.mark.parametrize(
    ("verdict", "trust", "expected"),
    [
        ("pass", Trust(), "pass as claimed"),
        ("pass", Trust(signature="valid", key="ab" * 32), "pass as claimed"),
        ("pass", Trust().resting_on("samples"), "pass"),
        ("pass", Trust(grounds=("sha256",)), "pass"),
        ("pass", Trust(grounds=("signature",), signature="valid", key="ab" * 32), "pass"),
        ("fail", Trust(), "fail"),
        ("inconclusive", Trust(), "inconclusive"),
        ("measured", Trust(), "measured"),
    ],
)
def test_only_a_pass_needs_a_ground(verdict, trust, expected):
    """Catches a pass on the bundle's own word, and a failure that would be trusted less for want of a signature."""
    assert backed(verdict, trust) == expected


# -- a report ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verified(original, tmp_path_factory) -> VerifyReport:
    """A report with every part: target, budget, gates of accuracy and retention."""
    found = read_bundle(original)
    return verify(
        found,
        engines=tmp_path_factory.mktemp("engines"),
        requirement=Requirement(min_clean_acc=0.1),
        seed=0,
        trust=trust_in(found, keys=[MAKER.key]),
        progress=Silent(),
    )


def test_an_engine_that_shows_no_rounding_may_be_judged_as_float32(verified):
    """Catches an honest report that is refused, because its engine is less exact by name than it was found to be."""
    named = replace(verified, engine=replace(verified.engine, precision="int8"))
    assert not any(problem.startswith("gradients") for problem in problems_of(named))


def test_a_report_is_bound_to_what_was_verified_and_how(verified, original):
    """Catches a report that could be of another time, machine or bundle, and words that do not say what it rests on."""
    assert verified.manifest_sha256 == sha256_of(original / MANIFEST)
    assert verified.engine.sha256 == sha256_of(original / GRAPH)
    assert verified.trust.grounds == ("signature",)
    made = verified.made
    assert made is not None
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", made.time)
    assert set(made.versions) == {"edgerkd", "python", "numpy"}
    assert made.asked == Requirement(min_clean_acc=0.1)
    assert any(
        f"a signature by a key you trust: the bundle is signed by the key {MAKER.key.fingerprint}" in note
        for note in notes(verified)
    )
    claimed = replace(verified, verdict="pass as claimed", trust=Trust())
    assert re.search("--trust KEY.*--expect-sha256 HEX.*--data DATA", reasons(claimed)[-1])


@pytest.fixture
def report(verified, tmp_path) -> Path:
    path = tmp_path / "verify.json"
    write_report(path, verified, STRANGER)
    return path


def test_a_report_that_holds_is_told_with_who_signed_it(report, verified, bundle):
    """Catches a check that nothing passes, and one that trusts whoever signed."""
    found = read_bundle(bundle)
    assert check_report(report, found, [STRANGER.key]).trusted
    checked = check_report(report, None, [])
    assert (checked.report, checked.key, checked.trusted) == (verified, STRANGER.key.fingerprint, False)
    write_report(report, verified, own_signer())
    assert check_report(report, found, []).trusted
    with pytest.raises(ArtefactError, match="not one that --trust names"):
        check_report(report, found, [STRANGER.key])


@pytest.fixture
def with_images(original, tmp_path) -> Path:
    """A report with the file of its images beside it."""
    path = tmp_path / "verify.json"
    found = read_bundle(original)
    report = verify(
        found,
        engines=tmp_path / "engines",
        trust=trust_in(found, keys=[MAKER.key]),
        keep=kept_path(path),
        progress=Silent(),
    )
    write_report(path, report, STRANGER)
    return path


def changed(path: Path, **arrays) -> None:
    """The report's images with other arrays, and the report signed anew as if they had been so."""
    file = kept_path(path)
    file.write_bytes(kept_bytes(replace(read_kept(file), **arrays)))
    report = decode_json(VerifyReport, path)
    found = replace(report.kept, sha256=sha256_of(file), size=file.stat().st_size)
    write_report(path, replace(report, kept=found), STRANGER)


def test_a_report_and_the_outcomes_of_its_images_are_checked_against_each_other(with_images):
    """Catches figures that the images beside them do not bear out, whoever signed them."""
    assert check_report(with_images, None, []).report.kept is not None
    kept = read_kept(kept_path(with_images))
    (fooled,) = np.nonzero(kept.clean & ~kept.robust)
    assert len(fooled)
    robust, distances = kept.robust.copy(), kept.distances.copy()
    robust[fooled[0]], distances[fooled[0]] = True, np.inf
    changed(with_images, distances=distances)
    with pytest.raises(ArtefactError, match=r"curve: it does not follow from .*images.npz"):
        check_report(with_images, None, [])
    changed(with_images, robust=robust, distances=kept.distances)
    with pytest.raises(ArtefactError, match=r"judged.fates: it does not follow from .*images.npz"):
        check_report(with_images, None, [])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("images", lambda images: 255 - images, "images: not those that ids and rows name"),
        ("images_adv", lambda images: 1 - images, "images_adv: beyond the radius"),
        ("labels", lambda labels: labels + 1, None),
    ],
)
def test_the_images_that_are_shown_are_those_that_were_judged(with_images, original, name, change, said):
    """Catches other pictures, or other labels, beside figures that hold."""
    changed(with_images, **{name: change(getattr(read_kept(kept_path(with_images)), name))})
    with pytest.raises(ArtefactError, match=said or r"kept.labels: not those of the bundle"):
        check_report(with_images, None if said else read_bundle(original), [])


def test_images_of_another_verification_are_not_the_reports(with_images):
    """Catches a file that was changed, or put there, after the report was signed; a missing one is no fault."""
    file = kept_path(with_images)
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(ArtefactError, match=r"kept.sha256: .*images.npz is"):
        check_report(with_images, None, [])
    file.unlink()
    assert check_report(with_images, None, []).key == STRANGER.key.fingerprint


def test_a_pass_by_somebody_unknown_is_only_claimed(report, verified):
    """Catches a report with exit code 0 by whoever has a key."""
    asked = replace(verified.requirement, min_clean_acc=None, min_robust_acc=0.0, min_retention=None)
    thresholds = {name: who for name, who in verified.origins.thresholds.items() if name not in GATES}
    passing = replace(
        verified,
        verdict="pass",
        requirement=asked,
        gates=gates_of(asked, verified.judged),
        made=replace(verified.made, asked=Requirement(min_robust_acc=0.0)),
        origins=replace(
            verified.origins,
            thresholds={"robust_acc": "verifier", **thresholds},
            figures={name: verified.origins.figures[name] for name in ("robust_acc", *thresholds)},
        ),
    )
    write_report(report, passing, STRANGER)
    assert check_report(report, None, []).verdict == "pass as claimed"
    assert check_report(report, None, [STRANGER.key]).verdict == "pass"


def _at(document, keys):
    for key in keys[:-1]:
        document = document[key]
    return document, keys[-1]


CHANGES = [
    (("verdict",), "pass"),
    (("bundle",), "another"),
    (("manifest_sha256",), "0" * 64),
    (("threat_model", "eps"), "1/255"),
    (("requirement", "min_robust_acc"), 0.0),
    (("reference", "teacher_robust_acc", "value"), 0.1),
    (("target", "reached"), False),
    (("target", "profile"), "jetson-orin"),
    (("engine", "sha256"), "0" * 64),
    (("engine", "variant"), "int8"),
    (("engine", "precision"), "int8"),
    (("engine", "device", "name"), "Orin"),
    (("parity", "ok"), False),
    (("parity", "max_abs_dlogit"), 1.0),
    (("parity", "agreement"), 0.9),
    (("parity", "n"), 7),
    (("gradients", "ok"), False),
    (("gradients", "disagreeing"), 64),
    (("gradients", "required"), -1.0),
    (("samples", "sha256"), "0" * 64),
    (("samples", "data"), "another"),
    (("plain", "engine_acc", "value"), 0.5),
    (("plain", "engine_acc", "low"), 0.3),
    (("plain", "classes", 0, "engine_acc", "n"), 6),
    (("plain", "classes", 0, "name"), "bar 2"),
    (("plain", "model", "engine_alone"), 1),
    (("plain", "model", "same_answer"), 0.5),
    (("plain", "model", "chance"), 0.5),
    (("clean_acc", "value"), 0.65),
    (("clean_acc", "low"), 0.0),
    (("robust_acc", "value"), 0.1),
    (("robust_acc", "n"), 2000),
    (("robust_acc", "high"), 1.0),
    (("by_class", "worst"), "bar 2"),
    (("by_class", "classes", 0, "clean_acc", "n"), 9),
    (("rows", 0, "robust_acc", "value"), 0.15),
    (("rows", 0, "attack"), "fgsm"),
    (("rows", 2, "source"), "replay"),
    (("rows", 2, "attack"), "apgd-dlr"),
    (("notices",), []),
    (("judged", "fates"), ["+" * 20]),
    (("judged", "of"), 21),
    (("judged", "images"), [0] * 20),
    (("judged", "images"), list(range(20))),
    (("retention",), 1.0),
    (("gates", 0, "verdict"), "fail"),
    (("gates", 1, "verdict"), "pass"),
    (("gates", 1, "required"), 0.0),
    (("gates", 1, "low"), 0.9),
    (("gates",), []),
    (("budget", 0, "ok"), False),
    (("budget", 0, "measured"), 1.0),
    (("budget", 0, "required"), 1e9),
    (("budget",), []),
    (("latency_ms", "p50"), 1e-3),
    (("trust", "grounds"), ["sha256"]),
    (("trust", "key"), "0" * 64),
    (("origins", "fields"), dict.fromkeys(FIELDS, "measured")),
    (("origins", "figures", "params"), "measured"),
    (("origins", "thresholds", "clean_acc"), "maker"),
    (("origins", "thresholds", "robust_acc"), "maker"),
    (("seed",), 1),
    (("probe_seed",), 1),
    (("made", "time"), "2020-01-01T00:00:00+00:00"),
    (("made", "asked", "min_robust_acc"), 0.0),
    (("flags",), [{"id": "zero-gradients", "facts": {}}]),
]


@pytest.mark.parametrize(
    ("keys", "value"), CHANGES, ids=lambda each: ".".join(map(str, each)) if isinstance(each, tuple) else ""
)
def test_an_altered_report_is_refused_and_the_key_named(report, keys, value):
    """Catches a figure that nobody vouches for."""
    document = json.loads(report.read_text())
    holder, key = _at(document, keys)
    assert holder[key] != value
    holder[key] = value
    report.write_text(json.dumps(document, indent=2))
    with pytest.raises(ArtefactError, match=re.escape(".".join(map(str, keys)))):
        check_report(report, None, [STRANGER.key])


FREE = {
    ("engine", "device", "name"),
    ("trust", "grounds"),
    ("trust", "key"),
    ("seed",),
    ("made", "time"),
    ("flags",),
}
"""What no rule decides: of these there is only the word of who signed."""
OF_A_BUNDLE = {
    ("bundle",),
    ("manifest_sha256",),
    ("reference", "teacher_robust_acc", "value"),
    ("target", "profile"),
    ("engine", "sha256"),
    ("engine", "variant"),
    ("samples", "sha256"),
    ("samples", "data"),
    ("origins", "thresholds", "robust_acc"),
}
"""What only the bundle can tell."""


def signed_anew(path: Path, document) -> None:
    """The report as its forger would sign it."""
    content = json.dumps(document).encode()
    path.write_bytes(content)
    signature_of(path).write_text(sign(path.name, {path.name: sha256_of(path)}, STRANGER, {path.name: content}))


@pytest.mark.parametrize(
    ("keys", "value"),
    [each for each in CHANGES if each[0] not in FREE],
    ids=lambda each: ".".join(map(str, each)) if isinstance(each, tuple) else "",
)
def test_a_report_whose_parts_do_not_fit_is_refused_whoever_signed_it(report, bundle, keys, value):
    """Catches a verdict that its own figures do not give, and figures that are not the bundle's."""
    document = json.loads(report.read_text())
    holder, key = _at(document, keys)
    holder[key] = value
    signed_anew(report, document)
    if keys in OF_A_BUNDLE:
        assert check_report(report, None, [STRANGER.key]).trusted
    with pytest.raises(ArtefactError, match=rf"(: |- |\.|\(){keys[0]}\b"):
        check_report(report, read_bundle(bundle), [STRANGER.key])


def _drop_signature(path: Path) -> None:
    signature_of(path).unlink()


def _twice(path: Path) -> None:
    """A key given twice: some readers take the first."""
    path.write_text(path.read_text().replace('"verdict"', '"verdict": "pass",\n  "verdict"', 1))


def _signature_of_a_bundle(path: Path) -> None:
    signature_of(path).write_text(sign("bundle", {MANIFEST: "00" * 32}, STRANGER))


def _of_another_report(path: Path) -> None:
    document = json.loads(path.read_text())
    content = json.dumps({**document, "seed": 99}).encode()
    signature_of(path).write_text(sign(path.name, {path.name: "00" * 32}, STRANGER, {path.name: content}))


@pytest.mark.parametrize(
    ("fraud", "message"),
    [
        (_drop_signature, "nobody signed this report"),
        (_twice, "its text, though it says the same"),
        (_signature_of_a_bundle, "not the signature of one report"),
        (_of_another_report, "seed: 0 is there, 99 was signed"),
        (lambda path: path.write_text("{}"), "no schema number"),
    ],
)
def test_a_report_without_its_own_signature_is_refused(report, fraud, message):
    """Catches a check that is skipped where there is nothing to check by."""
    fraud(report)
    with pytest.raises(ArtefactError, match=message):
        check_report(report, None, [STRANGER.key])


def test_a_report_without_a_signer_leaves_no_earlier_signature(report, verified):
    """Catches an old signature beside a new report."""
    write_report(report, verified, None)
    assert not signature_of(report).exists()


# -- engines kept from an earlier build --------------------------------------------------------------------------------


class Built:
    """Builds as TensorRT does: what it makes has no digest in the bundle. Here it is the graph all the same."""

    name, suffix, placement = "built", ".plan", "unsigned"

    def __init__(self) -> None:
        self.builds = 0

    def check(self) -> None:
        """It works."""

    check_build = check

    def build(self, graph: Path, target: Path, *, max_batch: int) -> BuildLog:
        self.builds += 1
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(graph.read_bytes())
        return BuildLog()


def built(bundle: Path, folder: Path, backend) -> BuiltEngine:
    found = read_bundle(bundle)
    return build_engine(found, found.manifest.variants[0], backend, folder)


def swapped(earlier: BuiltEngine) -> None:
    """Engine, twin and record of another network, in the place of those that were built."""
    other = onnx_from_network(network(seed=9, classes=3))
    earlier.engine.write_bytes(other)
    earlier.twin.write_bytes(gradient_twin(other))
    forged = replace(earlier.record, engine_sha256=sha256_of(earlier.engine), twin_sha256=sha256_of(earlier.twin))
    earlier.engine.with_name(RECORD).write_text(encode_json(forged))


def test_an_earlier_build_of_ones_own_is_kept(bundle, tmp_path):
    """Catches minutes of building at every verification."""
    backend = Built()
    for _ in range(2):
        built(bundle, tmp_path / "engines", backend)
    assert backend.builds == 2, "engine and twin, once"


def _other_secret(config: Path, folder: Path) -> None:
    """A folder of engines that came with a bundle: it was sealed, by somebody else."""
    (config / SECRET).unlink()


def _no_seal(config: Path, folder: Path) -> None:
    for path in folder.rglob(f"*{SUFFIX}"):
        path.unlink()


def _empty_secret(config: Path, folder: Path) -> None:
    (config / SECRET).write_bytes(b"")


def _other_seal(config: Path, folder: Path) -> None:
    for path in folder.rglob(f"*{SUFFIX}"):
        path.write_text("é" * 64)


@pytest.mark.parametrize("also", [None, _no_seal, _other_secret, _empty_secret, _other_seal])
def test_engine_twin_and_record_swapped_together_are_built_anew(bundle, tmp_path, config, also):
    """Catches a cache that is believed because its parts agree with each other."""
    backend, folder = Built(), tmp_path / "engines"
    swapped(built(bundle, folder, backend))
    if also is not None:
        also(config, folder)
    again = built(bundle, folder, backend)
    assert backend.builds == 4
    assert again.engine.read_bytes() == (bundle / GRAPH).read_bytes()
    assert again.twin.read_bytes() == (bundle / TWIN).read_bytes()


def test_a_record_of_another_variant_or_backend_is_not_taken(bundle, tmp_path):
    """Catches a true record with its files, moved to where another engine is expected."""
    backend, folder = Built(), tmp_path / "engines"
    first = built(bundle, folder, backend)
    other = Built()
    other.name = "another"
    shutil.copytree(first.engine.parents[1], first.engine.parents[2] / "another")
    built(bundle, folder, other)
    assert other.builds == 2


def test_a_graph_is_its_own_engine_whoever_sealed_the_record(bundle, tmp_path, monkeypatch):
    """Catches digests that are compared with the record alone where the bundle has them."""
    backend = choose_backend("onnx", ())[0]
    swapped(built(bundle, tmp_path, backend))
    monkeypatch.setattr(build_module, "is_sealed", lambda path: True)
    again = built(bundle, tmp_path, backend)
    assert again.engine.read_bytes() == (bundle / GRAPH).read_bytes()
    assert again.record.engine_sha256 == sha256_of(bundle / GRAPH)


def test_a_machine_that_keeps_no_secret_builds_each_time(bundle, tmp_path, monkeypatch):
    """Catches a device with a read-only home that cannot verify, or that believes any cache."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "file" / "below"))
    backend = Built()
    for _ in range(2):
        built(bundle, tmp_path / "engines", backend)
    assert backend.builds == 4
