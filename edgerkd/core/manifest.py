"""The index of a bundle: what is in it, what it is, and what the host measured."""

from dataclasses import dataclass, field
from typing import Annotated

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture, Cost
from edgerkd.core.data_request import Preprocessing
from edgerkd.core.profile import Profile
from edgerkd.core.ranges import Amount, Length, Name, Sha256, Within
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel

STUDENT_ONNX = "student.onnx"
TWIN_ONNX = "twin.onnx"
REPLAY = "replay.npz"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry(Record):
    """One file of the bundle."""

    size: Amount
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult(Record):
    """What the host measured on the replay set's images with the student in float32, and the teacher."""

    clean_acc: Accuracy
    robust_acc: Accuracy
    teacher_clean_acc: Accuracy
    teacher_robust_acc: Accuracy
    attack: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Record):
    """Everything a device needs to know about a bundle, and the digest of each of its files.

    `classes` are the names of the logits, in order; `preprocessing` is what pictures need before they are images.
    """

    SCHEMA = 1

    name: Name
    dataset: Name
    classes: Annotated[tuple[Name, ...], Length(2)]
    preprocessing: Preprocessing
    precision: Name
    opset: Annotated[int, Within(7, 30)]
    architecture: Architecture
    cost: Cost
    threat_model: ThreatModel
    profile: Profile
    host: HostResult
    versions: dict[str, str]
    files: dict[str, FileEntry] = field(default_factory=dict[str, FileEntry])
