"""What a user says of a network of their own."""

from dataclasses import dataclass
from pathlib import Path

from edgerkd.core.adoption import Layout, Normalization, Order

BUNDLES = Path("bundles")
"""Where bundles of users' own networks go, if nothing else is said."""
VERIFIED = Path("verified")
"""Where `edgerkd verify` makes one, without gates, of a network it is given: not over one that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """`source` is an ONNX file, a TorchScript file, an exported program, or a library's name; None with a `factory`.

    `factory` is `package.module:name`, and `weights` fill it or a library's network. `engine` was built elsewhere from
    the same graph. `output` names one of several outputs. None of the rest: it is found by measuring accuracy.
    """

    source: str | None
    factory: str | None = None
    weights: Path | None = None
    engine: Path | None = None
    output: str | None = None
    normalization: Normalization | None = None
    order: Order | None = None
    layout: Layout | None = None
    resize: bool | None = None

    @property
    def name(self) -> str:
        """What a bundle of it is called where the user does not say."""
        text = self.source or self.factory or "model"
        return Path(text.replace(":", "-")).stem or "model"
