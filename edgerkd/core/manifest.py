"""The index of a bundle: what is in it, what it is, and what the host measured."""

from dataclasses import dataclass, field

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture, Cost
from edgerkd.core.profile import Profile
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel

SCHEMA = 1

STUDENT_ONNX = "student.onnx"
TWIN_ONNX = "twin.onnx"
REPLAY = "replay.npz"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry(Record):
    """One file of the bundle."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult(Record):
    """What the host measured on the replay set's images with the student in float32, and the teacher."""

    clean_acc: Accuracy
    robust_acc: Accuracy
    teacher_clean_acc: Accuracy
    teacher_robust_acc: Accuracy
    attack: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Record):
    """Everything a device needs to know about a bundle, and the digest of each of its files."""

    schema: int
    name: str
    dataset: str
    precision: str
    opset: int
    architecture: Architecture
    cost: Cost
    threat_model: ThreatModel
    profile: Profile
    host: HostResult
    versions: dict[str, str]
    files: dict[str, FileEntry] = field(default_factory=dict[str, FileEntry])
