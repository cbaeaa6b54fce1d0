"""Reports that their maker answers for, and whether one is still what it was.

The signature lies beside the report, `.sig` after its name, in the form of a bundle's (bundle/signature.py). It holds
the report as it was signed, so that a change is named by its key.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from edgerkd.bundle.kept import kept_path
from edgerkd.bundle.keys import Key, Signer, believed, can_sign
from edgerkd.bundle.read import Bundle
from edgerkd.bundle.signature import Signed, read_signature, sign
from edgerkd.core.errors import ArtefactError, ConfigError, problems_text
from edgerkd.core.text import printable
from edgerkd.core.verification import Verdict, VerifyReport
from edgerkd.files.atomic import write_together
from edgerkd.files.damage import DAMAGE
from edgerkd.files.decode import decode_json, decode_plain, encode_json, plain
from edgerkd.files.paths import TEXT_LIMIT, find_kind, read_file, shown
from edgerkd.verify.recheck import kept_of, kept_problems, problems_of
from edgerkd.verify.recheck_bundle import bundle_problems

SUFFIX = ".sig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A report that holds, signed by the key of this fingerprint, which is trusted here or not."""

    report: VerifyReport
    key: str
    trusted: bool

    @property
    def verdict(self) -> Verdict:
        """Its own; a pass by somebody unknown is only claimed."""
        return "pass as claimed" if self.report.verdict == "pass" and not self.trusted else self.report.verdict


def signature_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{SUFFIX}")


def write_report(path: Path, report: VerifyReport, signer: Signer | None) -> None:
    """The report, and its signature where there is a signer; an earlier signature never stands beside a new report."""
    content = encode_json(report).encode()
    files: dict[Path, bytes | str] = {path: content}
    if signer is None:
        signature_of(path).unlink(missing_ok=True)
    else:
        digest = hashlib.sha256(content).hexdigest()
        files[signature_of(path)] = sign(path.name, {path.name: digest}, signer, {path.name: content})
    write_together(files)


def check_report(path: Path, bundle: Bundle | None, keys: Sequence[Key]) -> Checked:
    """The report, where it is as it was signed, its verdict follows from its figures, and it is about the bundle.

    Its figures must follow from the file of its images, too, where that lies beside it.
    Without `keys` the user's own key is trusted. Raises ConfigError where there is no such file, ArtefactError with all
    that does not hold, by its key.
    """
    if find_kind(path) is None:
        raise ConfigError(f"{shown(path)}: there is no such file: name a report of `edgerkd verify`.")
    report = decode_json(VerifyReport, path)
    trusted_keys = believed(keys)
    signature = signature_of(path)
    if find_kind(signature, error=ArtefactError) is None:
        raise ArtefactError(
            f"{shown(path)}: nobody signed this report, for {shown(signature.name)} is missing beside it: copy it too."
        )
    signed = read_signature(signature, trusted_keys)
    trusted = signed.key in {key.fingerprint for key in trusted_keys}
    if signed.files is None or (keys and not trusted):
        raise ArtefactError(f"{shown(path)}: signed by the key {signed.key}, which is not one that --trust names.")
    _check_as_signed(path, report, signed)
    images = kept_path(path)
    problems = [*problems_of(report), *kept_problems(report, images)]
    problems += [] if bundle is None else bundle_problems(report, bundle, kept_of(report, images))
    if problems:
        raise ArtefactError(problems_text(f"{shown(path)}, signed by the key {signed.key}", problems[:10]))
    return Checked(report=report, key=signed.key, trusted=trusted)


def check_unchanged(path: Path) -> str | None:
    """The fingerprint of the key that signed the report at `path` as it is there; None where nobody did, or where this
    machine cannot check it.

    For who reads a report without being asked whom they trust. Raises ArtefactError where it is not as it was signed.
    """
    report, signature = decode_json(VerifyReport, path), signature_of(path)
    if not can_sign() or find_kind(signature, error=ArtefactError) is None:
        return None
    signed = read_signature(signature, believed(()))
    if signed.files is None:
        return None
    _check_as_signed(path, report, signed)
    return signed.key


def _check_as_signed(path: Path, report: VerifyReport, signed: Signed) -> None:
    """Raises ArtefactError with what is not as it was signed."""
    if len(signed.contents) != 1:
        raise ArtefactError(f"{shown(signature_of(path))}: this is not the signature of one report.")
    (content,) = signed.contents.values()
    if changes := _changes(content, path, report):
        raise ArtefactError(problems_text(f"{shown(path)}: changed since the key {signed.key} signed it", changes[:10]))


def _changes(content: bytes, path: Path, report: VerifyReport) -> list[str]:
    """What is in the report and not in the `content` that was signed, by its key."""
    if read_file(path, limit=TEXT_LIMIT, error=ArtefactError) == content:
        return []
    try:
        signed = decode_plain(VerifyReport, json.loads(content), signature_of(path))
    except DAMAGE as e:
        raise ArtefactError(f"{shown(signature_of(path))}: what was signed is no report.") from e
    was, now = _leaves(plain(signed)), _leaves(plain(report))
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    return [f"{key}: {now.get(key, 'nothing')} is there, {was.get(key, 'nothing')} was signed" for key in keys] or [
        "its text, though it says the same"
    ]


def _leaves(data: Any, key: str = "") -> dict[str, str]:  # Any: whatever JSON holds
    """Every value as JSON, by its key, such as `rows.0.robust_acc.value`."""
    items: Iterable[tuple[object, Any]] = ()
    if isinstance(data, dict):
        items = cast("dict[str, Any]", data).items()
    elif isinstance(data, list):
        items = enumerate(cast("list[Any]", data))
    found: dict[str, str] = {}
    for name, value in items:
        found |= _leaves(value, f"{key}.{name}".lstrip("."))
    return found or {key: printable(json.dumps(data), 80)}
