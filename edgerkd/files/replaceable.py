"""What a command may replace at a path that a person named: what it could have written there, not a file of theirs."""

from pathlib import Path

from edgerkd.core.errors import ConfigError
from edgerkd.files.paths import find_kind, open_file, shown

JSON, PAGE, XML = b"{", b"<!DOCTYPE html>", b"<?xml"
"""How the files begin that edgerkd writes where it is told to."""
_FORMS = {JSON: "JSON", PAGE: "an HTML page", XML: "XML"}


def check_replaceable(path: Path, form: bytes, flag: str) -> None:
    """Raises ConfigError where `flag` names a file that is neither empty nor begins with `form`.

    So `--out net.onnx` costs nobody a network. Whether `path` can be written is not asked.
    """
    if find_kind(path) != "a file":
        return
    with open_file(path) as file:
        found = file.read(len(form))
    if found and found != form:
        raise ConfigError(
            f"{flag}: {shown(path)} is there, and is not {_FORMS[form]}, which is what would be written: name another "
            "file, or remove that one."
        )
