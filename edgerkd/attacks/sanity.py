"""Whether images, labels and a model are what attacks take them for: one clear error where they are not."""

import math
from collections.abc import Generator
from contextlib import contextmanager

from array_api_compat import array_namespace

from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.core.errors import ConfigError, EdgerkdError, EngineError, problems_text

_SUM = 1e-3  # how far the sum of probabilities rounded to float16 is from one; ours (AutoAttack: 1e-5, float32)


def check_images(images: Array) -> None:
    """Images must be float32 (n, c, h, w) in [0, 1], n above 0. Raises ConfigError with every problem there is."""
    if problems := _image_problems(images):
        raise ConfigError(problems_text("images", problems))


def check_arrays(images: Array, labels: Array, *, classes: int) -> None:
    """Images as for `check_images`, and labels integers (n,) from 0 to `classes` - 1.

    Raises ConfigError with every problem there is.
    """
    if problems := _image_problems(images) + _label_problems(labels, tuple(images.shape)[:1], classes):
        raise ConfigError(problems_text("images and labels", problems))


def _image_problems(images: Array) -> list[str]:
    xp = array_namespace(images)
    shape, problems = tuple(images.shape), list[str]()
    if len(shape) != 4 or 0 in shape:
        problems.append(f"images have the shape {shape}: expected (n, channels, height, width), none of them 0")
    if images.dtype != xp.float32:
        problems.append(f"images are {images.dtype}: expected float32 in [0, 1] (divide bytes by 255)")
    elif 0 not in shape:
        low, high = float(xp.min(images)), float(xp.max(images))
        if not math.isfinite(low + high):
            problems.append("images hold NaN or infinite values: expected [0, 1]")
        elif not (low >= 0 and high <= 1):
            problems.append(f"images range from {low:g} to {high:g}: expected [0, 1]; normalise inside the model")
    return problems


def _label_problems(labels: Array, expected: tuple[int, ...], classes: int) -> list[str]:
    xp, problems = array_namespace(labels), list[str]()
    if tuple(labels.shape) != expected:
        problems.append(f"labels have the shape {tuple(labels.shape)}: expected one for each image, {expected}")
    if not xp.isdtype(labels.dtype, "integral"):
        problems.append(f"labels are {labels.dtype}: expected integers")
    elif 0 not in labels.shape:
        low, high = int(xp.min(labels)), int(xp.max(labels))
        if low < 0 or high >= classes:
            problems.append(f"labels range from {low} to {high}: the model's {classes} classes are 0 to {classes - 1}")
    return problems


def first_answer(classifier: Classifier, image: Array) -> int:
    """How many classes a classifier that nobody here made gives one image (1, c, h, w) scores of.

    Raises EngineError where it does not take the image, gives no array, or one of another form than (1, k).
    """
    with _blamed(f"the model does not answer an image of shape {tuple(image.shape)}"):
        shape = tuple(classifier.logits(image).shape)
    if len(shape) != 2 or shape[0] != 1:
        raise EngineError(f"the model gives an array of shape {shape} for one image: expected its logits, (1, classes)")
    return shape[1]


def check_classifier(classifier: Classifier, images: Array, *, classes: int) -> None:
    """Whether a few images (n, c, h, w) get logits (n, `classes`) and gradients (n, c, h, w), all of them finite.

    Probabilities are no logits. Costs one pass forward, and one forward and backward. Raises EngineError for the
    first thing that is wrong.
    """
    logits = classifier.logits(images)
    expected, found = (images.shape[0], classes), tuple(logits.shape)
    if found != expected:
        raise EngineError(
            f"the model returns logits of the shape {found} for {expected[0]} images: expected {expected}, one a class"
        )
    _check_finite(logits, "logits")
    if are_probabilities(logits):
        raise EngineError(
            "the model returns probabilities: each image's numbers are at least 0 and sum to 1; attacks need the "
            "logits, so take off the softmax at its end"
        )
    with _blamed("the model gives no gradient"):
        _, gradient = classifier.gradient(images, array_namespace(logits).ones_like)
    if tuple(gradient.shape) != tuple(images.shape):
        raise EngineError(
            f"the model returns gradients of the shape {tuple(gradient.shape)}: expected that of the images, "
            f"{tuple(images.shape)}"
        )
    _check_finite(gradient, "gradients")


@contextmanager
def _blamed(what: str) -> Generator[None]:
    """Whatever a model that nobody here made raises ends as EngineError, which begins with `what`."""
    try:
        yield
    except EdgerkdError:
        raise
    except Exception as e:
        reason = str(e).splitlines()[0] if str(e) else ""
        raise EngineError(f"{what}: {type(e).__name__}: {reason}") from e


def are_probabilities(logits: Array) -> bool:
    """Whether all numbers (n, k) are at least 0 and every row sums to 1.

    Source: AutoAttack, checks.py, check_range_output.
    """
    xp = array_namespace(logits)
    return bool(xp.all(logits >= 0)) and bool(xp.all(xp.abs(xp.sum(logits, axis=-1) - 1) < _SUM))


def _check_finite(answers: Array, what: str) -> None:
    xp = array_namespace(answers)
    rows = xp.reshape(answers, (answers.shape[0], -1))
    bad = int(xp.sum(xp.astype(xp.any(~xp.isfinite(rows), axis=-1), xp.int64)))
    if bad:
        raise EngineError(
            f"the model returns NaN or infinite {what} for {bad} of {answers.shape[0]} images: no attack can say how "
            "robust it is"
        )
