"""Facts of an engine: what built it, and the device it runs on."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.precision import Precision
from edgerkd.core.ranges import Count, Name, Positive, Sha256
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRecord(Record):
    """Where an engine runs. `capability` is a GPU's compute capability, like 8.7; `machine` a CPU's, like x86_64.

    `multiprocessors` are those of a GPU that are switched on: a Jetson's power mode decides how many.
    """

    kind: Literal["cpu", "gpu"]
    name: Name
    machine: Name | None = None
    capability: Name | None = None
    multiprocessors: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCount(Record):
    """How many layers of a kind, such as CONVOLUTION, compute in a precision, such as int8."""

    kind: Name
    precision: Name
    count: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLog(Record):
    """What was decided while building. None: nothing was, the graph is the engine.

    `version` is the builder's, in as many parts as the engine names, and `device` what it built on. `typing` is whether
    each layer has the type the graph says ("strong"), or was told it one by one among `precisions` ("weak"); `fallback`
    is why the former failed. `layers` are those with weights, as the finished engine says it where that could be asked
    (`layers_from`), else as the library read the graph. `arithmetic` is what layers that are not int8 are computed in,
    where that depends on the processor. `timing_cache` is the digest of the measurements that this build left for the
    next.
    """

    version: Name | None = None
    device: DeviceRecord | None = None
    max_batch: Count | None = None
    tf32: bool | None = None
    typing: Literal["strong", "weak"] | None = None
    precisions: tuple[Name, ...] = ()
    fallback: str | None = None
    layers: tuple[LayerCount, ...] = ()
    layers_from: Literal["engine", "network"] | None = None
    arithmetic: Precision | None = None
    workspace_bytes: Count | None = None
    timing_cache: Sha256 | None = None
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
