"""Keys: made once, kept to their owner, and refused where they are not what they should be."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from edgerkd.bundle.keys import PRIVATE, PUBLIC, load_key, load_signer, own_key, own_signer
from edgerkd.core.errors import ConfigError


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch) -> Path:
    """A folder that is not there yet."""
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "home" / "edgerkd"))
    return tmp_path / "home" / "edgerkd"


def private_pem(private, encryption=NoEncryption()) -> bytes:  # noqa: B008  it holds nothing
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(private) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def kept(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_users_own_key_is_made_once_and_for_its_owner_alone(config):
    """Catches a key that others may read, a key anew each time, and a public file that is of another key."""
    assert own_key() is None
    assert not config.exists(), "asking for a key made a folder"
    signer = own_signer()
    assert own_signer().key.fingerprint == signer.key.fingerprint
    assert stat.S_IMODE((config / PRIVATE).stat().st_mode) == 0o600
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert load_key(config / PUBLIC).fingerprint == signer.key.fingerprint
    own = own_key()
    assert own is not None
    assert own.signed(b"message", signer.sign(b"message"))
    assert not own.signed(b"another", signer.sign(b"message"))


def test_another_machines_public_key_is_not_replaced_by_the_own_one(config):
    """Catches the key that a user trusts exchanged for this machine's, which then passes for it."""
    config.mkdir(parents=True)
    other = kept(config / PUBLIC, public_pem(ec.generate_private_key(ec.SECP256R1())), 0o644)
    before = other.read_bytes()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"not the public half of signing-key\.pem beside it"):
            own_signer()
        assert other.read_bytes() == before
    other.unlink()
    assert load_key(config / PUBLIC if own_signer() else other).fingerprint == own_signer().key.fingerprint


def test_two_first_uses_at_once_get_one_key():
    """Catches two keys of which one is lost, and with it the trust in what it signed."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: own_signer().key.fingerprint, range(8)))
    assert len(set(found)) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    """Catches a traceback on a device whose home may not be written."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "file" / "edgerkd"))
    with pytest.raises(ConfigError, match="a part of the path is a file"):
        own_signer()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_private_key_that_others_may_use_is_refused(tmp_path, config, mode):
    """Catches a key that anybody on the machine can sign with; links do not hide it."""
    own_signer()
    (config / PRIVATE).chmod(mode)
    with pytest.raises(ConfigError, match=r"others may use this key.*chmod 600"):
        own_key()
    (tmp_path / "link").symlink_to(config / PRIVATE)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signer(tmp_path / "link")


def test_a_public_key_that_anybody_may_change_is_refused(tmp_path):
    """Catches trust in a file that whoever made the bundle could replace. A group's own file is customary."""
    pem = public_pem(ec.generate_private_key(ec.SECP256R1()))
    assert load_key(kept(tmp_path / "group", pem, 0o664)).pem == pem
    with pytest.raises(ConfigError, match=r"others may change this key.*chmod o-w"):
        load_key(kept(tmp_path / "all", pem, 0o666))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_every_curve_of_the_registry_signs(tmp_path, curve):
    """Catches the hash of another curve's size."""
    private = ec.generate_private_key(curve)
    signer = load_signer(kept(tmp_path / "key.pem", private_pem(private)))
    assert load_key(kept(tmp_path / "key.pub", public_pem(private))).signed(b"message", signer.sign(b"message"))


P256, ED, OTHER = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate(), ec.SECP256K1()
RSA = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (private_pem(ED), "elliptic curve"),
        (private_pem(RSA), "elliptic curve"),
        (private_pem(ec.generate_private_key(OTHER)), "P-256, P-384 or P-521"),
        (private_pem(P256, BestAvailableEncryption(b"secret")), "needs a password"),
        (public_pem(P256), "not a private key"),
        (b"", "not a private key"),
        (b"\xff" * 99, "not a private key"),
    ],
)
def test_what_cannot_sign_is_refused(tmp_path, content, message):
    """Catches a traceback of the library's, and a signature that the form does not allow."""
    with pytest.raises(ConfigError, match=message):
        load_signer(kept(tmp_path / "key.pem", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (private_pem(P256), "name the public one"),
        (public_pem(ED), "elliptic curve"),
        (public_pem(RSA), "elliptic curve"),
        (public_pem(ec.generate_private_key(OTHER)), "P-256, P-384 or P-521"),
        (b"", "not a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (b"x" * (1 << 17), "are expected"),
    ],
)
def test_what_is_no_public_key_is_refused(tmp_path, content, message):
    """Catches trust in a key of no known kind, and a private key carried to a device."""
    with pytest.raises(ConfigError, match=message):
        load_key(kept(tmp_path / "key.pub", content))
