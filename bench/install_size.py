"""What edgerkd takes on a device, from the wheels that requirements/device.txt pins; fails above the limits.

Counted is what the wheels unpack to. pip adds compiled bytecode, unless it is told `--no-compile`.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from zipfile import ZipFile

from device_wheels import linux, own_wheel, pinned_wheels, pins, requirements_of, wheel_name
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHON = "3.10"
PROCESSORS = ("x86_64", "aarch64")
LIMITS_MB = {"": 80, "ort": 150}
"""By extra, in 10^6 bytes; the first is the base install."""
SHOWN = 10


def installed(requires: Mapping[str, Iterable[Requirement]], extra: str, environment: Mapping[str, str]) -> set[str]:
    """The distributions that come with edgerkd and the `extra`, by what each of them requires.

    Raises KeyError for one that is required and not there.
    """
    found: set[str] = set()
    queue = [("edgerkd", extra)]
    while queue:
        name, asked = queue.pop()
        found.add(name)
        for requirement in requires[name]:
            marker, needed = requirement.marker, canonicalize_name(requirement.name)
            if needed not in found and (marker is None or marker.evaluate({**environment, "extra": asked})):
                queue.append((needed, ""))
    return found


def unpacked_size(wheel: Path) -> int:
    """Bytes of the files in it."""
    with ZipFile(wheel) as archive:
        return sum(member.file_size for member in archive.infolist())


def excesses(sizes: Mapping[str, int], chosen: Mapping[str, set[str]], where: str) -> list[str]:
    """Which of the limits are not kept, as text."""
    totals = {extra: sum(sizes[name] for name in names) / 1e6 for extra, names in chosen.items()}
    return [
        f"{where}: {_install(extra)} takes {total:.1f} MB, and {LIMITS_MB[extra]} MB are the limit"
        for extra, total in totals.items()
        if total > LIMITS_MB[extra]
    ]


def _install(extra: str) -> str:
    return f"edgerkd[{extra}]" if extra else "edgerkd"


def main() -> None:
    own, problems = own_wheel(), list[str]()
    for processor in PROCESSORS:
        wheels = [own, *pinned_wheels(pins(PYTHON, processor), python=PYTHON, processor=processor)]
        sizes = {wheel_name(wheel): unpacked_size(wheel) for wheel in wheels}
        requires = {wheel_name(wheel): requirements_of(wheel) for wheel in wheels}
        chosen = {extra: installed(requires, extra, linux(PYTHON, processor)) for extra in LIMITS_MB}
        where = f"{processor}, Python {PYTHON}"
        problems += excesses(sizes, chosen, where)
        versions = {wheel_name(wheel): wheel.name.split("-")[1] for wheel in wheels}
        print(f"\n{where + ':':34}{'MB':>6}   base")
        for name in sorted(chosen["ort"], key=lambda name: -sizes[name])[:SHOWN]:
            print(f"  {name:18}{versions[name]:14}{sizes[name] / 1e6:6.1f}   {'yes' if name in chosen[''] else ''}")
        for extra, names in chosen.items():
            total = sum(sizes[name] for name in names) / 1e6
            print(f"  {_install(extra):20}{f'{len(names)} packages':12}{total:6.1f}   of {LIMITS_MB[extra]}")
    sys.exit("\n".join(problems) or None)


if __name__ == "__main__":
    main()
