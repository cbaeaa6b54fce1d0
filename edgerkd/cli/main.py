"""How a command ends: one message on stderr, and an exit code of core/errors.py.

Exit code 1 is a verdict, `verify: fail`, and nothing else ever: not a traceback, not a closed pipe, not an interrupt.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from threading import Timer
from types import FrameType

INTERRUPTED, TERMINATED, UNUSABLE, BUG = 130, 143, 4, 70
AGAIN = 0.05  # seconds until a signal whose exception was dropped comes again; ours
_KEPT = "{}; what was finished is kept"


class VerdictExit(Exception):  # noqa: N818  it is no error
    """The way out of a command whose exit code says what it found."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> None:
    """Run the command line, and exit."""
    _repair_streams()
    stopped = _Stopped()
    signal.signal(signal.SIGINT, stopped.interrupt)
    signal.signal(signal.SIGTERM, stopped.terminate)
    before, sys.unraisablehook = sys.unraisablehook, stopped.ignored
    code, message = _outcome(_run, stopped)
    sys.unraisablehook = before
    # From here on nothing may be interrupted: what is left is to say how it ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if message:
        _say(message)
    code = _flushed(code)
    sys.exit(code)


class _Stopped:
    """Which signal has come, if one has: a library may have turned its exception into another."""

    code: int | None = None

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        self.code = INTERRUPTED
        raise KeyboardInterrupt

    def terminate(self, number: int, frame: FrameType | None) -> None:
        """Leaves what an interrupt leaves: the same cleaning up runs."""
        self.code = TERMINATED
        raise KeyboardInterrupt

    def ignored(self, what: "sys.UnraisableHookArgs") -> None:
        """Where Python drops its exception, as in a weak reference's callback, the signal comes again, soon after."""
        if self.code is None or not issubclass(what.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(what)
            return
        number = signal.SIGINT if self.code == INTERRUPTED else signal.SIGTERM
        again = Timer(AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()


def _run() -> int:
    from edgerkd.cli.app import app
    from edgerkd.core.errors import StreamError

    try:
        app()
    except VerdictExit as e:
        return e.code
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 0 if e.code is None else BUG
        if code == 1:  # Typer's own, for an abort and for a closed pipe under its help text
            raise StreamError("Standard output is closed, or the command was aborted.") from e
        return code
    return 0


def _outcome(run: Callable[[], int], stopped: _Stopped) -> tuple[int, str]:
    """The exit code, and what to say about it."""
    from edgerkd.core.errors import EdgerkdError

    try:
        code = run()
        message = _KEPT.format("interrupted") if code == INTERRUPTED else ""
    except EdgerkdError as e:
        code, message = e.exit_code, f"error: {e}"
    except KeyboardInterrupt:
        code, message = INTERRUPTED, _KEPT.format("interrupted")
    except BaseException as e:  # noqa: BLE001  the last stop: whatever is left is our bug, or a broken package
        code, message = _unexpected(e)
    if stopped.code is not None:
        word = "interrupted" if stopped.code == INTERRUPTED else "terminated"
        return stopped.code, _KEPT.format(word)
    return code, message


_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EPIPE, errno.EIO, errno.EROFS, errno.EMFILE)
"""What a system refuses to any program: no bug of ours, whoever met it first (Typer, printing its help, for one)."""


def _unexpected(e: BaseException) -> tuple[int, str]:
    if isinstance(e, OSError) and e.errno in _SYSTEM:
        return UNUSABLE, f"error: {f'{e.filename}: ' if e.filename else ''}{e.strerror}."
    with suppress(Exception):
        from edgerkd.cli.packages import broken_package

        if (found := broken_package(e)) is not None:
            return UNUSABLE, f"error: {found}"
    lines = "".join(traceback.format_exception(e))
    return BUG, f"{lines}error: this is a bug in edgerkd; please report it with the lines above"


def _say(message: str) -> None:
    """To stderr, without what could deceive whoever reads it."""
    from edgerkd.core.text import printable

    with suppress(OSError, ValueError):
        sys.stderr.write(printable(message, 20_000, keep="\n") + "\n")
        sys.stderr.flush()


def _flushed(code: int) -> int:
    """The exit code once all is written: what stdout holds back may not fit, and must not look like a verdict."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as e:
        _say(f"error: Standard output cannot be written: {getattr(e, 'strerror', None) or e}.")
        code = UNUSABLE
        # Python would try again when it ends, fail, and exit with a code of its own.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def own_stdout() -> None:
    """Let nobody but Python's `sys.stdout` write to stdout: what a library's C code prints goes to stderr."""
    if _is_open(1) and _is_open(2) and isinstance(sys.stdout, TextIOWrapper):
        stream = open(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115, PTH123  it lives as long as the process
        os.dup2(2, 1)
        sys.stdout = sys.__stdout__ = stream


def _repair_streams() -> None:
    """Closed descriptors are opened, for the next file would get their number; what a terminal lacks is escaped."""
    closed = [number for number in range(3) if not _is_open(number)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None or 1 in closed:
        sys.stdout = _Closed()
    if sys.stderr is None or 2 in closed:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  it lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class _Closed:
    """A stdout that was closed before we began: writing to it is an error, as it is for a pipe closed later."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(9, "it is closed")

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False
