"""Signatures in the form of OpenSSF model signing: read as its own library writes them, and wrong ones refused."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgerkd.bundle.keys import Key, Signer, key_from_der
from edgerkd.bundle.signature import read_signature, sign
from edgerkd.core.errors import ArtefactError

SIGNER, ATTACKER = (Signer(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
FILES = {"manifest.json": hashlib.sha256(b"{}\n").hexdigest(), "a.txt": hashlib.sha256(b"a\n").hexdigest()}

FOREIGN_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENgs3VJjSipcVxez2rrdh9H18Vfhc9vkawbC03x1LOSy//2yxkK/6PTtNFQ15Lq6u"
    "4Zmp1Bf/7Xr7Odikl7gKnA=="
)
FOREIGN = (
    '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"8ea7'
    'b97696e848afc0d2c184879b87c495aecf23d8ee2602583df25eb00acebb"},"tlogEntries":[]},"dsseEnvelope":{"payload":"ew'
    "ogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IFsKICAgIHsKICAgICAgIm5hbWUiOiAi"
    "bSIsCiAgICAgICJkaWdlc3QiOiB7CiAgICAgICAgInNoYTI1NiI6ICIwMzg4Yzc5ZGM1MjFkMjhiNjU0ZTdmMjJlNTc5YzBiOWEzMjE0OGJiNj"
    "NkMjgzOGYyNjliMGE2MmYwZGFiZDM0IgogICAgICB9CiAgICB9CiAgXSwKICAicHJlZGljYXRlVHlwZSI6ICJodHRwczovL21vZGVsX3NpZ25p"
    "bmcvc2lnbmF0dXJlL3YxLjAiLAogICJwcmVkaWNhdGUiOiB7CiAgICAic2VyaWFsaXphdGlvbiI6IHsKICAgICAgImhhc2hfdHlwZSI6ICJzaG"
    "EyNTYiLAogICAgICAiYWxsb3dfc3ltbGlua3MiOiBmYWxzZSwKICAgICAgIm1ldGhvZCI6ICJmaWxlcyIsCiAgICAgICJpZ25vcmVfcGF0aHMi"
    "OiBbCiAgICAgICAgIi5naXQiLAogICAgICAgICIuZ2l0aWdub3JlIiwKICAgICAgICAiLmdpdGh1YiIsCiAgICAgICAgIi5naXRhdHRyaWJ1dG"
    "VzIgogICAgICBdCiAgICB9LAogICAgInJlc291cmNlcyI6IFsKICAgICAgewogICAgICAgICJuYW1lIjogImEudHh0IiwKICAgICAgICAiYWxn"
    "b3JpdGhtIjogInNoYTI1NiIsCiAgICAgICAgImRpZ2VzdCI6ICI4NzQyOGZjNTIyODAzZDMxMDY1ZTdiY2UzY2YwM2ZlNDc1MDk2NjMxZTVlMD"
    "diYmQ3YTBmZGU2MGM0Y2YyNWM3IgogICAgICB9LAogICAgICB7CiAgICAgICAgIm5hbWUiOiAibWFuaWZlc3QuanNvbiIsCiAgICAgICAgImFs"
    "Z29yaXRobSI6ICJzaGEyNTYiLAogICAgICAgICJkaWdlc3QiOiAiY2EzZDE2M2JhYjA1NTM4MTgyNzIyNjE0MDU2OGYzYmVmN2VhYWMxODdjZW"
    'JkNzY4NzhlMGI2M2U5ZTQ0MjM1NiIKICAgICAgfQogICAgXQogIH0KfQ==","payloadType":"application/vnd.in-toto+json","sign'
    'atures":[{"sig":"MEYCIQDsAW1L9ypVVFKhgE9xRh5u6SulaHmCJZTle5DEHzbIVwIhAKlKtYmBxtrPT5oGlDfSRFCy/gGtqyOPdHmprWoLF'
    'IhS","keyid":""}]}}'
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.sig"
    path.write_text(text)
    return path


def test_what_the_reference_library_signed_is_read(tmp_path):
    """Catches a form of our own. model_signing 1.1.1 signed a folder of two files: it brings no key, only its name."""
    key = key_from_der(base64.b64decode(FOREIGN_KEY))
    path = written(tmp_path, FOREIGN)
    found = read_signature(path, [SIGNER.key, key])
    assert (found.key, found.files) == (key.fingerprint, FILES)
    unknown = read_signature(path, [SIGNER.key])
    assert (unknown.key, unknown.files) == (key.fingerprint, None)


def test_a_signature_is_told_by_a_key_that_is_not_known_here(tmp_path):
    """Catches a verifier who cannot tell a stranger's signature from a broken one, and contents that get lost."""
    path = written(tmp_path, sign("model", FILES, SIGNER, {"a.txt": b"a\n"}))
    for keys in ([], [ATTACKER.key], [SIGNER.key]):
        found = read_signature(path, keys)
        assert (found.key, found.files, found.contents) == (SIGNER.key.fingerprint, FILES, {"a.txt": b"a\n"})


def of(bundle: dict, *keys):
    for key in keys[:-1]:
        bundle = bundle[key]
    return bundle, keys[-1]


def put(*keys, value):
    def change(bundle):
        holder, key = of(bundle, *keys)
        holder[key] = value(holder[key]) if callable(value) else value

    return change


