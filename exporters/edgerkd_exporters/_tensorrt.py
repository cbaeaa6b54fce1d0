"""What TensorRT and TensorRT-RTX share: finding the library, its logger, telling whose engine a file is.

One code path for TensorRT 8.5 to 11 and TensorRT-RTX. It asks the module what it has, never which version it is.
"""

import importlib
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from edgerkd.core.errors import ArtefactError, EdgerkdError, EngineError, MissingDependencyError, problems_text
from edgerkd.files.paths import read_file

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One of the two packages: the same interface under another name."""

    backend: str
    module: str
    install: str
    tag: bytes  # how its plans begin
    times: bool  # whether it builds by timing kernels on a GPU


TENSORRT = Flavour(
    backend="trt",
    module="tensorrt",
    install='pip install "edgerkd[trt]" (on a Jetson: sudo apt install python3-libnvinfer, and a virtual environment '
    "made with --system-site-packages)",
    tag=b"ftrt",
    times=True,
)
TENSORRT_RTX = Flavour(
    backend="trt-rtx", module="tensorrt_rtx", install='pip install "edgerkd[trt-rtx]"', tag=b"vtrt", times=False
)


def library(flavour: Flavour) -> ModuleType:
    """The package itself. Raises MissingDependencyError if it cannot be imported or is older than 8.5."""
    try:
        trt = importlib.import_module(flavour.module)
    except (ImportError, OSError) as e:
        raise MissingDependencyError(f"{flavour.module} cannot be imported ({e}): {flavour.install}") from e
    if not hasattr(trt.IExecutionContext, "execute_async_v3"):
        raise MissingDependencyError(f"{flavour.module} {trt.__version__} is older than 8.5: {flavour.install}")
    return trt


@cache
def logger(trt: ModuleType) -> Any:  # a class made of a module imported late
    """The one ILogger of the process: the library sends what concerns no builder or engine to the first it was given.

    It keeps the messages of errors and passes all but chatter on to `logging`.
    """

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: object, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            if severity not in (trt.ILogger.INFO, trt.ILogger.VERBOSE):
                log.debug("%s: %s", trt.__name__, message)

        def reasons(self) -> list[str]:
            """The errors since the last call."""
            reasons, self.errors = self.errors or ["no reason given"], []
            return reasons

    return Log()


def create(kind: Any, messages: Any) -> Any:
    """A `Builder` or a `Runtime`. Raises EngineError if the library gives none."""
    messages.errors.clear()
    try:
        return kind(messages)
    except TypeError as e:  # how pybind11 tells of a null pointer
        raise EngineError(problems_text(f"{kind.__name__} cannot be created", messages.reasons())) from e


@contextmanager
def released() -> Iterator[None]:
    """What the library gave to a frame that failed is freed at once, not when the error is forgotten.

    It is much memory for a small device. And an error may become cyclic garbage: collected while the library, in a
    lock of its own, calls the logger, the destructor of an old builder waits for that lock for ever (seen with
    TensorRT-RTX 1.7.1.116).
    """
    try:
        yield
    except EdgerkdError as e:
        traceback.clear_frames(e.__traceback__)
        raise


def read_plan(flavour: Flavour, path: Path) -> bytes:
    """The bytes of an engine that this library, in this version, wrote.

    The first 28 bytes tell: a tag of 4, a serialisation word, and where that is 0 the version, a byte a part, at 24.
    Source: `printPlanVersion`, https://github.com/NVIDIA/TensorRT/blob/main/samples/common/sampleEngines.cpp; for
    TensorRT-RTX, with another tag, seen in what version 1.7.1.116 writes.

    Raises:
        MissingDependencyError: the library is not installed.
        ArtefactError: no such file, another library's engine, or another version's.
    """
    trt = library(flavour)
    plan = read_file(path, error=ArtefactError)
    fix = "build it on this device with `edgerkd build`"
    if len(plan) < 28 or not plan.startswith(flavour.tag):
        raise ArtefactError(
            f"{path}: not a {flavour.module} engine: begins with {plan[:4]!r}, not {flavour.tag!r}; {fix}"
        )
    # Jetson's binding calls itself "10.3.0", a wheel's "10.3.0.26": compare as many parts as it has.
    here = [int(part) & 0xFF for part in trt.__version__.split(".")[:4] if part.isdigit()]
    theirs = plan_version(plan)
    if theirs is not None and list(plan[24 : 24 + len(here)]) != here:
        raise ArtefactError(f"{path}: built by {flavour.module} {theirs}, but {trt.__version__} is here; {fix}")
    return plan


def plan_version(plan: bytes) -> str | None:
    """The version of the library that wrote a plan, in four parts; None where the header does not say (`read_plan`)."""
    return ".".join(map(str, plan[24:28])) if len(plan) >= 28 and plan[4:8] == bytes(4) else None
