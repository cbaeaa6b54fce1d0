"""What a verdict rests on, through the command line: exit codes, and the line that says what would settle it."""

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edgerkd.bundle.keys import PUBLIC, Key, load_key, load_signer, own_signer
from edgerkd.bundle.read import read_bundle
from edgerkd.bundle.signature import SIGNATURE, sign
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.requirement import Requirement
from edgerkd.files.atomic import sha256_of
from edgerkd.verify.signed_report import signature_of
from edgerkd.verify.trust import trust_in
from tests.believed import pgd_believed
from tests.bundles import report_on, write_small_bundle
from tests.foreign import bars_network, write_data

QUICK = ("--attack", "pgd", "--min-clean", "0", "--min-robust", "0")  # which anything meets
ASKS_LITTLE = Requirement(min_clean_acc=0.0, min_robust_acc=0.0)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A bundle whose gates anything meets, without a signature."""
    folder = tmp_path_factory.mktemp("maker") / "bundle"
    write_small_bundle(folder, profiles=(), requirement=ASKS_LITTLE)
    return folder


@pytest.fixture
def bundle(original, tmp_path, monkeypatch) -> Generator[Path]:
    """On a machine whose user has no key, where gradients are looked at in the same places each time."""
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr("edgerkd.verify.run.secrets.randbits", lambda bits: 7)
    with pgd_believed():
        yield Path(shutil.copytree(original, tmp_path / "bundle"))


@pytest.fixture
def keys(tmp_path) -> tuple[Path, Path]:
    """The maker's private and public key."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    paths = tmp_path / "maker.pem", tmp_path / "maker.pub"
    for path, content, mode in zip(paths, (pem, Key(private.public_key()).pem), (0o600, 0o644), strict=True):
        path.write_bytes(content)
        path.chmod(mode)
    return paths


def signed(bundle: Path, key: Path) -> Path:
    files = {path.name: sha256_of(path) for path in bundle.iterdir()}
    (bundle / SIGNATURE).write_text(sign("bundle", files, load_signer(key)))
    return bundle


@pytest.mark.slow
def test_a_pass_that_nothing_backs_exits_8_and_says_what_would_settle_it(bundle, keys, edgerkd):
    """Catches exit code 0 on a stranger's word, and a signature that nobody can tell whose it is."""
    ended = edgerkd("verify", bundle, *QUICK)
    assert ended.code == 8
    assert "PASS AS CLAIMED on onnx" in ended.out
    assert "the bundle is not signed" in ended.out
    for flag in ("--trust KEY", "--expect-sha256", "--data"):
        assert flag in ended.out
    ended = edgerkd("verify", signed(bundle, keys[0]), *QUICK, "--json")
    assert ended.code == 8
    report = json.loads(ended.out)
    assert report["verdict"] == "pass as claimed"
    assert report["trust"] == {"grounds": [], "signature": "valid", "key": load_key(keys[1]).fingerprint}


@pytest.mark.slow
def test_a_pass_that_the_verifier_has_grounds_for_exits_0(bundle, keys, edgerkd):
    """Catches grounds that go nowhere; the user's own key needs no flag."""
    digest = sha256_of(bundle / MANIFEST)
    ended = edgerkd("verify", bundle, *QUICK, "--expect-sha256", digest.upper())
    assert ended.code == 0
    assert "rests on the digest that you expected" in ended.out
    ended = edgerkd("verify", signed(bundle, keys[0]), *QUICK, "--trust", keys[1])
    assert ended.code == 0
    assert "rests on a signature by a key you trust" in ended.out
    own_signer()
    (bundle / SIGNATURE).unlink()
    assert edgerkd("verify", signed(bundle, bundle.parent / "config" / "signing-key.pem"), *QUICK).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--expect-sha256", "0" * 64), 5, "was expected"),
        (("--expect-sha256", "0" * 63), 2, "64 hexadecimal digits"),
        (("--trust", "{other}"), 5, "--trust names"),
        (("--trust", "{other}", "--trust", "gone.pub"), 3, "no such file"),
        (("--trust", "maker.pem"), 3, "name the public one"),
    ],
)
def test_what_the_bundle_does_not_bear_out_is_refused_before_any_attack(
    bundle, keys, edgerkd, monkeypatch, arguments, code, message
):
    """Catches a verdict about a bundle that is not the one meant."""
    monkeypatch.chdir(bundle.parent)
    own_signer()
    other = str(bundle.parent / "config" / PUBLIC)
    ended = edgerkd("verify", signed(bundle, keys[0]), *(each.format(other=other) for each in arguments))
    assert ended.code == code
    assert message in ended.err
    assert not (bundle.parent / "engines").exists()


