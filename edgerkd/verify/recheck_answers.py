"""Whether a report's figures are those of the bundle's images: their labels, and the answers that are stored for them.

Parity says that the engine answers as its reference does wherever that is sure. So a report that has it cannot say
otherwise of these very images, as they are or as the host changed them; where the reference is not sure, it may.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.flag_kinds import OTHER_LATER, RANDOMISED
from edgerkd.bundle.backend import FloatArray
from edgerkd.bundle.kept import Kept, ids_of
from edgerkd.bundle.read import Bundle
from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.core.by_class import ByClass, by_class
from edgerkd.core.judged import RIGHT, WRONG
from edgerkd.core.variant import PARITY, Variant
from edgerkd.core.verification import VerifyReport
from edgerkd.verify.evidence import host_text
from edgerkd.verify.parity import clear_of, limit_of
from edgerkd.verify.recheck_counts import ROUNDING

_BEFORE, _SHOWN = ascii_lowercase[:2]  # what fooled: noise comes first, then what the host made of the images
_CHANGES = (RANDOMISED.id, OTHER_LATER.id)  # by its own word the engine does not give one answer to an image


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """Of n images the answers, which of them are right, and which are sure: (n,) each."""

    answers: NDArray[np.int64]
    right: NDArray[np.bool_]
    sure: NDArray[np.bool_]

    def take(self, places: Sequence[int]) -> "_Answers":
        rows = list(places)
        return _Answers(answers=self.answers[rows], right=self.right[rows], sure=self.sure[rows])


def parity_problems(report: VerifyReport, variant: Variant, reference: Reference) -> Iterator[str]:
    """How many images were compared, and within which limit, follows from the `reference` alone."""
    parity, host = report.parity, [reference.logits]
    if reference.logits_adv is not None:
        host.append(reference.logits_adv)
    if parity.n != (n := sum(map(len, host))):
        yield f"parity.n: {parity.n}, and the bundle has {n} images to compare by"
    if abs(parity.limit - (limit := limit_of(np.concatenate(host), variant.parity))) > ROUNDING * limit:
        yield f"parity.limit: {parity.limit}, and by the bundle it is {limit}"


def answer_problems(
    report: VerifyReport,
    bundle: Bundle,
    samples: StoredSamples,
    reference: Reference,
    host: Reference | None,
) -> Iterator[str]:
    """All that is not so of the bundle's `samples` that were judged.

    For these the variant has this `reference`, and the float32 model that of the `host`.
    """
    names, judged = bundle.manifest.model.classes, report.judged
    if any(place >= len(samples) for place in judged.images):
        yield f"judged.images: of {len(samples)} images in the bundle"
        return
    if report.rows and judged.host != host_text(samples, judged.images, judged.fates):
        yield "judged.host: not what the bundle says that its host held of these images"
    yield from _by_class(report, samples, names)
    engine = model = None
    if report.parity.ok and not any(flag.id in _CHANGES for flag in report.flags):
        engine = _answers(reference.logits, report.parity.limit, samples)
        yield from _fates(report, engine.take(judged.images), clean=True)
        if reference.logits_adv is not None and samples.images_adv is not None:
            changed = _answers(reference.logits_adv, report.parity.limit, samples)
            yield from _fates(report, changed.take(judged.images), clean=False)
    if host is not None and report.plain.model is not None:
        model = _answers(host.logits, limit_of(host.logits, PARITY["fp32"]), samples)
    yield from _plain(report, samples, names, engine, model)


def images_problems(report: VerifyReport, kept: Kept, samples: StoredSamples) -> Iterator[str]:
    """Whether the file of images is about those of the bundle's `samples` that were judged."""
    images = list(report.judged.images)
    if max(images, default=0) >= len(samples):
        return
    if ids_of(samples.pixels[images]).tolist() != kept.ids.tolist():
        yield "kept: its images are not those of the bundle that judged.images names"
    elif samples.labels[images][kept.rows].tolist() != kept.labels.tolist():
        yield "kept.labels: not those of the bundle"


def _answers(logits: FloatArray, limit: float, samples: StoredSamples) -> _Answers:
    answers = logits.argmax(1)
    return _Answers(answers=answers, right=answers == samples.labels, sure=clear_of(logits, limit))


def _by_class(report: VerifyReport, samples: StoredSamples, names: Sequence[str]) -> Iterator[str]:
    """By the labels, and by what became of each image."""
    fates = "".join(report.judged.fates)
    labels = samples.labels[list(report.judged.images)].tolist()
    found = by_class(names, labels, [fate != WRONG for fate in fates], [fate == RIGHT for fate in fates])
    if report.rows and _counts(report.by_class) != _counts(found):
        yield "by_class: not what labels in the bundle and judged.fates give"
    counts = [(name, int((samples.labels == number).sum())) for number, name in enumerate(names)]
    if [(each.name, each.engine_acc.n) for each in report.plain.classes] != [each for each in counts if each[1]]:
        yield "plain.classes: not as many images of each class as the bundle has"


def _counts(found: ByClass) -> tuple[object, ...]:
    classes = [(each.name, each.clean_acc.n, each.clean_acc.hits, each.robust_acc.hits) for each in found.classes]
    return classes, found.missing


def _fates(report: VerifyReport, answers: _Answers, *, clean: bool) -> Iterator[str]:
    """What became of images whose reference is sure, as they are, or as the host changed them: the row after noise."""
    n = 0
    for fate, right, sure in zip("".join(report.judged.fates), answers.right, answers.sure, strict=True):
        if not sure:
            continue
        if clean:
            n += (fate != WRONG) != right
        else:
            n += fate == _SHOWN if right else fate not in (WRONG, _BEFORE, _SHOWN)
    if n:
        what = "as they are" if clean else "as the host changed them"
        yield f"judged.fates: {n} of them not what the bundle's stored answers to these images give, {what}"


def _plain(
    report: VerifyReport,
    samples: StoredSamples,
    names: Sequence[str],
    engine: _Answers | None,
    model: _Answers | None,
) -> Iterator[str]:
    """The counts of engine and model, of all images and of each class, and of their answers beside one another."""
    numbers = {name: number for number, name in enumerate(names)}
    for key, answers in (("engine_acc", engine), ("model_acc", model)):
        if answers is None:
            continue
        for number, each in enumerate(report.plain.classes):
            accuracy, rows = getattr(each, key), samples.labels == numbers.get(each.name, -1)
            if accuracy is not None and not _may_be(accuracy.hits, answers.right[rows], answers.sure[rows]):
                yield f"plain.classes.{number}.{key}: not what the bundle's stored answers to these images give"
    if engine is None or model is None or report.plain.model is None:
        return
    said, sure = report.plain.model, engine.sure & model.sure
    for key, hits, those in (
        ("engine_alone", said.engine_alone, engine.right & ~model.right),
        ("model_alone", said.model_alone, model.right & ~engine.right),
        ("same_answer", round(said.same_answer * len(samples)), engine.answers == model.answers),
    ):
        if not _may_be(hits, those, sure):
            yield f"plain.model.{key}: not what the bundle's stored answers to these images give"


def _may_be(hits: int, those: NDArray[np.bool_], sure: NDArray[np.bool_]) -> bool:
    """Whether it may be so many of the images, `those` by what is stored, where only what is `sure` is held."""
    least = int((those & sure).sum())
    return least <= hits <= least + int((~sure).sum())
