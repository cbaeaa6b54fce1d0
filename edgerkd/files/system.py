"""The system's own small files, below /sys and /proc: read as far as they are there, and never an error."""

import os
import stat
from pathlib import Path

LIMIT = 4096
"""Bytes that are read of one. A file of sysfs is one page. Source: kernel.org, filesystems/sysfs, "Attributes"."""
MOST = 256
"""Entries of one folder that are looked at. Ours: a server has as many cores."""


def usable_cores() -> int:
    """Processor cores that this process may use: fewer than the machine has where `taskset` says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def system_text(path: Path) -> str:
    """What a file says, without the space around it; nothing where it is missing, odd, or may not be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return ""
    try:
        content = os.read(handle, LIMIT) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError:
        return ""
    finally:
        os.close(handle)
    return content.decode(errors="replace").strip("\0 \n\t")


def system_number(path: Path) -> int | None:
    """The whole number in a file, None where there is none."""
    text = system_text(path)
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    return sign * int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def system_folders(folder: Path, pattern: str) -> list[Path]:
    """What matches in a folder, sorted; nothing where that cannot be listed."""
    try:
        return sorted(folder.glob(pattern))[:MOST]
    except (OSError, ValueError):
        return []
