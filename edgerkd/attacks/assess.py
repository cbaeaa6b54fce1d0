"""How robust a classifier is: every attack on every image, the worst case kept, a chunk of images at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.arrays import device_of, on_host
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.core.accuracy import Accuracy, accuracy_from_correct
from edgerkd.core.evaluation import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Of n images: which were `clean`ly right (n,), and still right after each attack, `resisted` (attacks, n).

    An attack only sees what those before it left, so the last row is the worst case over all of them.
    `images_adv` float32 (n, c, h, w) holds an image that fools where one was found, else the last attempt.
    """

    clean: NDArray[np.bool_]
    resisted: NDArray[np.bool_]
    images_adv: NDArray[np.float32]

    @property
    def robust(self) -> NDArray[np.bool_]:
        """The worst case over all attacks (n,)."""
        return self.resisted[-1]

    @property
    def clean_acc(self) -> Accuracy:
        return accuracy_from_correct(self.clean.tolist())

    @property
    def robust_acc(self) -> Accuracy:
        return accuracy_from_correct(self.robust.tolist())

    def rows(
        self, attacks: Sequence[Attack], accuracy: Callable[[Iterable[Any]], Accuracy] = accuracy_from_correct
    ) -> tuple[Row, ...]:
        """A row for each attack, in the order they ran."""
        return tuple(
            Row(attack=attack.id, source=attack.source, robust_acc=accuracy(kept.tolist()))
            for attack, kept in zip(attacks, self.resisted, strict=True)
        )


def assess_chunk(
    classifier: Classifier,
    attacks: Sequence[Attack],
    inputs: AttackInputs,
    *,
    judge: Classifier | None = None,
    after: Callable[[int, str], None] = lambda done, name: None,
) -> Outcomes:
    """All attacks on one chunk of images; `after` hears (images done, of attacks x images; which attack).

    The `judge`'s answers count, where it is another than the classifier that leads the attacks.
    """
    judge = judge or classifier
    xp = inputs.xp
    n = inputs.images.shape[0]
    clean = _right(judge, inputs.images, inputs.labels)
    images_adv = xp.asarray(inputs.images, copy=True)
    left: NDArray[np.bool_] = clean & True
    resisted: list[NDArray[np.bool_]] = []
    for number, attack in enumerate(attacks):
        rows = np.flatnonzero(left)
        if len(rows):
            where = xp.asarray(rows, device=device_of(inputs.images))
            already = number * n + n - len(rows)
            part = replace(
                inputs,
                images=inputs.images[where],
                labels=inputs.labels[where],
                index=inputs.index[rows],
                after=_shifted(after, already, attack.title),
            )
            images_adv[where] = attack.run(classifier, part)
            # Asked again: what counts is the answer to the image that is handed out.
            left[rows] = _right(judge, images_adv[where], part.labels)
        resisted.append(left & True)
        after((number + 1) * n, attack.title)
    return Outcomes(
        clean=clean, resisted=np.stack(resisted), images_adv=np.ascontiguousarray(on_host(images_adv), np.float32)
    )


def assess(
    classifier: Classifier,
    attacks: Sequence[Attack],
    inputs: AttackInputs,
    *,
    chunk: int,
    judge: Classifier | None = None,
    after: Callable[[int, str], None] = lambda done, name: None,
) -> Iterator[Outcomes]:
    """All attacks, `chunk` images at a time and in order: each chunk's outcomes as soon as they are there.

    Whoever has seen enough stops asking. `judge` and `after` as in `assess_chunk`.
    """
    for first in range(0, inputs.images.shape[0], chunk):
        rows = slice(first, first + chunk)
        part = replace(inputs, images=inputs.images[rows], labels=inputs.labels[rows], index=inputs.index[rows])
        heard = first * len(attacks)
        yield assess_chunk(
            classifier, attacks, part, judge=judge, after=lambda k, name, heard=heard: after(heard + k, name)
        )


def joined(chunks: Iterable[Outcomes]) -> Outcomes:
    """Several chunks as one."""
    parts = list(chunks)
    return Outcomes(
        clean=np.concatenate([part.clean for part in parts]),
        resisted=np.concatenate([part.resisted for part in parts], axis=1),
        images_adv=np.concatenate([part.images_adv for part in parts]),
    )


def _shifted(after: Callable[[int, str], None], already: int, name: str) -> Callable[[int], None]:
    return lambda fooled: after(already + fooled, name)


def _right(classifier: Classifier, images: Array, labels: Array) -> NDArray[np.bool_]:
    logits = classifier.logits(images)
    return np.asarray(on_host(array_namespace(logits).argmax(logits, axis=-1) == labels), np.bool_)
