"""Reading a bundle: every digest is checked before anything in it is used."""

from dataclasses import dataclass
from pathlib import Path

from edgerkd.bundle.replay import ReplaySet, read_replay
from edgerkd.core.errors import ArtefactError, problems_text
from edgerkd.core.manifest import MANIFEST, REPLAY, STUDENT_ONNX, TWIN_ONNX, FileEntry, Manifest
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json
from edgerkd.files.paths import find_kind, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose files are all there and unchanged."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of the manifest, and so of everything."""

    @property
    def student(self) -> Path:
        return self.path / STUDENT_ONNX

    @property
    def twin(self) -> Path:
        return self.path / TWIN_ONNX

    def replay(self) -> ReplaySet:
        """The replay set. Raises ArtefactError where it does not fit the manifest."""
        replay = read_replay(self.path / REPLAY)
        shape, classes = self.manifest.architecture.image_shape, self.manifest.architecture.classes
        if replay.images.shape[1:] != shape or replay.logits.shape[1:] != (classes,):
            raise ArtefactError(
                f"{self.path / REPLAY}: images {replay.images.shape[1:]} and {replay.logits.shape[1:]} logits "
                f"do not fit the manifest's {shape} and {classes} classes"
            )
        return replay


def read_bundle(path: Path) -> Bundle:
    """Raises ArtefactError, all problems at once, for a missing, truncated or changed file."""
    manifest_path = path / MANIFEST
    if find_kind(manifest_path, error=ArtefactError) is None:
        raise ArtefactError(
            f"{shown(path)} is not a bundle, for {MANIFEST} is missing there: make one with `edgerkd export`."
        )
    manifest = decode_json(Manifest, manifest_path)
    problems = [
        f"{name}: not listed in the manifest"
        for name in (STUDENT_ONNX, TWIN_ONNX, REPLAY)
        if name not in manifest.files
    ]
    problems += [problem for name, entry in manifest.files.items() if (problem := _problem(path, name, entry))]
    if len(manifest.classes) != manifest.architecture.classes:
        named, has = len(manifest.classes), manifest.architecture.classes
        problems.append(f"{MANIFEST}: names {named} classes, and its network has {has}")
    if problems:
        raise ArtefactError(
            problems_text(shown(path), problems) + "\ncopy the bundle again, or make it anew with `edgerkd export`"
        )
    return Bundle(path=path, manifest=manifest, sha256=sha256_of(manifest_path, error=ArtefactError))


def _problem(path: Path, name: str, entry: FileEntry) -> str | None:
    """What is wrong with one file that the manifest lists."""
    file = path / name
    if Path(name).name != name or name in ("", ".", ".."):
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
