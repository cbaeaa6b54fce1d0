"""Signatures in the form of OpenSSF Model Signing 1.0, which `model_signing verify key` checks as well.

A Sigstore bundle (JSON) holds a DSSE envelope, which holds an in-toto statement with the SHA-256 of every file. What is
signed is DSSE's encoding of the statement's very bytes, and only these bytes are read afterwards. Sources: OpenSSF
Model Signing Specification 1.0, sections 4 to 8; DSSE Protocol 1.0.2, "Signature Definition".

Beside the key's fingerprint we write the key itself (`rawBytes`), so that a signature by a key that nobody here knows
can still be told from a broken one.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgerkd.bundle.keys import Key, Signer, key_from_der
from edgerkd.core.errors import ArtefactError
from edgerkd.files.damage import DAMAGE
from edgerkd.files.paths import read_file, shown

SIGNATURE = "model.sig"
LIMIT = 64 << 20
"""Bytes of a signature: one of a report holds the report (files/paths.py, TEXT_LIMIT)."""
_MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
IGNORED = (".git", ".gitattributes", ".github", ".gitignore")
"""What lies in a folder without being part of the model. Source: the specification, section 6.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature as it was read. `key` is the fingerprint that it names.

    `files` are the digests that it vouches for, by name, and None where the key that it names is not here, so that
    nothing can be said of it. `contents` are what it holds itself, by name.
    """

    key: str
    files: Mapping[str, str] | None
    contents: Mapping[str, bytes]


def sign(name: str, files: Mapping[str, str], signer: Signer, contents: Mapping[str, bytes] | None = None) -> str:
    """The text of a signature of files, by name with their SHA-256. `contents` are kept in it, whole."""
    kept = contents or {}
    resources = [
        {"name": each, "algorithm": "sha256", "digest": files[each]}
        | ({"content": _encoded(kept[each])} if each in kept else {})
        for each in sorted(files)
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(files[each]) for each in sorted(files))).hexdigest()
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [*IGNORED]}
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": serialization, "resources": resources},
    }
    payload = json.dumps(statement, sort_keys=True).encode()
    key = signer.key
    bundle = {
        "mediaType": _MEDIA,
        "verificationMaterial": {"publicKey": {"hint": key.fingerprint, "rawBytes": _encoded(key.der)}},
        "dsseEnvelope": {
            "payload": _encoded(payload),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": _encoded(signer.sign(_encoding(payload))), "keyid": ""}],
        },
    }
    return json.dumps(bundle, indent=2) + "\n"


def read_signature(path: Path, keys: Sequence[Key]) -> Signed:
    """The signature in a file, checked by the one of the `keys` that it names, else by the key that it brings.

    Raises ArtefactError for what is no signature, or one that its key did not make.
    """
    content = read_file(path, limit=LIMIT, error=ArtefactError)
    try:
        hint, brought, payload, signature = _parts(json.loads(content))
        key = next((key for key in keys if key.fingerprint == hint), None)
        if key is None and brought is not None:
            key = key_from_der(brought)
    except DAMAGE as e:
        raise ArtefactError(f"{shown(path)}: this is not a signature in the form of OpenSSF model signing.") from e
    if key is None:
        return Signed(key=hint, files=None, contents={})
    if key.fingerprint != hint:
        raise ArtefactError(f"{shown(path)}: it names the key {hint} and brings another, {key.fingerprint}.")
    if not key.signed(_encoding(payload), signature):
        raise ArtefactError(
            f"{shown(path)}: the signature is not one of the key {hint}: it, or what was signed, has been changed."
        )
    try:
        files, contents = _files(json.loads(payload))
    except DAMAGE as e:
        raise ArtefactError(f"{shown(path)}: what the key {hint} signed is no list of files' SHA-256.") from e
    return Signed(key=hint, files=files, contents=contents)


def _parts(bundle: Any) -> tuple[str, bytes | None, bytes, bytes]:  # Any: whatever JSON holds
    """Fingerprint, key, payload and signature. Raises what DAMAGE lists where any is not as it must be."""
    material, envelope = bundle["verificationMaterial"]["publicKey"], bundle["dsseEnvelope"]
    (signature,) = envelope["signatures"]
    hint, raw = material["hint"], material.get("rawBytes")
    if bundle["mediaType"] != _MEDIA or envelope["payloadType"] != _PAYLOAD or not re.fullmatch("[0-9a-f]{64}", hint):
        raise ValueError("another form")
    return hint, None if raw is None else _decoded(raw), _decoded(envelope["payload"]), _decoded(signature["sig"])


def _files(statement: Any) -> tuple[dict[str, str], dict[str, bytes]]:  # Any: whatever JSON holds
    """The digests by name, and the contents. Raises what DAMAGE lists where the statement says something else."""
    predicate = statement["predicate"]
    resources = predicate["resources"]
    form = (statement["_type"], statement["predicateType"], predicate["serialization"]["method"])
    files = {each["name"]: each["digest"] for each in resources}
    if form != (_STATEMENT, _PREDICATE, "files") or len(files) != len(resources):
        raise ValueError("another form")
    if any(each["algorithm"] != "sha256" for each in resources):
        raise ValueError("another hash")
    return files, {each["name"]: _decoded(each["content"]) for each in resources if "content" in each}


def _encoding(payload: bytes) -> bytes:
    """What is really signed: DSSE's pre-authentication encoding, which fixes the kind of the payload, too."""
    return f"DSSEv1 {len(_PAYLOAD)} {_PAYLOAD} {len(payload)} ".encode() + payload


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
