"""What this machine is, and what edgerkd can do on it: facts only, and torch is never imported."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgerkd import __version__
from edgerkd.bundle import plugins
from edgerkd.bundle.backend import Backend
from edgerkd.core.errors import EdgerkdError
from edgerkd.core.record import Record
from edgerkd.verify.conditions import jetson_gpu_hz

HOST_PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "onnx": "onnx",
    "safetensors": "safetensors",
    "sklearn": "scikit-learn",
}
"""What the host half imports, and the distribution that brings it."""

_DEVICE_PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "cuda-bindings",
    "openvino",
)

_JETPACKS = {
    "32.7": ("4.6", "8.2.1", "3.6"),
    "35": ("5", "8.5.2", "3.8"),
    "36.2": ("6.0", "8.6.2", "3.10"),
    "36.3": ("6.0", "8.6.2", "3.10"),
    "36.4": ("6.1 or 6.2", "10.3.0", "3.10"),
    "36.5": ("6.2.2", "10.3.0", "3.10"),
    "38": ("7.0 or 7.1", "10.13.3", "3.12"),
    "39": ("7.2", "10.16.2", "3.12"),
}
"""By the start of the L4T version: JetPack, its TensorRT, the Python that has it.
Source: package lists of jetpack-nixos and meta-tegra."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Record):
    """The computer itself; None means: could not be found out."""

    python: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu(Record):
    """One GPU as nvidia-smi names it."""

    name: str
    driver: str
    compute_capability: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Jetson(Record):
    """A Jetson's board and software; `jetpack`, `tensorrt` and `python` are what this L4T comes with.

    `gpu_hz` is the clock that the GPU has now, and the highest that it may take in this power mode.
    """

    model: str
    l4t: str | None
    jetpack: str | None
    tensorrt: str | None
    python: str | None
    power_mode: str | None
    gpu_hz: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState(Record):
    """One backend; `runs` and `builds` are None where engines run and are built here, else why not and the fix."""

    name: str
    runs: str | None
    builds: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination(Record):
    """All that was found. `packages` has None for what is not installed."""

    SCHEMA = 1

    edgerkd: str
    machine: Machine
    gpus: tuple[Gpu, ...]
    jetson: Jetson | None
    packages: dict[str, str | None]
    backends: tuple[BackendState, ...]
    host: bool
    problems: tuple[str, ...]


