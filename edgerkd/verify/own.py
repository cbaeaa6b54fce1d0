"""Images of the verifier's own, in place of the bundle's: a table of the stored images answers none of them."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.read import Bundle
from edgerkd.bundle.samples import StoredSamples
from edgerkd.core.errors import ConfigError
from edgerkd.core.judged_samples import JudgedSamples
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.verify.distinct import distinct, near


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSamples:
    """`pixels` uint8 (n, c, h, w) with `labels` int64 (n,) as the model counts them, drawn by `seed` from `of` images.

    `data` is how messages call them.
    """

    data: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    of: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What the verifier brings in place of the bundle's: None where the bundle's counts.

    `made_here`: the verifier made the bundle of a model and data of their own, which are theirs in any case.
    """

    samples: OwnSamples | None = None
    eps: Radius | None = None
    made_here: bool = False


def judged_samples(
    bundle: Bundle, stored: StoredSamples, rows: NDArray[np.int64], brought: Brought, threat_model: ThreatModel
) -> tuple[StoredSamples, JudgedSamples]:
    """The images to judge by. What the host found belongs to the bundle's own images, within the bundle's radius."""
    if brought.samples is not None:
        return _own(brought.samples, stored, threat_model)
    samples, facts = _of_bundle(stored, rows, data=bundle.manifest.dataset, brought=brought.made_here)
    own = bundle.manifest.threat_model.eps
    if threat_model.eps < own:  # the host's images are outside this radius
        samples = replace(samples, images_adv=None, host_robust=None, transfers=None)
    elif threat_model.eps > own:
        samples = replace(samples, host_robust=None)
    return samples, facts


def _of_bundle(
    stored: StoredSamples, rows: NDArray[np.int64], *, data: str, brought: bool
) -> tuple[StoredSamples, JudgedSamples]:
    """The bundle's images at these `rows`; `brought`: the verifier made the bundle, so these are the verifier's own."""
    samples = stored.take(rows)
    facts = JudgedSamples(
        source="verifier" if brought else "bundle",
        data=data,
        n=len(samples),
        of=len(stored),
        repeated=len(stored) - len(samples),
        stored=0,
        seed=None,
        sha256=samples_digest(samples),
    )
    return samples, facts


def _own(own: OwnSamples, stored: StoredSamples, threat_model: ThreatModel) -> tuple[StoredSamples, JudgedSamples]:
    """The verifier's images: each once, and none that is a copy of one in the bundle (verify/distinct.py).

    A bundle's maker knows its images: an engine may have been made for just these. Raises ConfigError where none is
    left.
    """
    images, eps = own.pixels, float(threat_model.eps)
    fresh = np.flatnonzero(~near(images, stored.pixels, eps=eps, norm=threat_model.norm))
    if len(fresh) == 0:
        raise ConfigError(
            f"--data {own.data}: all {len(images)} images drawn are within the radius {threat_model.eps} of images "
            "in the bundle, which its maker has seen: bring others, or verify on the bundle's own without --data."
        )
    rows = fresh[distinct(images[fresh], eps=eps, norm=threat_model.norm)]
    samples = StoredSamples(pixels=own.pixels[rows], labels=own.labels[rows])
    facts = JudgedSamples(
        source="verifier",
        data=own.data,
        n=len(rows),
        of=own.of,
        repeated=len(fresh) - len(rows),
        stored=len(images) - len(fresh),
        seed=own.seed,
        sha256=samples_digest(samples),
    )
    return samples, facts


def samples_digest(samples: StoredSamples) -> str:
    """A SHA-256 of pixels, their shape and labels, in order."""
    digest = hashlib.sha256(str(samples.pixels.shape).encode())
    digest.update(np.ascontiguousarray(samples.pixels).data)
    digest.update(np.ascontiguousarray(samples.labels).data)
    return digest.hexdigest()
