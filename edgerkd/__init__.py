"""edgerkd: robust students for edge devices, distilled, exported and attacked on the device itself."""

import os
from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for true; importing typing would take longer than all else here
if TYPE_CHECKING:
    from edgerkd.api import attack, distill_student, make_bundle, read_report, verify_bundle

__version__ = "0.1.0"

__all__ = ("__version__", "attack", "distill_student", "make_bundle", "read_report", "verify_bundle")

# ONNX Runtime from 1.29 on writes a device id into the user's cache and queues events for its maker; it reads this
# when it is first imported. Whoever wants that sets the variable to 0 before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    """The names of edgerkd/api.py, which is imported when one of them is first used."""
    if name in __all__:
        return getattr(import_module("edgerkd.api"), name)
    raise AttributeError(f"module 'edgerkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
