"""Promises about the repository itself."""

import os
import re
from pathlib import Path

import edgerkd

REPOSITORY = Path(__file__).parents[2]


def _texts() -> dict[str, str]:
    """Every file outside the folders that git ignores, as text. Without git, which a fresh machine may lack."""
    ignored = {line.rstrip("/") for line in (REPOSITORY / ".gitignore").read_text().splitlines()} | {".git"}
    texts: dict[str, str] = {}
    for folder, folders, files in os.walk(REPOSITORY):
        folders[:] = set(folders) - ignored
        for file in (Path(folder) / name for name in files if not name.startswith(".coverage")):
            texts[str(file.relative_to(REPOSITORY))] = file.read_text(errors="replace")
    return texts


def test_version_is_the_changelogs_newest() -> None:
    newest = re.search(r"^## \[(.+?)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == edgerkd.__version__


def test_no_file_names_a_registry() -> None:
    """Catches an address that a mirror, or a network without that host, would trip over."""
    hosts = ("pypi", "org"), ("pythonhosted", "org"), ("download.pytorch", "org"), ("nvidia", "com/simple")
    hosts += ("npmjs", "org"), ("npmjs", "com"), ("ngc.nvidia", "com")
    addresses = [".".join(host) for host in hosts]
    assert [(name, host) for name, text in _texts().items() for host in addresses if host in text] == []


def test_there_is_no_lock_file() -> None:
    """Lock files record the address of the registry that they were made with."""
    assert [name for name in _texts() if name.endswith(("uv.lock", "poetry.lock", "Pipfile.lock", "pylock.toml"))] == []


def test_every_suppression_names_its_rule_and_its_reason() -> None:
    """Catches a warning switched off in silence: `# noqa: RULE  why`, `# type: ignore[rule]  why`, and the like."""
    marker = r"# (noqa|type: ignore|pyright: ignore|pragma: no cover)"
    complete = r"# (noqa: [A-Z0-9, ]+?|(type|pyright): ignore\[.+?\]|pragma: no cover)  \S"
    code = {n: t for n, t in _texts().items() if n.endswith(".py") and n != "tests/meta/test_repository.py"}
    lines = [(n, line.strip()) for n, t in code.items() for line in t.splitlines() if re.search(marker, line)]
    ruff = (REPOSITORY / "pyproject.toml").read_text().split("[tool.ruff.lint]")[1]
    ruff = re.sub(r"^select = \[.*?\]$", "", ruff, flags=re.MULTILINE | re.DOTALL)
    ignores = re.findall(r'^.*"[A-Z]+[0-9]+".*$', ruff, re.MULTILINE)
    assert ignores
    assert [(name, line) for name, line in lines if not re.search(complete, line)] == []
    assert [line for line in ignores if "#" not in line] == []
