"""`edgerkd profiles`: which devices are known, and what is known of each."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from edgerkd.cli.help import ListingGroup, PlainCommand, command_group
from edgerkd.cli.output import Json, emit_json, put_line, show_parts
from edgerkd.core.profile import Profile
from edgerkd.core.record import Record
from edgerkd.core.units import format_count

profiles = command_group(
    "profiles", "List the device profiles, show one with its sources, or check a file of your own.", cls=ListingGroup
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles(Record):
    """All profiles that have a name."""

    profiles: tuple[Profile, ...]


@profiles.command("list", cls=PlainCommand)
def list_profiles(json: Json = False) -> None:
    """List the device profiles with their budgets."""
    from edgerkd.files.profiles import load_profile, profile_names

    found = Profiles(profiles=tuple(load_profile(name) for name in profile_names()))
    emit_json(found) if json else _show_all(found)


@profiles.command("show", cls=PlainCommand)
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A profile's name, or the path of a TOML file.")],
    json: Json = False,
) -> None:
    """Show one profile: every value with its source."""
    from edgerkd.files.profiles import load_profile

    profile = load_profile(name)
    emit_json(profile) if json else _show(profile)


@profiles.command("check", cls=PlainCommand)
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The path of a TOML file, or a profile's name.")],
    json: Json = False,
) -> None:
    """Check a profile of your own and name every problem in it."""
    from edgerkd.files.profiles import load_profile

    profile = load_profile(file)
    emit_json(profile) if json else put_line("ok")


def _show_all(found: Profiles) -> None:
    from edgerkd.report.text_table import Table

    rows = [
        (p.name, p.title, p.device.power_mode, _count(p.budget.params), _count(p.budget.macs), p.budget.latency_ms)
        for p in found.profiles
    ]
    headers = ("name", "device", "power mode", "params", "MACs", "ms")
    show_parts(Table(headers, tuple(tuple(_text(value) for value in row) for row in rows)))


def _show(profile: Profile) -> None:
    from edgerkd.report.text_table import Table

    parts = {"device": profile.device, "budget": profile.budget, "gates": profile.gates}
    values = {f"{part}.{f.name}": getattr(record, f.name) for part, record in parts.items() for f in fields(record)}
    rows = tuple((key, _text(value), profile.sources.get(key, "")) for key, value in values.items())
    rest = "\n".join(f"{key}: {source}" for key, source in profile.sources.items() if key not in values)
    head = f"{profile.name}: {profile.title}\nbackends: {', '.join(profile.backends)}"
    show_parts(head, Table(("key", "value", "source"), rows), rest)


def _count(value: int | None) -> str | None:
    return None if value is None else format_count(value)


def _text(value: Any) -> str:  # Any: whatever a field of a profile holds
    """None is a dash; counts are written `500_000`, as in the files."""
    if value is None:
        return "-"
    return f"{value:_}" if isinstance(value, int) else str(value)
