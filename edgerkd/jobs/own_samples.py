"""`verify --data`: labelled images of the verifier's own, checked against a bundle's model. Works without torch."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.data_request import DataRequest
from edgerkd.core.errors import ConfigError
from edgerkd.core.manifest import Manifest
from edgerkd.core.progress import Progress
from edgerkd.core.units import Radius
from edgerkd.data.load import load_samples
from edgerkd.data.samples import Checked, channels_first
from edgerkd.data.split import draw
from edgerkd.jobs.threat import check_radius
from edgerkd.verify.own import Brought, OwnSamples

_SHOWN = 5  # names of classes in a message


def bring(
    request: DataRequest | None, manifest: Manifest, *, n: int, eps: Radius | None, progress: Progress
) -> Brought:
    """What the verifier brings beside a bundle: images, drawn by a seed that nobody could foresee, and a radius.

    Raises as `load_own_samples` does, and ConfigError for a radius of 0 or beyond what the bundle's norm can have.
    """
    if eps is not None:
        check_radius(replace(manifest.threat_model, eps=eps))
    if request is None:
        return Brought(eps=eps)
    seed = secrets.randbits(53)
    return Brought(samples=load_own_samples(request, manifest, n=n, seed=seed, progress=progress), eps=eps)


def load_own_samples(request: DataRequest, manifest: Manifest, *, n: int, seed: int, progress: Progress) -> OwnSamples:
    """`n` images at most of the test split, or of all where there is none, drawn by class, for the manifest's model.

    Pictures are prepared as the bundle says that they must be. Classes go by name where the data name them, by number
    where they do not. Raises as data/load.py's `load_samples` does, and ConfigError for images or classes that are not
    the model's.
    """
    data = load_samples(request, prepared=manifest.preprocessing, progress=progress)
    assert data.test is not None
    number = class_numbers(data, manifest.model.classes)
    drawn = data.test.take(draw(data.test.labels, n, seed=seed))
    pixels = _fitting(channels_first(drawn.images), data.name, manifest.model.image_shape)
    for line in data.notes:
        progress.say(f"note: {line}")
    return OwnSamples(data=data.name, pixels=pixels, labels=number[drawn.labels], of=len(data.test), seed=seed)


def class_numbers(data: Checked, classes: Sequence[str]) -> NDArray[np.int64]:
    """For each class of the data, which of the model's `classes` it is (k,).

    Raises ConfigError for names that the model does not know, and for numbers that it has not.
    """
    if data.numbered and not set(data.classes) <= set(classes):
        if len(data.classes) > len(classes):
            raise ConfigError(
                f"--data {data.name}: labels reach {len(data.classes) - 1}, and the bundle's model has {len(classes)} "
                f"classes, 0 to {len(classes) - 1}: bring images of these classes alone."
            )
        return np.arange(len(data.classes))
    unknown = [name for name in data.classes if name not in classes]
    if unknown:
        raise ConfigError(
            f"--data {data.name}: the bundle's model has no class named {_listed(unknown)}: it knows "
            f"{_listed(classes)}. Name the folders, or class_names, after the model's classes, and leave others out."
        )
    return np.asarray([classes.index(name) for name in data.classes], np.int64)


def _fitting(pixels: NDArray[np.uint8], name: str, image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Grey images with as many channels as the model takes. Raises ConfigError for others than it takes."""
    channels, height, width = image_shape
    if pixels.shape[1:] == (1, height, width) and channels == 3:
        return np.repeat(pixels, 3, axis=1)
    if pixels.shape[1:] != image_shape:
        there, needed = (f"{w}x{h} {'grey' if c == 1 else 'colour'}" for c, h, w in (pixels.shape[1:], image_shape))
        raise ConfigError(
            f"--data {name}: its images are {there}, and the bundle's model takes {needed} ones: bring images that "
            "are prepared as those that the model was trained on."
        )
    return pixels


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
