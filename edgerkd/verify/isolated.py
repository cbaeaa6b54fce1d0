"""Engines in a process of their own, within limits of time and memory.

An engine runs somebody else's graph in a runtime of many languages. One that hangs, takes all memory or crashes ends
that process and not this one, which says so (EngineError). The limits grow with the engine's file and with what it is
given, so that they mean something for small networks and let large ones work.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from edgerkd.bundle.backend import FloatArray
from edgerkd.core import errors
from edgerkd.core.adoption import Adoption
from edgerkd.core.conditions import Timing
from edgerkd.core.engine import DeviceRecord
from edgerkd.core.errors import EngineError
from edgerkd.core.units import format_size
from edgerkd.core.verification import Latency
from edgerkd.files.atomic import scratch_folder
from edgerkd.files.decode import decode_plain, plain
from edgerkd.files.paths import shown
from edgerkd.files.system import system_text
from edgerkd.verify.engine_process import Answer, Arrays, receive, send
from edgerkd.verify.pace import Pace

START = 120.0
"""Seconds until a process has its runtime. Ours: a Jetson loads CUDA's libraries from an SD card once."""
SECONDS = 10.0
"""By which opening an engine, and all calls of those in a process together, may be late. Ours: a first call loads and
tries kernels. What a call takes less than it may is made good, up to this: a few late ones among many do not matter.
On a machine that is slow just now (pace.py) all but this is longer."""
SECONDS_A_CALL = 0.1
"""That a call takes in time, more with the engine and with its images. Ours: a hundred times what a small one takes."""
SECONDS_A_BYTE = 1e-7
"""Of the engine's file, for opening it and for each image. Ours: 64 images through 45 MB get five minutes."""
SECONDS_A_VALUE = 4e-6
"""Of an image, for a network of few weights that uses each of them at many places. Ours: 0.6 s for 3 x 224 x 224, where
the slowest board that runs this takes as long for 300 million multiply-adds."""
MEMORY = 512 << 20
"""Bytes beside what the runtime itself takes, more with the sizes of the engines and of a batch. Ours."""
A_BYTE_OF_ENGINE, A_BYTE_OF_IMAGES = 32, 256
"""Bytes more for each: weights are copied, packed and turned round; a twin keeps every layer's output. Ours."""
CALLS = 1000
"""Of one image, as which measuring the timing counts: it makes 200 to 600, and waits for a meter of energy. Ours."""
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}
"""For glibc: engines whose batches several threads share took 250 MB with a heap for each thread, 200 MB with one, and
no longer (a student of 124 k parameters). Source: mallopt(3)."""
_LOOK = 0.01  # seconds between looks at the memory of a process that is busy

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from edgerkd.verify.engine_process import main
main(*map(int, sys.argv[2:]))
"""


class RunError(EngineError):
    """An engine that fails when it is run, or was stopped: to build it again would not help."""


class SlowError(RunError):
    """An engine that was stopped because it takes too long."""


class EngineProcess:
    """A process for engines, alive until left. It ends with this one, however that ends."""

    def __init__(self) -> None:
        """Start it, which does not wait for it."""
        mine, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), str(other.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env={**os.environ, **_ONE_HEAP},
            )
        self._connection = Connection(mine.detach())
        self._memory = 0  # that the engines which are open may take
        self._spare = SECONDS  # by which calls may still be late
        self._pace = Pace()

    def open(
        self, backend: str, path: Path, *, outputs: int | None, attacked: bool = False, name: str | None = None
    ) -> "IsolatedEngine":
        """The engine in `path`, live; it must give so many outputs, each with one row an image, if that is said.

        If `attacked`, it is opened as an attack wants it (bundle/backend.py). Messages call it by its `name`, or else
        by its path.

        Raises as the backend does, and EngineError beyond the limits.
        """
        if not self._memory:
            self._ask({"what": "load", "backend": backend}, what=f"backend {backend}", seconds=START)
            self._memory = self._held() + MEMORY
        size = path.stat().st_size
        self._memory += A_BYTE_OF_ENGINE * size
        request = {"what": "open", "backend": backend, "path": str(path), "attacked": attacked}
        seconds = SECONDS + SECONDS_A_BYTE * size
        name = name or shown(path)
        facts, _ = self._ask(request, what=f"{name}: opening it", seconds=seconds, due=seconds, memory=self._memory)
        return IsolatedEngine(self, facts, path, name, size, outputs)

    def call(
        self, engine: "IsolatedEngine", request: Answer, arrays: Arrays = (), *, calls: int = 1
    ) -> tuple[Answer, Arrays]:
        """The answer to a request about an engine, in the time that so many calls may take. Raises as the engine."""
        images = calls * max((len(array) for array in arrays), default=1)
        values = calls * max((array.size for array in arrays), default=0)
        due = SECONDS_A_CALL + SECONDS_A_BYTE * engine.size * images + SECONDS_A_VALUE * values
        again = "" if self._spare > SECONDS / 2 else ", and was late before"
        started = time.monotonic()
        found = self._ask(
            request,
            arrays,
            what=f"{engine.name}: running it{again}",
            seconds=self._spare + due,
            due=due,
            memory=self._memory + A_BYTE_OF_IMAGES * sum(array.nbytes for array in arrays),
        )
        took = time.monotonic() - started
        if took > due:
            due *= self._pace.factor()
        self._spare = min(SECONDS, self._spare + due - took)
        return found

    def _ask(
        self,
        request: Answer,
        arrays: Arrays = (),
        *,
        what: str,
        seconds: float,
        due: float = 0.0,
        memory: int | None = None,
    ) -> tuple[Answer, Arrays]:
        """The answer within `seconds`, of which what is `due` grows where the machine is slow when they are over."""
        until = time.monotonic() + seconds
        try:
            send(self._connection, request, arrays)
            while not self._connection.poll(_LOOK):
                if time.monotonic() > until:
                    longer, due = due * (self._pace.factor() - 1), 0.0
                    seconds, until = seconds + longer, until + longer
                if time.monotonic() > until:
                    self.close()
                    raise SlowError(f"{what} takes more than {seconds:.{int(seconds < 1)}f} s: it was stopped")
                if memory is not None and (held := self._held()) > memory:
                    self.close()
                    plenty = f"{format_size(held)} of memory, where {format_size(memory)} are plenty"
                    raise RunError(f"{what} takes {plenty}: it was stopped")
            answer, outputs = receive(self._connection)
        except (EOFError, OSError, ValueError) as e:
            raise EngineError(f"{what} ended its process: {self._ended()}") from e
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["message"])
        return answer, outputs

    def _held(self) -> int:
        """Bytes of memory that the process holds, 0 where the system does not say."""
        sizes = system_text(Path("/proc", str(self._process.pid), "statm")).split()
        return int(sizes[1]) * os.sysconf("SC_PAGE_SIZE") if len(sizes) > 1 else 0

    def _ended(self) -> str:
        """Why the process is no more."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self.close()
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return "it was killed, most likely for want of memory"
        return f"signal {-code}, a crash of the runtime" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the process. What it holds on a device goes with it."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


