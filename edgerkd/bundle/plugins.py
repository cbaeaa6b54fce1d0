"""Backends, found by entry point; edgerkd's own come through the same door."""

from importlib.metadata import EntryPoint, entry_points

from edgerkd.bundle.backend import Backend, LiveEngine, open_engine
from edgerkd.core.errors import EdgerkdError, MissingDependencyError, UnknownNameError
from edgerkd.files.atomic import scratch_folder, write_atomic

GROUP = "edgerkd.backends"
_PARTS = ("name", "suffix", "placement", "check", "check_build", "build", "open")  # of a Backend


def backend_names() -> list[str]:
    """The names that `--format` and `--backend` take."""
    return sorted(entry.name for entry in entry_points(group=GROUP))


def load_backend(name: str) -> Backend:
    """Raises UnknownNameError, or MissingDependencyError where the plug-in cannot be imported."""
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise UnknownNameError("backend", name, found)
    try:
        backend = found[name].load()()
    except EdgerkdError:
        raise
    except Exception as e:  # a plug-in may fail in any way; it must not take edgerkd down with it
        raise MissingDependencyError(f"backend {name!r} ({found[name].value}) cannot be loaded: {e}") from e
    if missing := [part for part in _PARTS if not hasattr(backend, part)]:
        raise MissingDependencyError(
            f"backend {name!r} ({found[name].value}) has no {', '.join(missing)}: is it made for another version of "
            "edgerkd? install its newest release"
        )
    return backend


def open_onnx(graph: bytes, *, attacked: bool = False) -> LiveEngine:
    """An ONNX graph, run by ONNX Runtime on the CPU of this machine; `attacked`: opened as an attack wants it.

    Raises MissingDependencyError without ONNX Runtime, EngineError where it does not run the graph.
    """
    with scratch_folder() as folder:  # an engine holds what it has read
        path = folder / "model.onnx"
        write_atomic(path, graph)
        return open_engine(load_backend("onnx"), path, attacked=attacked)
