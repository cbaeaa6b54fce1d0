"""What is known of a teacher."""

from dataclasses import dataclass

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherCard(Record):
    """A teacher in the cache. `origin` says where it came from; accuracies are on the `val` split named there.

    `weights_sha256` is of the weights as they are kept, `source_sha256` of the file they were imported from.
    """

    schema: int
    name: str
    dataset: str
    data_sha256: str
    origin: str
    architecture: Architecture
    threat_model: ThreatModel
    n: int
    clean_acc: Accuracy
    robust_acc: Accuracy
    weights_sha256: str
    source_sha256: str | None = None