@contextmanager
def open_isolated(graph: bytes, backend: str = "onnx", name: str | None = None) -> Generator["IsolatedEngine"]:
    """Any ONNX graph with any outputs, run in a process of its own by ONNX Runtime on the CPU, or by another backend.

    Messages call it by its `name`. Raises as `EngineProcess.open`.
    """
    with scratch_folder() as folder, EngineProcess() as process:
        path = folder / "graph.onnx"
        path.write_bytes(graph)
        yield process.open(backend, path, outputs=None, name=name)


class IsolatedEngine:
    """A live engine in another process. `size` is that of its file, in bytes."""

    def __init__(
        self, process: EngineProcess, facts: Answer, path: Path, name: str, size: int, outputs: int | None
    ) -> None:
        self._process, self._number, self._outputs = process, facts["number"], outputs
        self.path, self.name, self.size = path, name, size
        self.backend: str = facts["backend"]
        self.version: str = facts["version"]
        self.device = decode_plain(DeviceRecord, facts["device"], path)

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        _, outputs = self._process.call(self, {"what": "call", "number": self._number}, inputs)
        if self._outputs is None:
            return tuple(outputs)
        if len(outputs) != self._outputs or any(output.shape[:1] != inputs[0].shape[:1] for output in outputs):
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise EngineError(
                f"{self.name}: its outputs have the shapes {shapes} for {len(inputs[0])} images, and "
                f"{self._outputs} are expected, each with one row an image"
            )
        return tuple(outputs)

    def adapt(self, adoption: Adoption) -> None:
        """From now on it is an AdaptedEngine, which is made where the engine is."""
        self._process.call(self, {"what": "adapt", "number": self._number, "adoption": plain(adoption)})

    def weigh(self, images: FloatArray) -> tuple[int | None, int | None]:
        """Bytes that it took of its process and of a GPU, opened last, once it has answered these images.

        Raises RunError where it fails, which it is not worth to build it again for.
        """
        try:
            answer, _ = self._process.call(self, {"what": "weigh", "number": self._number}, (images,))
        except EngineError as e:
            raise RunError(str(e)) from e
        return answer["process"], answer["device"]

    def timing(self, images: FloatArray) -> tuple[Latency, Timing]:
        """Measured where the engine is: see `measure_timing`."""
        request = {"what": "timing", "number": self._number}
        answer, _ = self._process.call(self, request, (images,), calls=CALLS)
        return decode_plain(Latency, answer["latency"], self.path), decode_plain(Timing, answer["timing"], self.path)

    def __enter__(self) -> "IsolatedEngine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """It lives as long as its process."""
