"""The deployed graph and the judged images as VNN-LIB properties, which formal verifiers read.

A property asks for a counterexample: an image within the radius, in [0, 1], for which another class's logit is at least
the label's. `unsat` is a proof of robustness, for that image and that graph; an engine that was built from the graph
may round otherwise.

Two forms are written, in a folder each, as the competition of 2026 has them (VNN-COMP 2026, benchmarks): 1.0, which
most verifiers read (vnnlib.org, "VNN-LIB standard", 2019), and 2.0, the standard's own (VNN-LIB 2.0, 2025, section 2).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.kept import Kept, ids_of, kept_path
from edgerkd.bundle.read import Bundle
from edgerkd.core.errors import ArtefactError, ConfigError, UnknownNameError
from edgerkd.core.run import RunFolder
from edgerkd.core.variant import Variant
from edgerkd.core.verification import VerifyReport
from edgerkd.files.atomic import folder_atomic, write_atomic
from edgerkd.files.decode import decode_json
from edgerkd.files.paths import GRAPH_LIMIT, find_kind, read_file, shown
from edgerkd.report.load import load_kept, verification_path

SECONDS = 300
"""A verifier's time for one image. Ours: what most benchmarks of VNN-COMP give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One image: `low` and `high` float64 (c, h, w) bound it, `label` is its class of `classes`; `words` name it."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    label: int
    classes: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How many properties were written, of so many images that were judged, and the variant whose graph they are of."""

    count: int
    of: int
    variant: Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """`pixels` uint8 (n, c, h, w) with `labels` (n,), and the `numbers` (n,) by which they are known as `whose`."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    numbers: NDArray[np.int64]
    whose: str


def write_judged(run: RunFolder, bundle: Bundle, target: Path, name: str | None) -> Written:
    """Properties of the variant of that name, else of the one that was verified, else of the first.

    Of the images that the verifier brought, `verify` keeps a few beside its report: those are written. Raises
    UnknownNameError, ConfigError where none is kept, and what `write_vnnlib` raises.
    """
    path = verification_path(run)
    report = None if path is None else decode_json(VerifyReport, path)
    if report is not None and report.manifest_sha256 != bundle.sha256:
        report = None
    variants = {variant.name: variant for variant in bundle.manifest.variants}
    asked = name or (bundle.manifest.variants[0].name if report is None else report.engine.variant)
    if asked not in variants:
        raise UnknownNameError("variant of this bundle", asked, list(variants))
    if report is not None:  # the verifier may have judged within a radius of their own
        bundle = replace(bundle, manifest=replace(bundle.manifest, threat_model=report.threat_model))
    kept = load_kept(path, report)
    own = report is not None and report.samples.source == "verifier" and report.samples.seed is not None
    if own and kept is None:
        assert path is not None
        raise ConfigError(
            f"--vnnlib: the images that were judged are the verifier's own, and {shown(kept_path(path))}, where a few "
            f"of them are kept, is not there: copy it beside the report. {OF_ALL}"
        )
    count = write_vnnlib(target, bundle, variants[asked], kept, own=own)
    return Written(count=count, of=len(kept.ids) if own and kept is not None else count, variant=variants[asked])


OF_ALL = "For properties of all images of your own, make a bundle with them: `edgerkd bundle MODEL --data DATA`."
"""What to do where not all that were judged are kept."""


def write_vnnlib(target: Path, bundle: Bundle, variant: Variant, kept: Kept | None, *, own: bool = False) -> int:
    """A folder with graph, properties and instances.csv for each form; returns how many images it has.

    `kept` names the images that were judged; without it all of the bundle's are written. If they are the verifier's
    `own`, it holds those that are. Raises ConfigError for a radius in L2, which the format has no words for, and where
    there is no image to write, ArtefactError for damaged samples, StorageError where `target` cannot be written.
    """
    threat_model = bundle.manifest.threat_model
    if threat_model.norm != "Linf":
        raise ConfigError(
            f"--vnnlib: the threat model is {threat_model}, and a VNN-LIB property bounds each value on its own: only "
            "Linf radii can be written. Verify a bundle that was made with --norm Linf."
        )
    if find_kind(target) == "a folder" and any(target.iterdir()):
        raise ConfigError(f"--vnnlib: {shown(target)} must be empty or not exist.")
    images = _kept(kept) if own and kept is not None else _stored(bundle, variant, kept)
    graph = read_file(bundle.path / variant.graph, limit=GRAPH_LIMIT, error=ArtefactError)
    name = f"onnx/{variant.graph}"
    with folder_atomic(target) as folder:
        for form, written in FORMS.items():
            write_atomic(folder / form / name, graph)
            lines: list[str] = []
            for number, found in zip(images.numbers, _properties(bundle, images), strict=True):
                file = f"vnnlib/image-{number:05}.vnnlib"
                write_atomic(folder / form / file, written(found))
                lines.append(f"{name},{file},{SECONDS}\n")
            write_atomic(folder / form / "instances.csv", "".join(lines))
    return len(images.numbers)


