"""Whether a verification is about the device of its profile."""

from edgerkd.core.engine import Engine
from edgerkd.core.profile import Profile
from edgerkd.core.verification import Target


def target_of(profile: Profile | None, engine: Engine) -> Target | None:
    """The profile's device, and whether this is its own backend on a device like it, as far as can be told.

    A GPU is known by its compute capability, which other devices share: the report names the device.
    """
    if profile is None:
        return None
    device, capability = engine.device, profile.device.compute_capability
    if capability is not None:
        alike = device.capability == capability
    else:
        soc = profile.device.soc.split(",")[0].replace("-", "_")
        alike = soc in (f"{device.name} {device.machine}").replace("-", "_")
    own = profile.backends[0]
    return Target(profile=profile.name, title=profile.title, backend=own, reached=alike and engine.backend == own)
