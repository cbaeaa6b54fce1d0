"""When and with what this verification is made."""

import platform
from datetime import datetime, timezone
from importlib.metadata import version

from edgerkd import __version__
from edgerkd.core.circumstances import Circumstances
from edgerkd.core.requirement import Requirement


def circumstances(asked: Requirement, power_mode: str | None) -> Circumstances:
    """Those of now; the backend's version is the engine's own fact."""
    return Circumstances(
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions={"edgerkd": __version__, "python": platform.python_version(), "numpy": version("numpy")},
        power_mode=power_mode,
        asked=asked,
    )
