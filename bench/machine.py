"""The machine a figure was measured on, and small arithmetic that the benchmarks share."""

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles

from edgerkd.files.system import usable_cores


def machine_facts(packages: Iterable[str] = ()) -> dict[str, str]:
    """CPU, cores, system, Python and the versions of `packages`, each as text."""
    facts = {
        "cpu": _cpu(),
        "cores": f"{usable_cores()} usable of {os.cpu_count()}",
        "threads": f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}",
        "system": f"{platform.system()} {platform.machine()}",
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg()) + " (1, 5, 15 minutes, before)",
        "python": platform.python_version(),
    }
    return facts | {name: _version(name) for name in packages}


def show_machine(facts: dict[str, str]) -> None:
    """One fact a line."""
    width = max(map(len, facts))
    print("\n".join(f"{name:{width}}  {value}" for name, value in facts.items()))


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the quartiles around it."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return median(values), low, high


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
