"""Whether a verification is about the device of its profile."""

from edgerkd.core.engine import DeviceRecord, Engine
from edgerkd.core.profile import Device, Profile
from edgerkd.core.verification import Target


def target_of(profile: Profile | None, engine: Engine) -> Target | None:
    """The profile's device, and whether this is its own backend on a device like it, as far as can be told.

    A GPU is known by its compute capability and by how many SMs are switched on, where that is known. Others may have
    the same: the report names the device. The power mode is told while latency is measured: see `Target.verified`.
    """
    if profile is None:
        return None
    own = profile.backends[0]
    return Target(
        profile=profile.name,
        title=profile.title,
        backend=own,
        reached=engine.backend == own and _alike(profile.device, engine.device),
        sms=profile.device.sms,
        power_mode=profile.device.power_mode,
    )


def _alike(wanted: Device, found: DeviceRecord) -> bool:
    if wanted.compute_capability is not None:
        same = found.capability == wanted.compute_capability
    else:
        soc = wanted.soc.split(",")[0].replace("-", "_")
        same = soc in (f"{found.name} {found.machine}").replace("-", "_")
    known = wanted.sms is not None and found.multiprocessors is not None
    return same and (not known or found.multiprocessors == wanted.sms)
