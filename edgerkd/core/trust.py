"""Why a verifier may believe a bundle, beside its own word."""

from dataclasses import dataclass, replace
from typing import Literal

from edgerkd.core.ranges import Sha256
from edgerkd.core.record import Record

Ground = Literal["signature", "sha256", "samples"]
"""Signed by a key that the verifier trusts, the digest they expected, or judged on samples of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust(Record):
    """What the verifier knows of a bundle. Without any of the `grounds` a pass is the bundle's own claim.

    `signature` is `none` where there is none, `unchecked` where this machine cannot check it, `valid` where it is
    right; a wrong one is an error. `key` is the fingerprint of the key that it names: the SHA-256 of its PEM file.
    """

    grounds: tuple[Ground, ...] = ()
    signature: Literal["none", "unchecked", "valid"] = "none"
    key: Sha256 | None = None

    def resting_on(self, ground: Ground) -> "Trust":
        """The same with one more ground."""
        return replace(self, grounds=tuple(dict.fromkeys((*self.grounds, ground))))
