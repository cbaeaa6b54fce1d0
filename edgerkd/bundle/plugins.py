"""Exporters and runtimes, found by entry point; edgerkd's own come through the same door."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edgerkd.bundle.ports import Exporter, Runtime
from edgerkd.core.errors import EdgerkdError, MissingDependencyError, UnknownNameError

EXPORTERS = "edgerkd.exporters"
RUNTIMES = "edgerkd.runtimes"


def exporter_names() -> list[str]:
    """The names `export --format` takes."""
    return sorted(entry.name for entry in entry_points(group=EXPORTERS))


def runtime_names() -> list[str]:
    """The names `verify --runtime` takes."""
    return sorted(entry.name for entry in entry_points(group=RUNTIMES))


def load_exporter(name: str) -> Exporter:
    """Raises UnknownNameError, or MissingDependencyError where the plug-in cannot be imported."""
    return _load(EXPORTERS, "exporter", name)()


def load_runtime(name: str) -> Runtime:
    """Raises UnknownNameError, or MissingDependencyError where the plug-in cannot be imported."""
    return _load(RUNTIMES, "runtime", name)()


def _load(group: str, kind: str, name: str) -> Any:  # Any: the class behind the entry point
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        raise UnknownNameError(kind, name, found)
    try:
        return found[name].load()
    except EdgerkdError:
        raise
    except Exception as e:  # a plug-in may fail in any way; it must not take edgerkd down with it
        raise MissingDependencyError(f"{kind} {name!r} ({found[name].value}) cannot be loaded: {e}") from e
