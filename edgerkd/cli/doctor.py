"""`edgerkd doctor`: what this machine can really run, and how to fix what it cannot."""

from typing import TYPE_CHECKING

from edgerkd.cli.output import Json, emit_json, put_line, show_table
from edgerkd.core.errors import MissingDependencyError
from edgerkd.core.units import format_size

if TYPE_CHECKING:
    from edgerkd.verify.doctor import Examination


def doctor(json: Json = False) -> None:
    """Show what this machine can run, and how to fix the rest; exit code 4 where no backend works."""
    from edgerkd.verify.doctor import examine

    found = examine()
    emit_json(found) if json else _show(found)
    if not any(backend.runs is None for backend in found.backends):
        raise MissingDependencyError("no backend works here: pip install 'edgerkd[ort]' brings one for any CPU")


def _show(found: "Examination") -> None:
    machine, jetson = found.machine, found.jetson
    memory = f", {format_size(machine.memory_bytes)}" if machine.memory_bytes else ""
    put_line(f"edgerkd  {found.edgerkd}, Python {machine.python}, {machine.system}")
    put_line(f"CPU      {machine.cpu}, {machine.cores} cores{memory}")
    for gpu in found.gpus:
        put_line(f"GPU      {gpu.name}, compute capability {gpu.compute_capability}, driver {gpu.driver}")
    if jetson:
        put_line(f"Jetson   {jetson.model}, power mode {jetson.power_mode or 'unknown'}")
        put_line(f"JetPack  {jetson.jetpack or 'unknown'} (L4T {jetson.l4t or 'unknown'})")
    rows = [(b.name, _word(b.builds), _word(b.runs), b.runs or b.builds or "") for b in found.backends]
    show_table(["backend", "builds here", "runs here", "why not"], rows)
    show_table(["package", "version"], [(name, version or "-") for name, version in found.packages.items()])
    host = "works" if found.host else "some packages are missing: pip install 'edgerkd[host]'"
    put_line(f"The host's half (plan, distill, evaluate, export): {host}")
    for problem in found.problems:
        put_line(f"problem: {problem}")


def _word(problem: str | None) -> str:
    return "yes" if problem is None else "no"
