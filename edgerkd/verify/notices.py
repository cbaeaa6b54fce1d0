"""What to know of a verification's images, radius and engine, beside its attacks."""

from edgerkd.attacks.flag_kinds import NEARER, NO_HALF, REPEATED, STORED
from edgerkd.core.engine import BuildLog, Engine
from edgerkd.core.flag import Flag
from edgerkd.core.judged_samples import JudgedSamples
from edgerkd.core.units import Radius


def notices_of(
    judged: JudgedSamples, *, eps: Radius, of_bundle: Radius, engine: Engine, log: BuildLog
) -> tuple[Flag, ...]:
    """Repeated images, some that the bundle has too, a smaller radius than its own (`of_bundle`), fp16 without half."""
    found: list[Flag] = []
    if judged.repeated:
        whose = "of the bundle" if judged.source == "bundle" else f"of {judged.data}"
        found.append(REPEATED.raised(repeated=judged.repeated, whose=whose, n=judged.n))
    if judged.stored:
        found.append(STORED.raised(stored=judged.stored, n=judged.n))
    if eps < of_bundle:
        found.append(NEARER.raised(eps=str(eps), bundle=str(of_bundle)))
    if engine.precision == "fp16" and not _has_half(engine, log):
        found.append(NO_HALF.raised(machine=engine.device.machine or "unknown", backend=engine.backend))
    return tuple(found)


def _has_half(engine: Engine, log: BuildLog) -> bool:
    """Whether halves are computed with: as the build says, or anywhere but on x86 CPUs.

    There ONNX Runtime casts each half to float32 (docs/measured/precision.md).
    """
    if log.arithmetic is not None:
        return log.arithmetic == "fp16"
    return engine.device.machine != "x86_64" or engine.device.kind != "cpu"
