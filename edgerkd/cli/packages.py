"""Packages that are missing, or installed and broken: told from our own bugs, and said with both versions."""

import re
import traceback
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from edgerkd.core.text import printable

_EXTRAS = {
    "onnx": "onnx",
    "onnxruntime": "ort",
    "openvino": "openvino",
    "tensorrt": "trt",
    "tensorrt_rtx": "trt-rtx",
    "cuda": "trt",
}
_OURS = ("edgerkd", "edgerkd_exporters")


def broken_package(e: BaseException) -> str | None:
    """What to say where a package that edgerkd imports is not there, or fails while it is imported; None otherwise."""
    from edgerkd.verify.doctor import HOST_PACKAGES

    extras = {**dict.fromkeys(HOST_PACKAGES, "host"), **_EXTRAS, "PIL": "host"}
    if isinstance(e, ModuleNotFoundError):
        missing = (e.name or "").partition(".")[0]
        if missing in extras and not _is_there(missing):
            return f"This needs {missing}, which is not installed: pip install 'edgerkd[{extras[missing]}]'"
    package = _importing(e)
    if package is None or package in _OURS:
        return None
    how = f"pip install --force-reinstall 'edgerkd[{extras[package]}]'" if package in extras else "reinstall it"
    return f"{_named(package)} is installed but cannot be imported ({_reason(e)}).{_beside(package)} Repair it: {how}"


def _importing(e: BaseException) -> str | None:
    """The installed package whose import the error broke off: whose module was being run, or could not be parsed."""
    running = [
        frame.f_code.co_filename
        for frame, _ in traceback.walk_tb(e.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    if isinstance(e, SyntaxError) and e.filename:
        running.append(e.filename)
    for name in running:
        parts = Path(name).parts
        roots = [number for number, part in enumerate(parts) if part in ("site-packages", "dist-packages")]
        if roots and len(parts) > roots[-1] + 1:
            return parts[roots[-1] + 1].removesuffix(".py")
    if isinstance(e, ImportError) and e.name:
        package = e.name.partition(".")[0]
        return package if _is_there(package) else None
    return None


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return True


def _named(package: str) -> str:
    """Such as `torchvision 0.29.1`."""
    try:
        return f"{package} {version(packages_distributions().get(package, [package])[0])}"
    except PackageNotFoundError:
        return package


def _beside(package: str) -> str:
    """The version of what it must go with."""
    pairs = {"torchvision": "torch", "torch": "torchvision"}
    return f" It is installed with {_named(pairs[package])}." if package in pairs and _is_there(pairs[package]) else ""


def _reason(e: BaseException) -> str:
    text = re.sub(r"\s+", " ", str(e)).strip()
    return printable(text.partition(". ")[0], 200) or type(e).__name__
