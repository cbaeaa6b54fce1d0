"""The file of `edgerkd verify --junit`: it is about this run from its first moment on, however the run ends."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgerkd.core.errors import ConfigError, EdgerkdError, StorageError

_KINDS = {
    2: "usage",
    3: "bad input",
    4: "not usable here",
    5: "damaged or foreign file",
    6: "export, build or engine failure",
}
_NOT_ENDED = "no verdict: edgerkd verify is still at work, or it stopped before it could say why"


def begun(asked: Path, *, out: Path | None) -> Path:
    """Where the file is, which is none of those of the report `out`, and no longer says how an earlier run ended.

    Raises ConfigError where a file of another kind is there, StorageError where it cannot be written. Only a run that
    ends puts something better there: one that is killed must not look like the one before.
    """
    from edgerkd.bundle.kept import kept_path
    from edgerkd.files.atomic import write_atomic
    from edgerkd.files.paths import given_path, shown
    from edgerkd.files.replaceable import JUNIT, check_replaceable
    from edgerkd.report.junit import junit_error
    from edgerkd.verify.signed_report import signature_of

    path = given_path(asked)
    report = None if out is None else given_path(out).resolve()
    if report is not None and path.resolve() in (report, kept_path(report), signature_of(report)):
        raise ConfigError(f"--junit: {shown(path)} is what --out names, or lies beside it: name another file.")
    check_replaceable(path, JUNIT, "--junit")
    write_atomic(path, junit_error(_NOT_ENDED, kind="not ended"))
    return path


@contextmanager
def errors_in(path: Path | None) -> Generator[None]:
    """An error that ends the command stands in the file as well, if there is one; then it goes on."""
    try:
        yield
    except EdgerkdError as e:
        if path is not None:
            _write_error(path, e)
        raise


def _write_error(path: Path, error: EdgerkdError) -> None:
    from edgerkd.files.atomic import write_atomic
    from edgerkd.report.junit import junit_error

    kind = f"exit code {error.exit_code}: {_KINDS.get(error.exit_code, 'bug')}"
    with suppress(StorageError):  # what ends the command is `error`
        write_atomic(path, junit_error(str(error), kind=kind))
