"""Backends, found by entry point; edgerkd's own come through the same door."""

from importlib.metadata import EntryPoint, entry_points

from edgerkd.bundle.backend import Backend
from edgerkd.core.errors import EdgerkdError, MissingDependencyError, UnknownNameError

GROUP = "edgerkd.backends"


def backend_names() -> list[str]:
    """The names that `--format` and `--backend` take."""
    return sorted(entry.name for entry in entry_points(group=GROUP))


def load_backend(name: str) -> Backend:
    """Raises UnknownNameError, or MissingDependencyError where the plug-in cannot be imported."""
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise UnknownNameError("backend", name, found)
    try:
        return found[name].load()()
    except EdgerkdError:
        raise
    except Exception as e:  # a plug-in may fail in any way; it must not take edgerkd down with it
        raise MissingDependencyError(f"backend {name!r} ({found[name].value}) cannot be loaded: {e}") from e
