"""The process that engines live in: it opens and calls them as it is asked to, until nobody asks (isolated.py).

What goes between is JSON and the bytes of float32 arrays, and nothing that could be executed.
"""

import ctypes
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from edgerkd.bundle.backend import Backend, FloatArray, GpuBackend, LiveEngine, open_engine
from edgerkd.bundle.plugins import load_backend
from edgerkd.core.errors import EdgerkdError, EngineError
from edgerkd.core.text import LONGEST_TEXT, printable
from edgerkd.core.units import format_size
from edgerkd.verify.peak import peak_bytes, start_peak

LARGEST_ANSWER = 256 << 20
"""Bytes that all outputs of a call may have, and more with what it was given. Ours."""
WEIGHED_RUNS = 3
"""After which an engine holds what it holds. Ours: a student's first takes all; a runtime on a GPU tries kernels."""

Answer = dict[str, Any]  # Any: JSON's own types
Arrays = Sequence[FloatArray]


def send(connection: Connection, message: Answer, arrays: Arrays = ()) -> None:
    """A message with its arrays. Raises OSError where nobody listens."""
    connection.send_bytes(json.dumps({**message, "shapes": [array.shape for array in arrays]}).encode())
    for array in arrays:
        connection.send_bytes(array.tobytes())


def receive(connection: Connection) -> tuple[Answer, tuple[FloatArray, ...]]:
    """What `send` sent. Raises EOFError or OSError where the other side has ended, ValueError for no message."""
    message: Answer = json.loads(connection.recv_bytes())
    shapes: list[list[int]] = message.pop("shapes")
    return message, tuple(_array(connection.recv_bytes(), shape) for shape in shapes)


def _array(content: bytes, shape: list[int]) -> FloatArray:
    return np.reshape(np.array(np.frombuffer(content, np.float32)), shape)


def main(handle: int, parent: int) -> None:
    """Answer requests that come by this handle. Ends with the process `parent`, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's, which the one that asks handles
    _end_with(parent)
    connection = Connection(handle)
    engines = _Engines()
    with suppress(EOFError, OSError):
        while True:
            request, arrays = receive(connection)
            try:
                answer, outputs = engines.answer(request, arrays)
            except Exception as e:  # noqa: BLE001  a runtime, or a plug-in, may fail in any way
                answer, outputs = _error(e), ()
            send(connection, answer, outputs)


def _error(e: Exception) -> Answer:
    """An error of ours as it is, by the first class that is made of a message alone; any other as the engine's."""
    if not isinstance(e, EdgerkdError):
        return {"error": "EngineError", "message": printable(f"{type(e).__name__}: {e}", LONGEST_TEXT)}
    kind = next(kind for kind in type(e).__mro__ if "__init__" not in vars(kind))
    return {"error": kind.__name__, "message": str(e)}


class _Engines:
    """Those that were opened, by number; and what was held and free before the last of them was."""

    def __init__(self) -> None:
        self._open: list[LiveEngine] = []
        self._held: int | None = None
        self._free: int | None = None
        self._last: Backend | None = None

    def answer(self, request: Answer, arrays: Arrays) -> tuple[Answer, Arrays]:
        what = request["what"]
        if what == "load":
            load_backend(request["backend"]).check()
            return {}, ()
        if what == "open":
            return self._opened(request), ()
        number: int = request["number"]
        engine = self._open[number]
        if what == "call":
            return {}, _called(engine, arrays)
        if what == "adapt":
            self._open[number] = _adapted(engine, request)
            return {}, ()
        if what == "weigh":
            return self._weighed(engine, arrays), ()
        from edgerkd.verify.latency import measure_timing

        latency, timing = measure_timing(engine, arrays[0])
        return {"latency": dataclasses.asdict(latency), "timing": dataclasses.asdict(timing)}, ()

    def _opened(self, request: Answer) -> Answer:
        backend, path = load_backend(request["backend"]), Path(request["path"])
        self._last, self._free, self._held = backend, _free(backend), start_peak()
        live = open_engine(backend, path, attacked=request["attacked"])
        self._open.append(live)
        facts = {"backend": live.backend, "version": live.version, "device": dataclasses.asdict(live.device)}
        return {"number": len(self._open) - 1, **facts}

    def _weighed(self, engine: LiveEngine, arrays: Arrays) -> Answer:
        """What was taken since the last engine was opened; this is that one."""
        for _ in range(WEIGHED_RUNS):
            _called(engine, arrays)
        peak, free = peak_bytes(), None if self._last is None else _free(self._last)
        process = None if peak is None or self._held is None else max(0, peak - self._held)
        device = None if free is None or self._free is None else max(0, self._free - free)
        return {"process": process, "device": device}


def _free(backend: Backend) -> int | None:
    return backend.free_bytes() if isinstance(backend, GpuBackend) else None


def _called(engine: LiveEngine, arrays: Arrays) -> Arrays:
    outputs = [np.asarray(output) for output in engine(*arrays)]
    size = sum(output.nbytes for output in outputs)
    if size > LARGEST_ANSWER + 16 * sum(array.nbytes for array in arrays):
        raise EngineError(f"the engine answers with {format_size(size)}, far more than a network has to say")
    if odd := [str(output.dtype) for output in outputs if output.dtype != np.float32]:
        raise EngineError(f"the engine answers with {', '.join(odd)}, and float32 is expected")
    return outputs


def _adapted(engine: LiveEngine, request: Answer) -> LiveEngine:
    from edgerkd.bundle.adapted import AdaptedEngine
    from edgerkd.core.adoption import Adoption
    from edgerkd.files.decode import decode_plain

    adoption = decode_plain(Adoption, request["adoption"], "the manifest")
    return AdaptedEngine(engine, adoption, batch=adoption.fixed_batch)


def _end_with(parent: int) -> None:
    """Ask Linux for an end together with the parent, which may be killed while an engine hangs. prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit()
