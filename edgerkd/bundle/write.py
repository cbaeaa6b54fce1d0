"""Writing a bundle: all of it or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgerkd.bundle.card import CARD, model_card
from edgerkd.bundle.keys import Signer
from edgerkd.bundle.samples import Reference, StoredSamples, arrays_bytes
from edgerkd.bundle.signature import SIGNATURE, sign
from edgerkd.core.manifest import MANIFEST, FileEntry, Manifest
from edgerkd.core.model_spec import UNKNOWN_LICENSE
from edgerkd.core.precision import Placement, Precision, PrecisionSearch
from edgerkd.core.variant import PARITY, ParityLimits, Variant
from edgerkd.files.atomic import folder_atomic, sha256_of, write_atomic
from edgerkd.files.decode import decode_json, encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeVariant:
    """A variant with the contents of its files."""

    variant: Variant
    contents: Mapping[str, bytes]


def make_variant(
    precision: Precision,
    *,
    graph: bytes,
    twin: bytes,
    reference: Reference,
    backend: str | None = None,
    parity: ParityLimits | None = None,
    engine: tuple[str, bytes] | None = None,
    placement: Placement | None = None,
    search: PrecisionSearch | None = None,
) -> MadeVariant:
    """The variant named by its precision, and by its backend or its placement of quantisers where it has one.

    `engine` is one built elsewhere, as suffix and content. The limits of parity are its precision's unless given.
    """
    name = "-".join(part for part in (precision, backend, placement) if part)
    variant = Variant(
        name=name,
        precision=precision,
        backend=backend,
        graph=f"{name}.onnx",
        twin=f"{name}.twin.onnx",
        reference=f"{name}.reference.npz",
        parity=parity or PARITY[precision],
        engine=None if engine is None else f"{name}.engine{engine[0]}",
        placement=placement,
        search=search,
    )
    contents = {variant.graph: graph, variant.twin: twin, variant.reference: arrays_bytes(reference)}
    if variant.engine is not None and engine is not None:
        contents[variant.engine] = engine[1]
    return MadeVariant(variant=variant, contents=contents)


def write_bundle(
    folder: Path,
    manifest: Manifest,
    *,
    variants: Sequence[MadeVariant],
    samples: StoredSamples,
    license: str = UNKNOWN_LICENSE,
    signer: Signer | None = None,
) -> Manifest:
    """Write all files, a model card, the manifest with the digest of each of them, and the `signer`'s signature of all.

    An old bundle in `folder` is replaced only once the new one is complete, and its manifest can be read. Returns that.
    Raises ArtefactError for a manifest with values out of range.
    """
    with folder_atomic(folder) as new:
        files: dict[str, FileEntry] = {}
        contents = {manifest.samples: arrays_bytes(samples)}
        for made in variants:
            contents.update(made.contents)
        for name, content in contents.items():
            write_atomic(new / name, content)
            files[name] = FileEntry(size=len(content), sha256=sha256_of(new / name))
        complete = replace(manifest, variants=tuple(made.variant for made in variants), files=files)
        card = model_card(complete, license=license).encode()
        write_atomic(new / CARD, card)
        files[CARD] = FileEntry(size=len(card), sha256=sha256_of(new / CARD))
        write_atomic(new / MANIFEST, encode_json(complete))
        decode_json(Manifest, new / MANIFEST)
        if signer is not None:
            digests = {name: entry.sha256 for name, entry in files.items()}
            digests[MANIFEST] = sha256_of(new / MANIFEST)
            write_atomic(new / SIGNATURE, sign(folder.name, digests, signer))
    return complete
