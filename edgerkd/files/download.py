"""Files from the network, which nothing reads before their digest is right."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from edgerkd.core.errors import ArtefactError, ConfigError, MissingDependencyError
from edgerkd.core.progress import Progress
from edgerkd.files.atomic import sha256_of, storage

LIMIT = 4 << 30  # bytes; ours: the largest public robust classifiers are half of it
TIMEOUT = 30  # seconds without an answer; ours
_BLOCK = 1 << 20


def download(url: str, target: Path, *, sha256: str, progress: Progress, limit: int = LIMIT) -> None:
    """Make `target` the file at `url`, unless it is that already: whole and with its digest, or not there at all.

    `sha256` is the digest in hex, or its first digits. Raises ArtefactError for another file than that,
    MissingDependencyError where the network is closed, ConfigError for a file above `limit` bytes, and
    StorageError where it cannot be written.
    """
    sha256 = sha256.lower()
    if target.is_file() and sha256_of(target).startswith(sha256):
        return
    with storage(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    new, digest, size = Path(name), hashlib.sha256(), 0
    try:
        with os.fdopen(handle, "wb") as file, progress.stage(f"{target.name}: downloading, MiB", 0) as advance:
            for block in _blocks(url):
                size += len(block)
                if size > limit:
                    raise ConfigError(f"{url}: larger than {limit} bytes: download it by hand and name the file")
                digest.update(block)
                with storage(target):
                    file.write(block)
                advance(size >> 20, "")
        if not digest.hexdigest().startswith(sha256):
            raise ArtefactError(
                f"{url}: not the file expected: its sha256 is {digest.hexdigest()}, expected {sha256}: it was not kept"
            )
        with storage(target):
            new.chmod(0o644)
            new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def check_address(url: str) -> None:
    """Raises ConfigError for what is no address of the web."""
    try:
        web = url.isascii() and urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:  # brackets that do not close
        web = False
    if not web:
        raise ConfigError(
            f"{url}: not a web address: expected https:// or http://, a host and a path, in ASCII "
            "(%C3%A4 for a letter like \u00e4)"
        )


def _blocks(url: str) -> Iterator[bytes]:
    check_address(url)
    try:
        with urlopen(Request(url, headers={"User-Agent": "edgerkd"}), timeout=TIMEOUT) as answer:
            while block := answer.read(_BLOCK):
                yield block
    except (OSError, HTTPException) as e:
        raise MissingDependencyError(
            f"{url}: cannot be downloaded here ({e}): fetch it where there is a network, and name the file instead"
        ) from e
