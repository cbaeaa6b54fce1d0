"""edgerkd: robust students for edge devices, distilled, exported and attacked on the device itself."""

import os
from importlib import import_module

__version__ = "0.1.0"

# ONNX Runtime from 1.29 on writes a device id into the user's cache and queues events for its maker; it reads this
# when it is first imported. Whoever wants that sets the variable to 0 before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_API = ("attack", "make_bundle", "verify_bundle", "distill_student", "read_report")
"""The names of edgerkd/api.py, which is imported when one of them is first used."""

__all__ = ("__version__", *_API)  # pyright: ignore[reportUnsupportedDunderAll]  they come from __getattr__


def __getattr__(name: str) -> object:
    if name in _API:
        return getattr(import_module("edgerkd.api"), name)
    raise AttributeError(f"module 'edgerkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
