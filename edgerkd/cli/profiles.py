"""`edgerkd profiles`: which devices are known, and what is known of each."""

from dataclasses import dataclass, fields
from enum import Enum
from typing import Annotated, Any

import typer

from edgerkd.cli.output import Json, emit_json, put_line, show_table
from edgerkd.core.profile import Profile
from edgerkd.core.record import Record
from edgerkd.core.units import format_count


class Action(str, Enum):
    """What to do with profiles."""

    list = "list"
    show = "show"
    check = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles(Record):
    """All profiles that have a name."""

    profiles: tuple[Profile, ...]


def profiles(
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.list,
    target: Annotated[
        str | None, typer.Argument(metavar="NAME|FILE", help="For show and check: a profile's name or TOML file.")
    ] = None,
    json: Json = False,
) -> None:
    """List the device profiles, show one with its sources, or check a file of your own."""
    from edgerkd.files.profiles import load_profile, profile_names

    if (target is None) is not (action is Action.list):
        raise typer.BadParameter(
            "list takes no name" if target else f"{action.value} needs a name or a file", param_hint="NAME|FILE"
        )
    if target is None:
        found = Profiles(profiles=tuple(load_profile(name) for name in profile_names()))
        emit_json(found) if json else _show_all(found)
        return
    profile = load_profile(target)
    if json:
        emit_json(profile)
    elif action is Action.show:
        _show(profile)
    else:
        put_line("ok")


def _show_all(found: Profiles) -> None:
    rows = [
        (p.name, p.title, p.device.power_mode, _count(p.budget.params), _count(p.budget.macs), p.budget.latency_ms)
        for p in found.profiles
    ]
    headers = ["name", "device", "power mode", "params", "MACs", "ms"]
    show_table(headers, [[_text(value) for value in row] for row in rows])


def _show(profile: Profile) -> None:
    put_line(f"{profile.name}: {profile.title}\nbackends: {', '.join(profile.backends)}")
    parts = {"device": profile.device, "budget": profile.budget, "gates": profile.gates}
    values = {f"{part}.{f.name}": getattr(record, f.name) for part, record in parts.items() for f in fields(record)}
    rows = [(key, _text(value), profile.sources.get(key, "")) for key, value in values.items()]
    show_table(["key", "value", "source"], rows)
    for key in [key for key in profile.sources if key not in values]:
        put_line(f"{key}: {profile.sources[key]}")


def _count(value: int | None) -> str | None:
    return None if value is None else format_count(value)


def _text(value: Any) -> str:  # Any: whatever a field of a profile holds
    """None is a dash; counts are written `500_000`, as in the files."""
    if value is None:
        return "-"
    return f"{value:_}" if isinstance(value, int) else str(value)
