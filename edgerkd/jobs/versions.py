"""The versions a result depends on."""

import platform
from importlib.metadata import distributions

PACKAGES = ("edgerkd", "torch", "torchvision", "onnx", "onnxruntime", "numpy", "safetensors", "scikit-learn")


def host_versions() -> dict[str, str]:
    """Python's and each installed package's version."""
    installed = {name: d.version for d in distributions() if (name := d.name) in PACKAGES}
    return {"python": platform.python_version(), **dict(sorted(installed.items()))}
