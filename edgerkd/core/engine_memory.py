"""What a deployed network takes of memory: measured, beside what is counted."""

from dataclasses import dataclass

from edgerkd.core.ranges import Amount, Count
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory(Record):
    """Bytes that the engine took at most, from before it was opened until it had answered batches of `batch` images.

    `process` is resident memory of its process, `device` memory of a GPU; None where the system does not tell. With
    `gpu` it runs on one, whose memory is the one that counts: what is beside it there is the runtime's libraries.
    `counted` is the bundle's figure, of weights and activations in float32.
    """

    batch: Count
    counted: Count
    gpu: bool
    process: Amount | None = None
    device: Amount | None = None

    @property
    def measured(self) -> int | None:
        """What the network takes where it runs."""
        return self.device if self.gpu else self.process
