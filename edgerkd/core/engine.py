"""Facts of an engine: what built it, and the device it runs on."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.precision import Precision
from edgerkd.core.ranges import Count, Name, Positive, Sha256
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRecord(Record):
    """Where an engine runs. `capability` is a GPU's compute capability, like 8.7; `machine` a CPU's, like x86_64."""

    kind: Literal["cpu", "gpu"]
    name: Name
    machine: Name | None = None
    capability: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLog(Record):
    """What was decided while building. None: nothing was, the graph is the engine.

    `typing` is whether each layer has the type the graph says ("strong"), or one of `precisions` that the builder
    chose; `fallback` is why the former failed.
    """

    max_batch: Count | None = None
    tf32: bool | None = None
    typing: Literal["strong", "weak"] | None = None
    precisions: tuple[Name, ...] = ()
    fallback: str | None = None
    seconds: Positive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(Record):
    """The thing that was attacked: `version` is the backend's, `sha256` of the engine's own file."""

    backend: Name
    version: Name
    device: DeviceRecord
    variant: Name
    precision: Precision
    sha256: Sha256
