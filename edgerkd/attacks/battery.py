"""The attacks a robustness figure is made of, run one after the other on the same images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.losses import Loss, cross_entropy, margin
from edgerkd.attacks.pgd import pgd
from edgerkd.core.threat import ThreatModel

STEPS = 20

BATTERY: dict[str, Callable[[Array], Loss]] = {"PGD-20 CE": cross_entropy, "PGD-20 margin": margin}
"""Two losses, for each is blind where the other sees: CE where logits saturate, margin where it has plateaus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One attack: its images (n, c, h, w), the logits (n, k) they got, and whether each was still answered right."""

    name: str
    images_adv: Array
    logits: Array
    resisted: Array


def run_battery(
    classifier: Classifier,
    images: Array,
    labels: Array,
    *,
    threat_model: ThreatModel,
    seed: int,
    batch: int,
    after: Callable[[int, str], None],
) -> Iterator[Outcome]:
    """Every attack of the battery, each with its own random start; `after` hears (images done in all, attack)."""
    xp = array_namespace(images)
    eps, n = float(threat_model.eps), images.shape[0]
    for index, (name, loss) in enumerate(BATTERY.items()):
        generator = np.random.default_rng((seed, index))
        parts: list[tuple[Array, Array]] = []
        for first in range(0, n, batch):
            rows = slice(first, first + batch)
            images_adv = pgd(
                classifier,
                images[rows],
                labels[rows],
                eps=eps,
                steps=STEPS,
                step_size=eps / 4,  # 2/255 for 8/255. Source: Madry et al. 2018, section 5, CIFAR-10
                generator=generator,
                loss=loss,
            )
            parts.append((images_adv, classifier.logits(images_adv)))
            after(index * n + min(first + batch, n), name)
        images_adv, logits = (xp.concat([part[i] for part in parts], axis=0) for i in range(2))
        resisted = xp.argmax(logits, axis=-1) == labels
        yield Outcome(name=name, images_adv=images_adv, logits=logits, resisted=resisted)
