"""`edgerkd doctor`: what this machine can really run, and how to fix what it cannot."""

from typing import TYPE_CHECKING

from edgerkd.cli.output import Json, emit_json, show_parts
from edgerkd.core.errors import MissingDependencyError
from edgerkd.core.units import format_size

if TYPE_CHECKING:
    from edgerkd.verify.doctor import Examination


def doctor(json: Json = False) -> None:
    """Show what this machine can run, and how to fix what it cannot.

    The exit code is 4 where no backend works.
    """
    from edgerkd.verify.doctor import examine

    found = examine()
    emit_json(found) if json else _show(found)
    if not any(backend.runs is None for backend in found.backends):
        raise MissingDependencyError("no backend works here: pip install 'edgerkd[ort]' brings one for any CPU")


def _show(found: "Examination") -> None:
    from edgerkd.report.text_table import Table

    backends = tuple((b.name, _word(b.builds), _word(b.runs), b.runs or b.builds or "") for b in found.backends)
    packages = tuple((name, version or "-") for name, version in found.packages.items())
    host = "works" if found.host else "some packages are missing: pip install 'edgerkd[host]'"
    show_parts(
        "\n".join(_machine_lines(found)),
        Table(("backend", "builds here", "runs here", "why not"), backends),
        Table(("package", "version"), packages),
        "\n".join(
            [
                f"The host's commands (plan, distill, evaluate, export): {host}",
                *(f"problem: {problem}" for problem in found.problems),
            ]
        ),
    )


def _machine_lines(found: "Examination") -> list[str]:
    machine, jetson = found.machine, found.jetson
    memory = f", {format_size(machine.memory_bytes)}" if machine.memory_bytes else ""
    lines = [
        f"edgerkd  {found.edgerkd}, Python {machine.python}, {machine.system}",
        f"CPU      {machine.cpu}, {machine.cores} cores{memory}",
    ]
    lines += [f"GPU      {g.name}, compute capability {g.compute_capability}, driver {g.driver}" for g in found.gpus]
    if jetson:
        lines.append(f"Jetson   {jetson.model}, power mode {jetson.power_mode or 'unknown'}")
        lines.append(f"JetPack  {jetson.jetpack or 'unknown'} (L4T {jetson.l4t or 'unknown'})")
    return lines


def _word(problem: str | None) -> str:
    return "yes" if problem is None else "no"
