"""The images an attack is after, and those it has already fooled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from edgerkd.attacks.arrays import device_of, on_host
from edgerkd.attacks.classifier import Array
from edgerkd.core.errors import EngineError
from edgerkd.core.threat import Norm, ThreatModel

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackInputs:
    """Images (n, c, h, w) to be fooled, with their labels (n,).

    `index` (n,) says which image of the data set each is: with `seed` it decides all of an image's
    random numbers, so results do not depend on how images are split into batches or over machines.
    `after` hears how many images are fooled, whenever there are more.
    """

    images: Array
    labels: Array
    threat_model: ThreatModel
    seed: int
    index: NDArray[np.int64]
    after: Callable[[int], None] = lambda fooled: None

    @property
    def xp(self) -> Any:  # Any: a module of functions
        """The array library: the labels', for images may be read only when they are asked for."""
        return array_namespace(self.labels)

    @property
    def eps(self) -> float:
        return float(self.threat_model.eps)

    @property
    def norm(self) -> Norm:
        return self.threat_model.norm

    def seeds(self, rows: NDArray[np.int64], use: str, number: int = 0) -> Sequence[tuple[int, ...]]:
        """The seed of each image in `rows` for one use: the attack's name and the restart's number."""
        return [(int.from_bytes(use.encode(), "big"), self.seed, int(image), number) for image in self.index[rows]]


class ActiveSet:
    """What one attack has reached. `rows` are the images left; `images_adv` the best found for every image."""

    def __init__(self, inputs: AttackInputs) -> None:
        xp = inputs.xp
        self._inputs = inputs
        self._xp = xp
        self.images_adv = xp.asarray(inputs.images, copy=True)
        self.rows: NDArray[np.int64] = np.arange(inputs.images.shape[0])
        self._best = xp.full(
            (inputs.images.shape[0],), -xp.inf, dtype=inputs.images.dtype, device=device_of(inputs.images)
        )

    @property
    def left(self) -> int:
        """How many images are not fooled yet."""
        return len(self.rows)

    @property
    def images(self) -> Array:
        """The clean images left."""
        return self._inputs.images[self.where]

    @property
    def labels(self) -> Array:
        """Their labels."""
        return self._inputs.labels[self.where]

    @property
    def where(self) -> Array:
        """`rows` as an array of the images' library, to index others of its kind with."""
        return self._xp.asarray(self.rows, device=device_of(self._inputs.images))

    def record(self, x: Array, logits: Array, values: Array) -> Array | None:
        """Note the iterate `x` of the images left, with its logits and what is maximised.

        An image that is fooled keeps this iterate and leaves. Returns which rows of the caller's arrays
        stay (n,), or None where all do.
        """
        xp, where = self._xp, self.where
        if not bool(xp.all(xp.isfinite(logits))):
            raise EngineError(
                f"the model returns NaN or infinite logits for {int(xp.sum(xp.any(~xp.isfinite(logits), axis=1)))} of "
                f"{len(self.rows)} images: no attack can say how robust it is"
            )
        fooled = xp.argmax(logits, axis=-1) != self._inputs.labels[where]
        better = fooled | (values > self._best[where])
        self.images_adv[where[better]] = x[better]
        self._best[where[better]] = values[better]
        gone = on_host(fooled)
        if not gone.any():
            return None
        self.rows = self.rows[~gone]
        self._inputs.after(len(self._inputs.index) - len(self.rows))
        return ~fooled


def kept(state: S, rows: Array) -> S:
    """The rows of every array of a dataclass of arrays (and of tuples of them)."""

    def of(value: Any) -> Any:  # Any: an array, or a tuple of arrays
        if isinstance(value, tuple):
            return tuple(part[rows] for part in cast("tuple[Array, ...]", value))
        return value[rows]

    return replace(state, **{f.name: of(getattr(state, f.name)) for f in fields(state)})
