"""Device profiles: those that come with edgerkd, and the user's own."""

import os
from pathlib import Path

from edgerkd.core.errors import ConfigError, UnknownNameError, problems_text
from edgerkd.core.profile import Profile
from edgerkd.core.units import parse_size
from edgerkd.files.decode import decode_toml

SCHEMA = 1
PATH_VARIABLE = "EDGERKD_PROFILE_PATH"

_PACKAGE = Path(__file__).parents[1]


def profile_names() -> list[str]:
    """The names `--profile` takes, apart from files."""
    return sorted(_named_files())


def load_profile(name_or_path: str | Path) -> Profile:
    """A profile by its name, or from a file: anything that ends in `.toml` or has a folder in it.

    Raises UnknownNameError, or ConfigError with all problems of the file.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml" and path.name == str(name_or_path):
        files = _named_files()
        if path.name not in files:
            raise UnknownNameError("profile", path.name, files)
        path = files[path.name]
    profile = decode_toml(Profile, path)
    if problems := _problems(profile, path):
        raise ConfigError(problems_text(path, problems))
    return profile


def _named_files() -> dict[str, Path]:
    """Every profile that has a name; two files of one name are an error, never a silent choice."""
    packaged = _PACKAGE / "_profiles"
    folders = [packaged if packaged.is_dir() else _PACKAGE.parent / "profiles"]
    folders += [Path(folder) for folder in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if folder]
    problems = [f"{folder} is not a folder" for folder in folders if not folder.is_dir()]
    files: dict[str, Path] = {}
    for path in (path for folder in dict.fromkeys(folders) for path in sorted(folder.glob("*.toml"))):
        if path.stem in files:
            problems.append(f"{path} has the name of {files[path.stem]}: rename the file and its `name`")
        files.setdefault(path.stem, path)
    if problems:
        raise ConfigError(problems_text(PATH_VARIABLE, problems))
    return files


def _problems(profile: Profile, path: Path) -> list[str]:
    """What is wrong with a profile whose keys and types are right."""
    problems: list[str] = []
    if profile.schema != SCHEMA:
        problems.append(f"schema: {profile.schema} is not known to this edgerkd, which reads {SCHEMA}")
    if profile.name != path.stem:
        problems.append(f"name: {profile.name!r} differs from the file's name: write {path.stem!r} or rename the file")
    if not profile.runtimes:
        problems.append('runtimes: is empty: name at least one, such as "onnxruntime"')
    if profile.device.memory is not None:
        try:
            parse_size(profile.device.memory)
        except ConfigError as e:
            problems.append(f"device.memory: {e}")
    return problems
