"""The memory of this process: what it gives back, and the most that it has held since a moment, which Linux tells."""

import ctypes
import re
from contextlib import suppress
from pathlib import Path

from edgerkd.files.system import system_text

_SELF = Path("/proc/self")


def give_back() -> None:
    """Let the system have what this process has freed and the C library keeps. Source: malloc_trim(3), of glibc."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def start_peak(own: Path = _SELF) -> int | None:
    """The bytes resident now, from which the peak is counted anew; None where the system keeps none.

    What was freed before is given back first, or else what is taken next would hide in it.
    Source: proc(5): 5 in clear_refs sets VmHWM to VmRSS.
    """
    give_back()
    try:
        (own / "clear_refs").write_text("5")
    except OSError:
        return None
    return _bytes("VmRSS", own)


def peak_bytes(own: Path = _SELF) -> int | None:
    """The most bytes that were resident since the peak was started."""
    return _bytes("VmHWM", own)


def _bytes(name: str, own: Path) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB$", system_text(own / "status"), re.MULTILINE)
    return None if found is None else int(found[1]) * 1024
