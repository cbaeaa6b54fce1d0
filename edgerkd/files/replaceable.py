"""What a command may replace at a path: a result of its own kind, and no file of a person's."""

from dataclasses import dataclass
from pathlib import Path

from edgerkd.core.errors import ConfigError
from edgerkd.files.paths import TEXT_LIMIT, find_kind, read_file, shown


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file of a kind is called, and the `marks` in every one of them, whichever version wrote it."""

    name: str
    marks: tuple[bytes, ...]


VERIFICATION = Kind("a report of edgerkd verify", (b'"verdict":', b'"manifest_sha256":'))
EVALUATION = Kind("an evaluation of edgerkd", (b'"robust_acc":', b'"split":', b'"of":'))
JUNIT = Kind("a JUnit file of edgerkd", (b"<testsuites>", b'<testsuite name="edgerkd '))
PAGE = Kind(
    "a page of edgerkd",
    (b"<!DOCTYPE html>", b"content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\""),
)


def check_replaceable(path: Path, kind: Kind, flag: str | None = None) -> None:
    """Raises ConfigError where a file is at `path` that is neither empty nor of this `kind`.

    So `--out net.onnx` costs nobody a network. `flag` is the option that named it, None where nobody did. Whether
    `path` can be written is not asked.
    """
    if find_kind(path) != "a file":
        return
    found = read_file(path, limit=TEXT_LIMIT) if path.stat().st_size <= TEXT_LIMIT else b"something large"
    if found and not all(mark in found for mark in kind.marks):
        before, cure = (f"{flag}: ", "name another file") if flag else ("", "name another one with --out")
        raise ConfigError(
            f"{before}{shown(path)} is there, and is not {kind.name}, which is what would be written: {cure}, or move "
            "that one away."
        )
