"""Device profiles: those that come with edgerkd, and the user's own."""

import os
from pathlib import Path

from edgerkd.core.errors import ConfigError, UnknownNameError, problems_text
from edgerkd.core.profile import Profile
from edgerkd.files.decode import decode_toml
from edgerkd.files.paths import given_path

PATH_VARIABLE = "EDGERKD_PROFILE_PATH"

_PACKAGE = Path(__file__).parents[1]


def profile_names() -> list[str]:
    """The names `--profile` takes, apart from files."""
    return sorted(_named_files())


def load_profile(name_or_path: str | Path) -> Profile:
    """A profile by its name, or from a file: anything that ends in `.toml` or has a folder in it.

    Raises UnknownNameError, or ConfigError with all problems of the file.
    """
    path = given_path(name_or_path)
    if not is_file(name_or_path):
        files = _named_files()
        if path.name not in files:
            raise UnknownNameError("profile", path.name, files)
        path = files[path.name]
    profile = decode_toml(Profile, path)
    if profile.name != path.stem:
        raise ConfigError(
            f"{path}: its name is {profile.name!r}, but the file has another "
            f"name: write {path.stem!r}, or rename the file."
        )
    return profile


def is_file(name_or_path: str | Path) -> bool:
    """Whether this names a file, and no known profile."""
    path = given_path(name_or_path)
    return path.suffix == ".toml" or path.name != str(name_or_path)


def _named_files() -> dict[str, Path]:
    """Every profile that has a name; two files of one name are an error, never a silent choice."""
    packaged = _PACKAGE / "_profiles"
    folders = [packaged if packaged.is_dir() else _PACKAGE.parent / "profiles"]
    folders += [given_path(folder) for folder in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if folder]
    problems = [f"{folder} is not a folder" for folder in folders if not folder.is_dir()]
    files: dict[str, Path] = {}
    for path in (path for folder in dict.fromkeys(folders) for path in sorted(folder.glob("*.toml"))):
        if path.stem in files:
            problems.append(f"{path} has the name of {files[path.stem]}: rename the file and its `name`")
        files.setdefault(path.stem, path)
    if problems:
        raise ConfigError(problems_text(PATH_VARIABLE, problems))
    return files
