"""The builder in a process of its own: one that is killed for its memory, crashes or hangs leaves this one alive."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import (
    ArtefactError,
    ConfigError,
    EdgerkdError,
    EngineError,
    MissingDependencyError,
    StorageError,
)
from edgerkd.core.record import Record
from edgerkd.core.text import LONGEST_NAME, LONGEST_TEXT, printable
from edgerkd.core.units import duration
from edgerkd.files.atomic import scratch_folder, write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.paths import own_folder
from edgerkd_exporters._cuda import Gpu
from edgerkd_exporters._tensorrt import TENSORRT, TENSORRT_RTX, Flavour, library
from edgerkd_exporters._tensorrt_build import Place, build_here

HOURS = 2.0
"""That a build may take, or what EDGERKD_BUILD_HOURS says. Ours: a small board times the kernels of a large network
for half an hour, and its first build has no measurements of an earlier one."""
HOURS_VARIABLE = "EDGERKD_BUILD_HOURS"

_ERRORS: dict[str, type[EdgerkdError]] = {
    kind.__name__: kind for kind in (ArtefactError, ConfigError, EngineError, MissingDependencyError, StorageError)
}
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from edgerkd_exporters._tensorrt_process import main
main(*sys.argv[2:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome(Record):
    """What the builder's process leaves: what it did, or the kind and the words of the error it ended with."""

    log: BuildLog | None = None
    error: str | None = None
    problem: str = ""


def build(flavour: Flavour, graph: Path, target: Path, max_batch: int) -> BuildLog:
    """`build_here` in a process of its own.

    Raises:
        EngineError: that process was killed, crashed, or took longer than it may; and what `build_here` raises.
        ConfigError: EDGERKD_BUILD_HOURS is no number above 0.
    """
    library(flavour)
    hours = _hours()
    with scratch_folder() as folder:
        result = folder / "result.json"
        arguments = [flavour.backend, str(graph), str(target), str(max_batch), str(result)]
        try:
            done = subprocess.run(
                [sys.executable, "-c", _START, json.dumps(sys.path), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=hours * 3600,
            )
        except subprocess.TimeoutExpired as e:
            raise EngineError(
                f"{graph}: {flavour.module} could not build it within {duration(hours * 3600)} and was stopped: set "
                f"{HOURS_VARIABLE} to more hours if it was at work, or build on a machine that nothing else uses"
            ) from e
        if not result.exists():
            raise EngineError(f"{graph}: {flavour.module} could not build it: {_ended(done)}")
        outcome = decode_json(_Outcome, result)
    if outcome.error is not None:
        raise _ERRORS[outcome.error](outcome.problem)
    assert outcome.log is not None
    return outcome.log


def _hours() -> float:
    text = os.environ.get(HOURS_VARIABLE, "")
    try:
        hours = float(text) if text else HOURS
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise ConfigError(f"{HOURS_VARIABLE} is {printable(text, LONGEST_NAME)}: give a number of hours above 0.")
    return hours


def _ended(done: subprocess.CompletedProcess[str]) -> str:
    """Why the builder's process left no result, and what to do."""
    if done.returncode == -signal.SIGKILL:
        return (
            "its process was killed, most likely for want of memory: close what else runs, or add swap (which does not "
            "help where a GPU has memory of its own), and try again"
        )
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    last = printable(" ".join(done.stderr.split())[-LONGEST_TEXT:], LONGEST_TEXT)
    return f"its process ended with {how}{f': {last}' if last else ''}"


def main(backend: str, graph: str, target: str, max_batch: str, result: str) -> None:
    """The other process: build, and write to `result` how that ended."""
    flavour = next(each for each in (TENSORRT, TENSORRT_RTX) if each.backend == backend)
    try:
        log = build_here(flavour, Path(graph), Path(target), int(max_batch), _place(flavour))
        outcome = _Outcome(log=log)
    except tuple(_ERRORS.values()) as e:
        kind = next(name for name, kind in _ERRORS.items() if isinstance(e, kind))
        outcome = _Outcome(error=kind, problem=str(e))
    write_atomic(Path(result), encode_json(outcome))


def _place(flavour: Flavour) -> Place | None:
    """Where the kernels are timed, if the library does that; a cache of measurements is one GPU's and one version's."""
    if not flavour.times:
        return None
    with Gpu() as gpu:
        device, free = gpu.device, gpu.free_bytes()
    name = "-".join(f"{flavour.module} {library(flavour).__version__} {device.name} {device.capability}".split())
    folder = own_folder("EDGERKD_CACHE", "~/.cache/edgerkd") / "timing"
    return Place(device=device, free=free, cache=folder / f"{name.replace('/', '-')}.cache")