def _stored(bundle: Bundle, variant: Variant, kept: Kept | None) -> _Images:
    """Those of the bundle that were judged, or all."""
    samples, _ = bundle.samples(variant)
    rows = np.arange(len(samples)) if kept is None else np.flatnonzero(np.isin(ids_of(samples.pixels), kept.ids))
    if not len(rows):
        raise ConfigError("--vnnlib: none of the images that were judged is in the bundle, which has no others.")
    return _Images(
        pixels=samples.pixels[rows], labels=samples.labels[rows], numbers=rows, whose=f"bundle {bundle.sha256[:12]}"
    )


def _kept(kept: Kept) -> _Images:
    """The verifier's own, in the order in which they were judged."""
    if not len(kept.rows):
        raise ConfigError(f"--vnnlib: none of the images that were judged is kept beside the report. {OF_ALL}")
    order = np.argsort(kept.rows)
    return _Images(
        pixels=kept.images[order],
        labels=kept.labels[order],
        numbers=kept.rows[order],
        whose="the verifier's, in the order in which they were judged",
    )


def _properties(bundle: Bundle, images: _Images) -> Iterator[Property]:
    """Bounds are of the float32 image that the engine gets, widened by the exact radius."""
    manifest = bundle.manifest
    eps = float(manifest.threat_model.eps)
    for pixels, label, number in zip(images.pixels, images.labels, images.numbers, strict=True):
        image = np.divide(pixels, 255, dtype=np.float32).astype(np.float64)
        yield Property(
            low=np.maximum(image - eps, 0),
            high=np.minimum(image + eps, 1),
            label=int(label),
            classes=len(manifest.model.classes),
            words=f"image {number} of {images.whose}, label {label}, {manifest.threat_model}",
        )


def property_1(found: Property) -> str:
    """In VNN-LIB 1.0: each value of the image and each logit has a name of its own."""
    bounds = list(zip(found.low.ravel(), found.high.ravel(), strict=True))
    lines = [f"; {found.words}"]
    lines += [f"(declare-const X_{k} Real)" for k in range(len(bounds))]
    lines += [f"(declare-const Y_{k} Real)" for k in range(found.classes)]
    for k, (low, high) in enumerate(bounds):
        lines += [f"(assert (>= X_{k} {_number(low)}))", f"(assert (<= X_{k} {_number(high)}))"]
    wrong = " ".join(f"(and (>= Y_{k} Y_{found.label}))" for k in range(found.classes) if k != found.label)
    return "\n".join([*lines, f"(assert (or {wrong}))"]) + "\n"


def property_2(found: Property) -> str:
    """In VNN-LIB 2.0: the image and the logits are arrays, with a batch of one."""
    shape = ", ".join(map(str, (1, *found.low.shape)))
    lines = [
        f"; {found.words}",
        "(vnnlib-version <2.0>)",
        "(declare-network N",
        f"  (declare-input X float32 [{shape}])",
        f"  (declare-output Y float32 [1, {found.classes}]))",
    ]
    for index in np.ndindex(found.low.shape):
        where = ", ".join(map(str, (0, *index)))
        low, high = float(found.low[index]), float(found.high[index])
        lines += [f"(assert (>= X [{where}] {_number(low)}))", f"(assert (<= X [{where}] {_number(high)}))"]
    wrong = " ".join(f"(>= Y [0, {k}] Y [0, {found.label}])" for k in range(found.classes) if k != found.label)
    return "\n".join([*lines, f"(assert (or {wrong}))" if found.classes > 2 else f"(assert {wrong})"]) + "\n"


FORMS: dict[str, Callable[[Property], str]] = {"1.0": property_1, "2.0": property_2}
"""By the number of the form, which is its folder's name."""


def _number(value: float) -> str:
    """A decimal without an exponent, exact to 1e-9: neither form knows exponents."""
    return f"{value:.9f}"
