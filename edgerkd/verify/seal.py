"""Records in a folder of engines that this user made themselves: a folder that came with a bundle has others'.

Beside a sealed file lies HMAC-SHA256 (RFC 2104) of its bytes, by a secret of the user's that only they can read. It
needs no library, so that a device without one for signatures seals as well.
"""

import hmac
import secrets
from contextlib import suppress
from pathlib import Path

from edgerkd.bundle.keys import made_once, read_private
from edgerkd.core.errors import ConfigError, EdgerkdError
from edgerkd.files.atomic import write_atomic
from edgerkd.files.paths import read_file

SECRET, SUFFIX = "engines.secret", ".seal"
_BYTES = 32


def seal(path: Path) -> None:
    """Vouch for a file. Where this machine cannot keep a secret nothing is written, and nothing believed later."""
    with suppress(EdgerkdError):
        write_atomic(_seal_of(path), _code(path, _secret()))


def is_sealed(path: Path) -> bool:
    """Whether this user sealed the file as it is now."""
    try:
        found = read_file(_seal_of(path), limit=1024).decode(errors="replace")
        return hmac.compare_digest(found, _code(path, _secret()))
    except (EdgerkdError, TypeError):  # TypeError: a text that is not ASCII
        return False


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{SUFFIX}")


def _code(path: Path, secret: bytes) -> str:
    return hmac.new(secret, read_file(path), "sha256").hexdigest()


def _secret() -> bytes:
    """The user's secret, made at first use. Raises EdgerkdError where it cannot be kept."""
    path = made_once(SECRET, lambda path: write_atomic(path, secrets.token_bytes(_BYTES), mode=0o600))
    found = read_private(path)
    if len(found) != _BYTES:
        raise ConfigError(f"{path}: this is no secret of edgerkd's: remove it, and another one is made.")
    return found