def examine(root: Path = Path("/")) -> Examination:
    """Look at the machine whose system files lie below `root`, and try every backend."""
    packages = {name: _version(name) for name in (*_DEVICE_PACKAGES, *HOST_PACKAGES.values())}
    jetson = find_jetson(root)
    python = platform.python_version()
    gpus, gpu_problems = _gpus()
    return Examination(
        edgerkd=__version__,
        machine=Machine(
            python=python,
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            cpu=_field(root / "proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
            cores=os.cpu_count() or 1,
            memory_bytes=_memory(root),
        ),
        gpus=gpus,
        jetson=jetson,
        packages=packages,
        backends=tuple(_state(name) for name in plugins.backend_names()),
        host=all(packages[name] for name in HOST_PACKAGES.values()),
        problems=gpu_problems + conflicts(packages, jetson, python),
    )


def conflicts(packages: Mapping[str, str | None], jetson: Jetson | None, python: str) -> tuple[str, ...]:
    """What is installed but cannot work together, each with its fix."""
    found: list[str] = []
    ort, trt = packages.get("onnxruntime-gpu"), packages.get("tensorrt")
    if ort and trt and _release(ort) >= (1, 27) and _release(trt) >= (11,):
        found.append(
            f"onnxruntime-gpu {ort} is linked to TensorRT 10, but tensorrt {trt} is installed: its TensorRT provider "
            "cannot load. Use the trt backend, and onnxruntime for its CPU or CUDA provider only"
        )
    torch, vision = packages.get("torch"), packages.get("torchvision")
    if bool(torch) != bool(vision):
        there, gone = ("torch", "torchvision") if torch else ("torchvision", "torch")
        found.append(f"{there} is installed without {gone}: pip install 'edgerkd[host]'")
    elif torch and vision and not _is_pair(torch, vision):
        found.append(
            f"torch {torch} and torchvision {vision} are not a pair: "
            "pip install --force-reinstall torch torchvision, both from one index"
        )
    if jetson and jetson.python and trt is None and not python.startswith(f"{jetson.python}."):
        found.append(
            f"JetPack {jetson.jetpack} has TensorRT {jetson.tensorrt} for Python {jetson.python} only, and this is "
            f"Python {python}: python{jetson.python} -m venv --system-site-packages"
        )
    return tuple(found)


def _is_pair(torch: str, vision: str) -> bool:
    """torch 2.N goes with torchvision 0.(N+15), and a CPU-only build with a CPU-only build."""
    minor = _release(torch)[1] if _release(torch)[0] == 2 else None
    return ("+cpu" in torch) == ("+cpu" in vision) and (minor is None or _release(vision)[:2] == (0, minor + 15))


def _release(text: str) -> tuple[int, ...]:
    """`1.27.0+cu130` -> (1, 27, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0]))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _state(name: str) -> BackendState:
    def problem(try_it: Callable[[Backend], None]) -> str | None:
        try:
            with redirect_stdout(sys.stderr):  # ONNX Runtime and others print what they miss, before our document
                try_it(plugins.load_backend(name))
        except EdgerkdError as e:
            return str(e)
        except Exception as e:  # noqa: BLE001  whatever a plug-in does, the examination goes on
            return f"{type(e).__name__} in its own check: {e}"
        return None

    return BackendState(
        name=name,
        runs=problem(lambda backend: backend.check()),
        builds=problem(lambda backend: backend.check_build()),
    )


def _gpus() -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs, and what went wrong in asking for them."""
    code, text = _output("nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
    if code is None:
        return (), ()
    rows = [re.split(r",\s*", line) for line in text.splitlines()]
    if code != 0 or any(len(row) != 3 for row in rows):
        return (), (f"nvidia-smi fails ({text.strip() or f'exit code {code}'}): look at the GPU's driver",)
    return tuple(Gpu(name=name, driver=driver, compute_capability=cc) for name, driver, cc in rows), ()


def find_jetson(root: Path = Path("/")) -> Jetson | None:
    """The Jetson whose system files lie below `root`; None where they are no Jetson's."""
    release = _text(root / "etc/nv_tegra_release")
    model = _text(root / "proc/device-tree/model").strip("\0\n ")
    if not release and "Jetson" not in model:
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release)
    l4t = f"{found[1]}.{found[2]}" if found else None
    row = next((row for start, row in _JETPACKS.items() if f"{l4t}.".startswith(f"{start}.")), (None, None, None))
    mode = re.search(r"NV Power Mode:\s*(\S+)", _output("nvpmodel", "-q")[1])
    return Jetson(
        model=model or "unknown",
        l4t=l4t,
        jetpack=row[0],
        tensorrt=row[1],
        python=row[2],
        power_mode=mode[1] if mode else None,
        gpu_hz=_gpu_clock(root),
    )


def _gpu_clock(root: Path) -> tuple[int, int] | None:
    """Now, and at most."""
    now, most = (jetson_gpu_hz(root, file) for file in ("cur_freq", "max_freq"))
    return None if now is None or most is None else (now, most)


def _memory(root: Path) -> int | None:
    """All of the machine's memory in bytes; on a Jetson the GPU shares it."""
    found = re.match(r"(\d+) kB", _field(root / "proc/meminfo", "MemTotal"))
    return int(found[1]) * 1024 if found else None


def _field(path: Path, name: str) -> str:
    """The value of the first `name : value` line of a file, or nothing."""
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.+)$", _text(path), re.MULTILINE)
    return found[1].strip() if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(command: str, *arguments: str) -> tuple[int | None, str]:
    """The exit code and all output of a command; code None where there is no such command."""
    if (path := shutil.which(command)) is None:
        return None, ""
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return 1, str(e)
    return done.returncode, done.stdout + done.stderr
