"""The keys that bundles and reports are signed with, and checked by.

ECDSA on the curves that OpenSSF model signing takes: P-256, P-384 and P-521, each with the hash of its size. Source:
Algorithm Registry of the OpenSSF Model Signing specification 1.0. A key's fingerprint is the SHA-256 of its public PEM
file, which is also that specification's hint.

The user's own key is made at first use, in the folder EDGERKD_CONFIG, else `~/.config/edgerkd`. It is not in the cache,
which may be emptied at any time: with the key would go what it vouched for.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from edgerkd.core.errors import ConfigError, MissingDependencyError, StorageError
from edgerkd.files.atomic import locked, storage, write_atomic
from edgerkd.files.paths import find_kind, open_file, own_folder, read_file, shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey

PRIVATE, PUBLIC = "signing-key.pem", "signing-key.pub"
_LIMIT = 1 << 16  # bytes of a key file; that of a P-521 key has about 400
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_KIND = "it must be of an elliptic curve, P-256, P-384 or P-521"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key."""

    public: "EllipticCurvePublicKey"

    @property
    def pem(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def der(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.pem).hexdigest()

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether this key's owner signed the message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.public.verify(signature, message, _ecdsa(self.public.curve.key_size))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key."""

    private: "EllipticCurvePrivateKey"

    @property
    def key(self) -> Key:
        return Key(self.private.public_key())

    def sign(self, message: bytes) -> bytes:
        """The signature, DER."""
        return self.private.sign(message, _ecdsa(self.private.curve.key_size))


def can_sign() -> bool:
    """Whether this machine can sign and check signatures: a device need not have what it takes."""
    try:
        _serialization()
    except MissingDependencyError:
        return False
    return True


def load_key(path: Path) -> Key:
    """A public key from a PEM file. Raises ConfigError for what is none, or for a file that anybody may change."""
    serialization = _serialization()
    from cryptography.exceptions import UnsupportedAlgorithm

    content, mode = _read(path)
    if b"PRIVATE KEY" in content:
        raise ConfigError(f"{shown(path)} is a private key: name the public one, which may be given away.")
    if mode & 0o002:
        raise ConfigError(f"{shown(path)}: others may change this key (mode {mode:04o}): `chmod o-w {shown(path)}`.")
    try:
        return _checked(serialization.load_pem_public_key(content))
    except (ValueError, UnsupportedAlgorithm) as e:
        raise ConfigError(f"{shown(path)} is not a public key that can be used ({_reason(e)}).") from e


def key_from_der(content: bytes) -> Key:
    """A public key from its DER form. Raises ValueError for what is none."""
    serialization = _serialization()
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return _checked(serialization.load_der_public_key(content))
    except UnsupportedAlgorithm as e:
        raise ValueError(str(e)) from e


def load_signer(path: Path) -> Signer:
    """A private key from a PEM file that its owner alone may read. Raises ConfigError for any other."""
    serialization = _serialization()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    content, mode = _read(path)
    try:
        private = serialization.load_pem_private_key(content, password=None)
        if not isinstance(private, EllipticCurvePrivateKey):
            raise ValueError(_KIND)
        _checked(private.public_key())
    except TypeError as e:  # what the library raises for a key that needs a password
        raise ConfigError(
            f"{shown(path)} needs a password, and is read without one: write it anew with `openssl pkey`."
        ) from e
    except (ValueError, UnsupportedAlgorithm) as e:
        raise ConfigError(
            f"{shown(path)} is not a private key that can sign ({_reason(e)}): make one with "
            "`openssl ecparam -name prime256v1 -genkey -noout -out key.pem`."
        ) from e
    _check_private(path, mode)
    return Signer(private)


def own_signer() -> Signer:
    """The user's own key, made at first use.

    Raises StorageError where it cannot be kept, ConfigError where another key has its public half's place, else as
    load_signer.
    """
    path = made_once(PRIVATE, _make)
    signer, public = load_signer(path), path.with_name(PUBLIC)
    found = _public_half(public)
    if found not in (b"", signer.key.pem):
        raise ConfigError(_another(public))
    if not found:
        with suppress(StorageError):
            write_atomic(public, signer.key.pem)
    return signer


def _public_half(path: Path) -> bytes:
    """What the file of a public key holds, with a line's end as this system writes it; nothing where it is missing."""
    return b"" if find_kind(path) is None else read_file(path, limit=_LIMIT).replace(b"\r\n", b"\n")


def _another(path: Path) -> str:
    return (
        f"{shown(path)}: this is not the public half of {PRIVATE} beside it: move it elsewhere, and name it there with "
        "--trust if it is a key that you trust."
    )


def own_key() -> Key | None:
    """The user's own public key; None before its first use."""
    path = config_folder() / PRIVATE
    return None if find_kind(path) is None else load_signer(path).key


def believed(keys: Sequence[Key]) -> list[Key]:
    """The keys that are trusted: those that were named, else the user's own, where this machine has it."""
    return list(keys) or [key for key in (own_key(),) if key is not None]


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A file of that name in the user's folder, which `make` has written at first use.

    Raises StorageError where it cannot be kept.
    """
    path = config_folder() / name
    if find_kind(path) is None:
        with storage(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path.with_name(f".{name}.lock")):
            if find_kind(path) is None:
                make(path)
    return path


def config_folder() -> Path:
    """The folder EDGERKD_CONFIG, else `~/.config/edgerkd`."""
    return own_folder("EDGERKD_CONFIG", "~/.config/edgerkd")


def read_private(path: Path) -> bytes:
    """A file that its owner alone may read. Raises ConfigError for one that others may."""
    content, mode = _read(path)
    _check_private(path, mode)
    return content


def _check_private(path: Path, mode: int) -> None:
    if mode & 0o077:
        raise ConfigError(f"{shown(path)}: others may use this key (mode {mode:04o}): `chmod 600 {shown(path)}`.")


def _make(path: Path) -> None:
    """Both halves; none where another public key has the place of ours, which somebody may trust."""
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric import ec

    if _public_half(path.with_name(PUBLIC)):
        raise ConfigError(_another(path.with_name(PUBLIC)))
    private = ec.generate_private_key(ec.SECP256R1())
    content = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomic(path, content, mode=0o600)
    write_atomic(path.with_name(PUBLIC), Key(private.public_key()).pem)


def _checked(public: object) -> Key:
    """Raises ValueError for a key of another kind or curve."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if not isinstance(public, EllipticCurvePublicKey) or public.curve.name not in _CURVES:
        raise ValueError(_KIND)
    return Key(public)


def _serialization() -> ModuleType:
    """The library's module for key files. Raises MissingDependencyError where it is not installed."""
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as e:
        raise MissingDependencyError(
            "Keys and signatures need cryptography, which is not installed: pip install 'edgerkd[sign]'"
        ) from e
    return serialization


def _read(path: Path) -> tuple[bytes, int]:
    """What a file holds and its permissions. It is the open file that is asked, not its name."""
    with open_file(path, limit=_LIMIT) as file:
        return file.read(), os.fstat(file.fileno()).st_mode & 0o777


def _ecdsa(size: int) -> "ECDSA":
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return ECDSA({256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[size])


def _reason(e: Exception) -> str:
    """The library's first sentence."""
    return str(e).partition(".")[0].partition("\n")[0][:120] or type(e).__name__