def repeat(bundle):
    bundle["dsseEnvelope"]["signatures"] *= 2


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def otherwise(text: str) -> str:
    """Another byte in the middle."""
    content = bytearray(base64.b64decode(text))
    content[len(content) // 2] ^= 1
    return encoded(bytes(content))


def spelled(text: str) -> str:
    """The same statement in other bytes."""
    return encoded(json.dumps(json.loads(base64.b64decode(text)), indent=1).encode())


def unencoded(bundle):
    """Signed as it stands, without DSSE's encoding: such a signature could be of anything."""
    envelope = bundle["dsseEnvelope"]
    envelope["signatures"][0]["sig"] = encoded(SIGNER.sign(base64.b64decode(envelope["payload"])))


def impersonated(bundle):
    """Another's signature under the trusted key's name."""
    other = json.loads(sign("model", {"a.txt": "00" * 32}, ATTACKER))
    other["verificationMaterial"]["publicKey"]["hint"] = SIGNER.key.fingerprint
    bundle.clear()
    bundle.update(other)


PUBLIC = ("verificationMaterial", "publicKey")


@pytest.mark.parametrize(
    "change",
    [
        put("dsseEnvelope", "payload", value=otherwise),
        put("dsseEnvelope", "payload", value=spelled),
        put("dsseEnvelope", "payload", value=lambda text: f"{text}\n"),
        put("dsseEnvelope", "payload", value=""),
        put("dsseEnvelope", "payloadType", value="text/plain"),
        put("dsseEnvelope", "signatures", value=[]),
        put("dsseEnvelope", "signatures", 0, "sig", value=otherwise),
        put("dsseEnvelope", "signatures", 0, "sig", value=""),
        put("mediaType", value="application/json"),
        put(*PUBLIC, "hint", value=ATTACKER.key.fingerprint),
        put(*PUBLIC, "hint", value="../../etc/passwd"),
        put(*PUBLIC, "hint", value=7),
        put("verificationMaterial", value={}),
        put("verificationMaterial", value=[]),
        repeat,
        unencoded,
        impersonated,
    ],
    ids=range(17),
)
@pytest.mark.parametrize("keys", [[SIGNER.key], []], ids=["known", "unknown"])
def test_a_wrong_signature_is_refused(tmp_path, change, keys: list[Key]):
    """Catches one that is not looked at because its key is not trusted, or not whole, or under another's name."""
    bundle = json.loads(sign("model", FILES, SIGNER))
    change(bundle)
    with pytest.raises(ArtefactError, match=r"model\.sig"):
        read_signature(written(tmp_path, json.dumps(bundle)), keys)


def test_the_key_that_a_signature_brings_is_not_believed_where_its_name_is_known(tmp_path):
    """Catches a signature checked by the key beside it, which anybody can put there."""
    bundle = json.loads(sign("model", FILES, SIGNER))
    bundle["verificationMaterial"]["publicKey"]["rawBytes"] = encoded(ATTACKER.key.der)
    path = written(tmp_path, json.dumps(bundle))
    assert read_signature(path, [SIGNER.key]).files == FILES
    with pytest.raises(ArtefactError, match="brings another"):
        read_signature(path, [])


STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "m", "digest": {"sha256": "00" * 32}}],
    "predicateType": "https://model_signing/signature/v1.0",
    "predicate": {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
        "resources": [{"name": "a.txt", "algorithm": "sha256", "digest": FILES["a.txt"]}],
    },
}
RESOURCES = ("predicate", "resources")


@pytest.mark.parametrize(
    "change",
    [
        put("_type", value="https://in-toto.io/Statement/v2"),
        put("predicateType", value="https://model_signing/Digests/v0.1"),
        put("predicate", "serialization", "method", value="shards"),
        put(*RESOURCES, value=lambda found: found * 2),
        put(*RESOURCES, 0, "algorithm", value="blake2b"),
        put(*RESOURCES, 0, value={}),
        put(*RESOURCES, 0, "content", value="%"),
        put("predicate", value=None),
    ],
    ids=range(8),
)
def test_a_signed_statement_of_another_form_is_refused(tmp_path, monkeypatch, change):
    """Catches digests of parts of files, by another hash, or twice for one name, taken for those of files."""
    statement = json.loads(json.dumps(STATEMENT))
    monkeypatch.setattr("edgerkd.bundle.signature.json.dumps", lambda found, **_: _dumps(found, statement))
    text = sign("m", FILES, SIGNER)
    monkeypatch.undo()
    assert read_signature(written(tmp_path, text), []).files == {"a.txt": FILES["a.txt"]}
    change(statement)
    monkeypatch.setattr("edgerkd.bundle.signature.json.dumps", lambda found, **_: _dumps(found, statement))
    text = sign("m", FILES, SIGNER)
    monkeypatch.undo()
    with pytest.raises(ArtefactError, match="no list of files"):
        read_signature(written(tmp_path, text), [])


_JSON = json.dumps


def _dumps(found, statement) -> str:
    """The statement in place of the one that would be signed."""
    return _JSON(statement if "_type" in found else found)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "[" * 90_000, "\x00", '{"mediaType": NaN}'])
def test_what_is_no_signature_is_refused(tmp_path, text):
    """Catches a traceback for a damaged file."""
    with pytest.raises(ArtefactError, match="not a signature"):
        read_signature(written(tmp_path, text), [SIGNER.key])
