"""What of a verification is kept beside its report: each image's outcome, and a few with what the engine said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.ball import length
from edgerkd.attacks.classifier import Classifier
from edgerkd.attacks.losses import margin
from edgerkd.attacks.pgd import pgd
from edgerkd.bundle.backend import FloatArray
from edgerkd.bundle.kept import LIMIT, Kept, ids_of, kept_bytes
from edgerkd.core.errors import StorageError
from edgerkd.core.kept import SLACK, KeptFile, curve_of, radii_below
from edgerkd.core.progress import Progress
from edgerkd.core.threat import Norm, ThreatModel
from edgerkd.core.verification import VerifyReport
from edgerkd.files.atomic import sha256_of, write_atomic
from edgerkd.verify.classifier import BATCH, logits_of
from edgerkd.verify.evidence import Evidence
from edgerkd.verify.session import Session

EACH = 4
"""Images kept that the engine was most confidently wrong on, and as many that it held most confidently. Ours."""
STEPS = 10
"""Of the attack within a smaller radius, a quarter of it each. Ours."""
HALVINGS = 5
"""Of the way to an adversarial image, by which its distance is known to a thirty-second. Ours."""


def with_kept(
    report: VerifyReport, session: Session, evidence: Evidence, target: Path | None, *, progress: Progress
) -> VerifyReport:
    """The report with the curve of its images, which are written to `target` if there is one.

    Where that cannot be written it is said, and the report is there all the same. Raises EngineError.
    """
    kept = keep(session, evidence)
    report = replace(report, curve=curve_of(kept.distances.tolist(), session.threat_model.eps))
    if target is None:
        return report
    content = kept_bytes(kept)
    try:
        write_atomic(target, content)
    except StorageError as e:
        progress.say(f"the images are not kept: {e}")
        return report
    return replace(report, kept=KeptFile(file=target.name, size=len(content), sha256=sha256_of(target)))


def keep(session: Session, evidence: Evidence) -> Kept:
    """Asks the engine again, for what it says of the images that are kept and how small a change fools it."""
    samples = session.samples.take(np.array(evidence.judged.images))
    outcomes, classifier = evidence.outcomes, session.classifier
    images, images_adv, labels = samples.floats, outcomes.images_adv, samples.labels
    fooled = np.flatnonzero(outcomes.clean & ~outcomes.robust)
    distances = np.where(outcomes.clean, np.inf, 0).astype(np.float32)
    for part in np.split(fooled, range(BATCH, len(fooled), BATCH)):  # all at once are gigabytes of a large bundle
        distances[part] = nearest(classifier, images[part], images_adv[part], labels[part], session.threat_model)
    softmax_adv = _softmax(classifier, images_adv)
    rows = _shown(softmax_adv, labels, outcomes.robust, fooled)
    rows = rows[: max(1, LIMIT // (5 * images[0].size))]  # a byte of the image, four of the adversarial one
    softmax, softmax_adv = _softmax(classifier, images[rows]), softmax_adv[rows]
    return Kept(
        ids=ids_of(samples.pixels),
        clean=outcomes.clean,
        robust=outcomes.robust,
        distances=distances,
        rows=rows,
        images=samples.pixels[rows],
        images_adv=images_adv[rows],
        labels=labels[rows],
        answers=softmax.argmax(1),
        answers_adv=softmax_adv.argmax(1),
        shares=softmax.max(1, initial=0),
        shares_adv=softmax_adv.max(1, initial=0),
    )


def nearest(
    classifier: Classifier,
    images: FloatArray,
    images_adv: FloatArray,
    labels: NDArray[np.int64],
    threat_model: ThreatModel,
) -> NDArray[np.float32]:
    """How small a change of each image (n, c, h, w) fools, of those that can be found from ones that do.

    Those are made smaller, and at each smaller radius of the curve the images that they do not reach are attacked
    anew, by PGD on the margin. An upper bound of the distance to the decision boundary. Ours: of 397 digits it leaves
    within 0.3 points of what the whole attack leaves at each radius, and the first alone within 4.8 (docs/adr/0030).
    """
    norm = threat_model.norm
    distances = distances_to(classifier, images, images_adv, labels, norm=norm)
    for radius in radii_below(threat_model.eps)[::-1]:
        rows = np.flatnonzero(distances > float(radius) + SLACK)
        if not len(rows):
            continue
        inputs = AttackInputs(
            images=images[rows],
            labels=labels[rows],
            threat_model=replace(threat_model, eps=radius),
            seed=0,
            index=rows,
        )
        found = pgd(classifier, inputs, loss=margin, steps=STEPS, step_size=inputs.eps / 4)
        distances[rows] = np.minimum(
            distances[rows], distances_to(classifier, inputs.images, found, inputs.labels, norm=norm)
        )
    return distances


def distances_to(
    classifier: Classifier, images: FloatArray, images_adv: FloatArray, labels: NDArray[np.int64], *, norm: Norm
) -> NDArray[np.float32]:
    """How small a change fools, on the straight way from images (n, c, h, w) to others, by bisection.

    Infinite where the others do not fool either.
    """
    low, high = np.zeros(len(images), np.float32), np.ones(len(images), np.float32)
    change = images_adv - images
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        between = (images + middle[:, None, None, None] * change).astype(np.float32)
        answers = logits_of(classifier, between).argmax(1)
        wrong = answers != labels
        high, low = np.where(wrong, middle, high), np.where(wrong, low, middle)
    fool = logits_of(classifier, images_adv).argmax(1) != labels
    return np.where(fool, high * length(change, norm)[:, 0, 0, 0], np.inf).astype(np.float32)


def _shown(
    softmax: FloatArray, labels: NDArray[np.int64], robust: NDArray[np.bool_], fooled: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The rows of the most confident wrong answers under attack, in turn with the most confident right ones."""
    wrong = fooled[np.argsort(-softmax[fooled].max(1, initial=0), kind="stable")[:EACH]]
    held = np.flatnonzero(robust)
    right = held[np.argsort(-softmax[held, labels[held]], kind="stable")[:EACH]]
    order = np.argsort(np.concatenate([np.arange(len(wrong)), np.arange(len(right))]), kind="stable")
    return np.concatenate([wrong, right])[order]


def _softmax(classifier: Classifier, images: FloatArray) -> FloatArray:
    logits = logits_of(classifier, images)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)
