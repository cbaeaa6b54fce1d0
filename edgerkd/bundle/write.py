"""Writing a bundle: all of it or nothing."""

from dataclasses import replace
from pathlib import Path

from edgerkd.bundle.replay import ReplaySet, replay_bytes
from edgerkd.core.manifest import MANIFEST, REPLAY, STUDENT_ONNX, TWIN_ONNX, FileEntry, Manifest
from edgerkd.files.atomic import folder_atomic, sha256_of, write_atomic
from edgerkd.files.decode import encode_json


def write_bundle(folder: Path, *, student: bytes, twin: bytes, replay: ReplaySet, manifest: Manifest) -> Manifest:
    """Write the two graphs, the replay set and the manifest, which gets the digest of each of them.

    An old bundle in `folder` is replaced only once the new one is complete. Returns the manifest written.
    """
    with folder_atomic(folder) as new:
        files: dict[str, FileEntry] = {}
        for name, content in ((STUDENT_ONNX, student), (TWIN_ONNX, twin), (REPLAY, replay_bytes(replay))):
            write_atomic(new / name, content)
            files[name] = FileEntry(size=len(content), sha256=sha256_of(new / name))
        complete = replace(manifest, files=files)
        write_atomic(new / MANIFEST, encode_json(complete))
    return complete
