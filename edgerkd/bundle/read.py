"""Reading a bundle: every digest is checked before anything in it is used."""

from dataclasses import dataclass
from pathlib import Path

from edgerkd.bundle.replay import ReplaySet, read_replay
from edgerkd.core.errors import ArtefactError, problems_text
from edgerkd.core.manifest import MANIFEST, REPLAY, SCHEMA, STUDENT_ONNX, TWIN_ONNX, Manifest
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json


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
    if not manifest_path.is_file():
        raise ArtefactError(f"{manifest_path}: missing: {path} is not a bundle; make one with `edgerkd export`")
    manifest = decode_json(Manifest, manifest_path)
    if manifest.schema != SCHEMA:
        raise ArtefactError(f"{manifest_path}: schema {manifest.schema}, this edgerkd reads {SCHEMA}: export again")
    problems = [
        f"{name}: not listed in the manifest"
        for name in (STUDENT_ONNX, TWIN_ONNX, REPLAY)
        if name not in manifest.files
    ]
    for name, entry in manifest.files.items():
        file = path / name
        if Path(name).name != name:
            problems.append(f"{name}: not a plain file name")
        elif not file.is_file():
            problems.append(f"{name}: missing")
        elif file.stat().st_size != entry.size:
            problems.append(
                f"{name}: {file.stat().st_size} bytes, the manifest says {entry.size}: truncated or changed"
            )
        elif (digest := sha256_of(file)) != entry.sha256:
            problems.append(f"{name}: SHA-256 {digest[:12]}..., the manifest says {entry.sha256[:12]}...: changed")
    if problems:
        raise ArtefactError(
            problems_text(path, problems) + "\ncopy the bundle again, or make it anew with `edgerkd export`"
        )
    return Bundle(path=path, manifest=manifest, sha256=sha256_of(manifest_path))