def test_a_report_is_checked_later_and_ends_with_its_verdict(bundle, keys, edgerkd):
    """Catches a check that ends with 0 whatever it finds, needs the bundle, or lets other flags pass unheard."""
    assert edgerkd("verify", bundle, *QUICK, "--expect-sha256", sha256_of(bundle / MANIFEST)).code == 0
    report = report_on(bundle)
    for arguments in ((), (bundle,), ("--json",)):
        ended = edgerkd("verify", "--check", report, *arguments)
        assert ended.code == 0, ended.err
    assert json.loads(ended.out) == json.loads(report.read_text())
    assert "checked: " in ended.err
    assert edgerkd("verify", "--check", report, "--trust", keys[1]).code == 5
    assert edgerkd("verify", "--check", report, "--attack", "pgd").code == 2
    assert edgerkd("verify", "--check", "gone.json").code == 3
    ended = edgerkd("verify", "--check", bundle / MANIFEST)
    assert ended.code == 5
    assert "is it another file than you meant?" in ended.err
    text = report.read_text()
    report.write_text(text.replace('"robust_acc": 0.0', '"robust_acc": 0.5').replace('"seed": 7', '"seed": 1'))
    ended = edgerkd("verify", "--check", report)
    assert ended.code == 5
    assert "seed: 1 is there, 7 was signed" in ended.err
    report.write_text(text)
    (bundle.parent / "config" / "signing-key.pem").unlink()
    ended = edgerkd("verify", "--check", report)
    assert ended.code == 8
    assert "not known here" in ended.out


def test_no_page_is_drawn_of_what_was_changed_since_it_was_signed(bundle, keys, edgerkd):
    """Catches a page that shows a forger's figures as the verifier's, and one that hides who signed them."""
    signed(bundle, keys[0])
    assert edgerkd("verify", bundle, "--attack", "pgd", "--measure").code == 0
    drawn = Path(edgerkd("report", bundle).out.strip())
    page = drawn.read_text()
    assert f"as the key {own_signer().key.fingerprint} signed it" in page
    report = report_on(bundle)
    text = report.read_text()
    files = {path: path.read_bytes() for path in (bundle / MANIFEST, *bundle.glob("*.onnx"))}
    report.write_text(text.replace('"seed": 7', '"seed": 1'))
    for arguments in (("report", bundle), ("report", "--compare", bundle, bundle)):
        ended = edgerkd(*arguments)
        assert ended.code == 5
        assert "seed: 1 is there, 7 was signed" in ended.err
    assert drawn.read_text() == page
    report.write_text(text)
    for path, content in files.items():
        path.write_bytes(content + b" ")
        assert edgerkd("report", bundle).code == 5, path
        path.write_bytes(content)
    signature_of(report).unlink()
    assert edgerkd("report", bundle).code == 0
    assert "no signature was checked" in drawn.read_text()


def test_a_report_that_cannot_be_signed_is_kept_all_the_same(bundle, edgerkd, monkeypatch):
    """Catches an attack's whole work lost for want of a place for a key."""
    (bundle.parent / "file").write_text("")
    monkeypatch.setenv("EDGERKD_CONFIG", str(bundle.parent / "file" / "below"))
    ended = edgerkd("verify", bundle, *QUICK, "--expect-sha256", sha256_of(bundle / MANIFEST))
    assert "the report is not signed" in ended.err
    assert report_on(bundle).exists()
    assert not signature_of(report_on(bundle)).exists()


def test_a_bundle_is_signed_by_the_key_that_is_named_or_by_ones_own(tmp_path, keys, edgerkd, monkeypatch):
    """Catches --sign that goes nowhere, and a wrong key found out after minutes of work."""
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.onnx").write_bytes(bars_network())
    write_data(tmp_path / "data.npz")
    make = ("bundle", "mine.onnx", "--data", "data.npz", "--eps", "8/255", "--normalize", "none", "--attack", "fgsm")
    refused = edgerkd(*make, "--sign", keys[1])
    assert (refused.code, "not a private key" in refused.err) == (3, True)
    assert not (tmp_path / "bundles").exists()
    folder = tmp_path / "bundles" / "mine"
    for flags, key in ((("--sign", keys[0]), keys[1]), ((), tmp_path / "config" / PUBLIC)):
        ended = edgerkd(*make, *flags)
        assert ended.code == 0, ended.err
        found = read_bundle(folder)
        assert trust_in(found, keys=[load_key(key)]).grounds == ("signature",)
        assert f"manifest: sha256 {found.sha256}\nsigned: key {load_key(key).fingerprint}" in ended.out
