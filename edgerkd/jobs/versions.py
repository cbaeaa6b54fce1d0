"""The versions a result depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("edgerkd", "torch", "torchvision", "onnx", "onnxruntime", "numpy", "safetensors", "scikit-learn")


def host_versions() -> dict[str, str]:
    """Python's and each installed package's version."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
