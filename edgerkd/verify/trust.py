"""What the verifier knows of a bundle beside its own word: who signed it, and whether it is the one expected."""

from collections.abc import Mapping, Sequence

from edgerkd.bundle.keys import Key, believed, can_sign
from edgerkd.bundle.read import Bundle
from edgerkd.bundle.signature import SIGNATURE, read_signature
from edgerkd.core.errors import ArtefactError, problems_text
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.trust import Trust
from edgerkd.core.verification import Verdict
from edgerkd.files.paths import find_kind, shown


def trust_in(bundle: Bundle, *, keys: Sequence[Key] = (), sha256: str | None = None) -> Trust:
    """The grounds there are: signed by one of the `keys`, and the manifest's digest is `sha256`.

    Without `keys` the user's own key is trusted, where this machine has it. Raises ArtefactError where the bundle is
    signed by another key than those, or by none, where its signature is not right, and where its digest is another.
    """
    if sha256 is not None and sha256.lower() != bundle.sha256:
        raise ArtefactError(
            f"{shown(bundle.path)}: the manifest's SHA-256 is {bundle.sha256}, and {sha256} was expected: this is "
            "another bundle, or it has been changed."
        )
    found = _signed(bundle, keys)
    return found if sha256 is None else found.resting_on("sha256")


def backed(verdict: Verdict, trust: Trust) -> Verdict:
    """A pass that nothing but the bundle's own word backs is no pass."""
    return "pass as claimed" if verdict == "pass" and not trust.grounds else verdict


def _signed(bundle: Bundle, keys: Sequence[Key]) -> Trust:
    path = bundle.path / SIGNATURE
    if find_kind(path, error=ArtefactError) is None:
        if keys:
            raise ArtefactError(f"{shown(bundle.path)}: this bundle is not signed, and --trust asks for a signature.")
        return Trust()
    if not can_sign():
        return Trust(signature="unchecked")
    trusted_keys = believed(keys)
    signed = read_signature(path, trusted_keys)
    if signed.files is not None:
        _check_files(bundle, signed.key, signed.files)
    trusted = {key.fingerprint for key in trusted_keys}
    if keys and signed.key not in trusted:
        raise ArtefactError(
            f"{shown(bundle.path)}: this bundle is signed by the key {signed.key}, and --trust names "
            f"{', '.join(sorted(trusted))}."
        )
    found = Trust(signature="unchecked" if signed.files is None else "valid", key=signed.key)
    return found.resting_on("signature") if signed.key in trusted else found


def _check_files(bundle: Bundle, key: str, signed: Mapping[str, str]) -> None:
    """Raises ArtefactError where the signature is of other files than the bundle's."""
    there = {name: entry.sha256 for name, entry in bundle.manifest.files.items()} | {MANIFEST: bundle.sha256}
    problems = [f"{shown(name)}: not signed" for name in sorted(there.keys() - signed.keys())]
    problems += [f"{shown(name)}: signed, and not there" for name in sorted(signed.keys() - there.keys())]
    both = sorted(there.keys() & signed.keys())
    problems += [f"{shown(name)}: not what was signed" for name in both if there[name] != signed[name]]
    if problems:
        raise ArtefactError(problems_text(f"{shown(bundle.path)}: signed by the key {key}", problems[:10]))
