"""requirements/*.txt are installed without resolving, so each must hold all that its own pins need."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.benches import bench

FOLDER = Path(__file__).parents[2] / "requirements"
NEWER = ("3.11", "3.12", "3.13")
PYTHONS = {
    "device": ("3.10", *NEWER),
    **dict.fromkeys(("host", "dev", "peers", "zoo", "page"), NEWER),
    "lowest": ("3.11",),
}
"""By file, the Pythons that it is for."""
ROOTS = {
    "device": {"ort", "sign"},
    "host": {"host", "ort", "sign"},
    "dev": {"host", "ort", "sign", "dev"},
    "peers": {"peers"},
    "zoo": set(),
    "page": None,
    "lowest": {"ort", "sign"},
}
"""By file, the extras of edgerkd that it installs; None where edgerkd is not installed there."""
MACHINES = ("x86_64", "aarch64")
linux = bench("device_wheels").linux


@dataclass(frozen=True)
class Pin:
    """One line of a requirements file."""

    name: str
    version: str
    requirement: Requirement


def parse(text: str) -> list[Pin]:
    found = re.findall(r"^([a-z][^\s;]*==[^\\\n]*)", text, re.MULTILINE)
    requirements = [Requirement(line.strip()) for line in found]
    return [Pin(canonicalize_name(r.name), str(r.specifier).removeprefix("=="), r) for r in requirements]


@cache
def pins(file: str) -> tuple[Pin, ...]:
    return tuple(parse((FOLDER / f"{file}.txt").read_text()))


def holds(requirement: Requirement, env: dict[str, str], extras: frozenset[str] = frozenset()) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**env, "extra": extra}) for extra in {"", *extras})


@cache
def requires(name: str, version: str) -> tuple[Requirement, ...] | None:
    """What the installed metadata says; None where another version, or none, is installed."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    if found.version.partition("+")[0] != version.partition("+")[0]:
        return None
    return tuple(Requirement(line) for line in found.requires or ())


def gaps(roots: list[tuple[str, frozenset[str]]], pinned: dict[str, str], env: dict[str, str]) -> Iterator[str]:
    """What something reachable from the roots requires, extras included, and the pins do not give."""
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = list(roots)
    while queue:
        name, extras = queue.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        version = distribution("edgerkd").version if name == "edgerkd" else pinned[name]
        for requirement in requires(name, version) or ():
            if not holds(requirement, env, extras):
                continue
            needed = canonicalize_name(requirement.name)
            if needed not in pinned:
                yield f"{name} needs {requirement}, which is not pinned"
            elif not SpecifierSet(str(requirement.specifier)).contains(pinned[needed], prereleases=True):
                yield f"{name} needs {requirement}, pinned is {pinned[needed]}"
            else:
                queue.append((needed, frozenset(requirement.extras)))


def check(file: str, found: tuple[Pin, ...], python: str, machine: str) -> list[str]:
    env = linux(python, machine)
    applying = [pin for pin in found if holds(pin.requirement, env)]
    names = [pin.name for pin in applying]
    twice = [f"{name} is pinned twice" for name in sorted({name for name in names if names.count(name) > 1})]
    pinned = {pin.name: pin.version for pin in applying}
    extras = ROOTS[file]
    own = [] if extras is None else [("edgerkd", frozenset(extras))]
    roots = [*own, *((name, frozenset[str]()) for name in pinned)]
    return twice + sorted(set(gaps(roots, pinned, env)))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("file", "python"), [(file, python) for file, many in PYTHONS.items() for python in many])
def test_every_requirement_of_every_pin_is_pinned(file: str, python: str, machine: str) -> None:
    """Catches a file that pip would have to complete from an index, where tomorrow's release may not fit."""
    assert check(file, pins(file), python, machine) == []


@pytest.mark.parametrize("file", ["host", "dev"])
def test_the_metadata_of_most_pins_is_here_to_be_read(file: str) -> None:
    """Catches a check above that finds nothing because it reads nothing."""
    env = linux("3.11", "x86_64")
    applying = [pin for pin in pins(file) if holds(pin.requirement, env)]
    assert [pin.name for pin in applying if requires(pin.name, pin.version) is None] == []


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("sympy", "torch needs sympy>=1.13.3, which is not pinned"),
        ("annotated-types", "pydantic needs annotated-types>=0.6.0, which is not pinned"),
    ],
)
def test_the_check_would_notice_a_missing_pin(without: str, said: str) -> None:
    """Catches a check under which everything passes."""
    found = tuple(pin for pin in pins("host") if pin.name != without)
    assert said in check("host", found, "3.11", "x86_64")


def test_the_check_follows_extras_and_reads_versions() -> None:
    """Catches `coverage[toml]`, whose extra needs more packages, taken for `coverage`, and a pin that is too old."""
    env = linux("3.11", "x86_64")
    extra = Requirement('tomli; extra == "toml"')
    assert holds(extra, env, frozenset({"toml"}))
    assert not holds(extra, env)
    found = tuple(pin if pin.name != "numpy" else Pin("numpy", "1.0", pin.requirement) for pin in pins("device"))
    assert "edgerkd needs numpy>=1.23.2, pinned is 1.0" in check("device", found, "3.11", "x86_64")


@pytest.mark.parametrize("file", PYTHONS)
def test_every_pin_has_a_hash(file: str) -> None:
    """Catches a line that --require-hashes refuses."""
    entries = re.split(r"^(?=\S)", (FOLDER / f"{file}.txt").read_text(), flags=re.MULTILINE)
    assert [entry for entry in entries if entry.strip() and "--hash=sha256:" not in entry] == []


def test_the_files_nest_and_hold_the_torch_pair() -> None:
    """Catches files solved at different times, and a pair of torch and torchvision that nobody tried together."""

    def at(file: str) -> set[tuple[str, str]]:
        env = linux("3.12", "x86_64")
        return {(pin.name, pin.version) for pin in pins(file) if holds(pin.requirement, env)}

    assert at("device") < at("host") < at("dev")
    pair = {(pin.name, pin.version) for pin in parse((FOLDER / "pair.in").read_text())}
    assert pair < at("host")
    assert not any(name.startswith(("torch", "nvidia")) for name, _ in at("device"))


def test_what_old_peers_ask_for_holds_back_nobody_else() -> None:
    """Catches torchattacks, which bounds requests below 2.26, back in everybody's environment."""
    old = {"torchattacks", "foolbox", "pyautoattack", "requests", "urllib3", "idna", "chardet"}
    assert {pin.name for pin in pins("dev")} & old == set()
