"""Reading a bundle: every digest is checked before anything in it is used."""

from dataclasses import dataclass
from pathlib import Path

from edgerkd.bundle.samples import Reference, StoredSamples, fit_problems, read_reference, read_samples
from edgerkd.bundle.signature import IGNORED, SIGNATURE
from edgerkd.core.errors import ArtefactError, ConfigError, problems_text
from edgerkd.core.manifest import MANIFEST, FileEntry, Manifest
from edgerkd.core.variant import Variant
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json
from edgerkd.files.paths import check_folder, find_kind, shown

_ANEW = "copy the bundle again, or make it anew with `edgerkd export` or `edgerkd bundle`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose files are all there and unchanged."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of the manifest, and so of everything."""

    @property
    def key(self) -> str:
        """What engines and reports are filed under."""
        return bundle_key(self.path, self.sha256)

    def samples(self, variant: Variant) -> tuple[StoredSamples, Reference]:
        """The samples, with a variant's reference logits. Raises ArtefactError where they do not fit the model."""
        samples = read_samples(self.path / self.manifest.samples)
        stored, named = 0 if samples.transfers is None else len(samples.transfers), len(self.manifest.origins)
        if stored != named:
            problem = f"images made against {stored} other networks, and the manifest names {named}"
            raise ArtefactError(f"{problems_text(self.path / self.manifest.samples, [problem])}\n{_ANEW}")
        return samples, self.reference(variant, samples)

    def reference(self, variant: Variant, samples: StoredSamples) -> Reference:
        """A variant's reference logits for these samples. Raises ArtefactError as `samples` does."""
        reference = read_reference(self.path / variant.reference)
        model = self.manifest.model
        host = variant.precision == "fp32"
        if problems := fit_problems(samples, reference, model.image_shape, len(model.classes), host=host):
            raise ArtefactError(f"{problems_text(self.path / self.manifest.samples, problems)}\n{_ANEW}")
        return reference


def bundle_key(path: Path, sha256: str) -> str:
    """A bundle's name, which is its folder's, and the beginning of its digest."""
    return f"{path.resolve().name}-{sha256[:12]}"


def read_bundle(path: Path) -> Bundle:
    """Raises ConfigError where nothing is there, ArtefactError, with all problems, for missing and changed files."""
    if find_kind(path, error=ArtefactError) is None:
        raise ConfigError(f"{shown(path)}: there is no such bundle: `edgerkd export` or `edgerkd bundle` makes one.")
    manifest_path = path / MANIFEST
    if find_kind(manifest_path, error=ArtefactError) is None:
        inside = sorted(each.parent for each in path.glob(f"*/{MANIFEST}"))
        cure = (
            f"name one of those in it, such as {shown(inside[0])}."
            if inside
            else "make one with `edgerkd export`, or from a network of your own with `edgerkd bundle`."
        )
        raise ArtefactError(f"{shown(path)} is not a bundle, for {MANIFEST} is missing there: {cure}")
    manifest = decode_json(Manifest, manifest_path)
    needed = [manifest.samples, *(name for variant in manifest.variants for name in variant.files)]
    problems = [f"{name}: not listed in the manifest" for name in needed if name not in manifest.files]
    problems += [problem for name, entry in manifest.files.items() if (problem := _problem(path, name, entry))]
    problems += _unlisted(path, manifest)
    names = [variant.name for variant in manifest.variants]
    problems += [f"{MANIFEST}: the variant {name}: not a plain name" for name in names if not _is_plain(name)]
    problems += [f"{MANIFEST}: names the variant {name} twice" for name in {n for n in names if names.count(n) > 1}]
    if manifest.host is None:
        problems.append(f"{MANIFEST}: variants: none is fp32, by which what the others claim is checked")
    if problems:
        raise ArtefactError(f"{problems_text(shown(path), problems)}\n{_ANEW}")
    return Bundle(path=path, manifest=manifest, sha256=sha256_of(manifest_path, error=ArtefactError))


def _unlisted(path: Path, manifest: Manifest) -> list[str]:
    """What lies in the folder and has no digest: a graph could take its weights from there."""
    check_folder(path, error=ArtefactError)
    known = {*manifest.files, MANIFEST, SIGNATURE, *IGNORED}
    return [
        f"{shown(each.name)}: not listed in the manifest: remove it"
        for each in path.iterdir()
        if each.name not in known
    ]


def _is_plain(name: str) -> bool:
    """Whether a name can only be that of something in the folder it is looked for in."""
    return Path(name).name == name and name not in ("", ".", "..")


def _problem(path: Path, name: str, entry: FileEntry) -> str | None:
    """What is wrong with one file that the manifest lists."""
    file = path / name
    if not _is_plain(name):
        return f"{name}: not a plain file name"
    kind = find_kind(file, error=ArtefactError)
    if kind != "a file":
        return f"{name}: missing" if kind is None else f"{name}: this is {kind}"
    size = file.stat().st_size
    if size != entry.size:
        return f"{name}: {size} bytes, the manifest says {entry.size}: truncated or changed"
    digest = sha256_of(file, error=ArtefactError)
    if digest != entry.sha256:
        return f"{name}: SHA-256 {digest[:12]}..., the manifest says {entry.sha256[:12]}...: changed"
    return None
