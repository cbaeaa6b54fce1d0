"""What attacks on the host have done so far, on disk: one file for each chunk of images that is done."""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerkd.attacks.assess import Outcomes
from edgerkd.core.errors import ArtefactError, EdgerkdError
from edgerkd.core.threat import ThreatModel
from edgerkd.files.arrays import read_arrays
from edgerkd.files.atomic import write_atomic
from edgerkd.jobs.versions import host_versions

SCHEMA = 2
LIMIT = 1 << 33  # bytes of one array of a chunk; ours

Say = Callable[[str], None]
"""Hears of what the user should know while the work goes on."""


def digest_of(facts: dict[str, object]) -> str:
    """A SHA-256, in hex, of everything that decides a result."""
    return hashlib.sha256(json.dumps({"schema": SCHEMA, **facts}, sort_keys=True).encode()).hexdigest()


def store_of(
    folder: Path,
    *,
    network: str,
    data: str,
    n: int,
    threat_model: ThreatModel,
    attack: str,
    seed: int,
    device: str,
    **further: object,
) -> "ChunkStore":
    """The store below `folder` of these attacks on n test images; `network` and `data` are their digests.

    `further` facts decide the result as well. Other versions of what computes it begin anew.
    """
    facts: dict[str, object] = {
        "network": network,
        "data": data,
        "split": "test",
        "n": n,
        "norm": threat_model.norm,
        "eps": str(threat_model.eps),
        "attack": attack,
        "seed": seed,
        "device": device,
        "versions": host_versions(),
    }
    return ChunkStore(folder=folder, digest=digest_of(facts | further))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkStore:
    """The chunks of the evaluation that `digest` names, below `folder`."""

    folder: Path
    digest: str

    @property
    def path(self) -> Path:
        return self.folder / self.digest[:16]

    def file(self, first: int) -> Path:
        """The file of the chunk whose first image is `first`."""
        return self.path / f"chunk-{first:08d}.npz"

    def save(self, first: int, found: Outcomes) -> None:
        """Keep a finished chunk; atomic, so that a kill leaves all of it or nothing."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            digest=np.array(self.digest),
            first=np.array(first),
            clean=found.clean,
            resisted=found.resisted,
            images_adv=found.images_adv,
        )
        write_atomic(self.file(first), buffer.getvalue())

    def load(self, first: int, shape: tuple[int, ...], *, attacks: int, say: Callable[[str], None]) -> Outcomes | None:
        """The chunk of images of `shape` (n, c, h, w) from `first` on, or None where it is to be done.

        A damaged file is named and done again: it holds nothing that cannot be made anew, and a long
        evaluation should not end over it.
        """
        path = self.file(first)
        if not path.exists():
            return None
        try:
            return self._read(path, first, shape, attacks)
        except EdgerkdError as e:
            say(f"{e} These {shape[0]} images are attacked again.")
            return None

    def _read(self, path: Path, first: int, shape: tuple[int, ...], attacks: int) -> Outcomes:
        names = ("digest", "first", "clean", "resisted", "images_adv")
        arrays = read_arrays(path, names, limit=LIMIT)
        if str(arrays["digest"]) != self.digest or arrays["first"].shape != () or arrays["first"] != first:
            raise ArtefactError(f"{path}: it belongs to another evaluation.")
        expected = {"clean": (shape[:1], np.bool_), "resisted": ((attacks, shape[0]), np.bool_)}
        expected["images_adv"] = (shape, np.float32)
        for name, (size, kind) in expected.items():
            if arrays[name].shape != size or arrays[name].dtype != kind:
                found = f"{arrays[name].dtype} {arrays[name].shape}"
                raise ArtefactError(f"{path}: {name} is {found}, and {np.dtype(kind)} {size} is expected.")
        return Outcomes(clean=arrays["clean"], resisted=arrays["resisted"], images_adv=arrays["images_adv"])

    def clear(self) -> None:
        """Forget the chunks: the result is written."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def forget_all_but(stores: Sequence[ChunkStore]) -> None:
    """Remove other stores beside these, in the folder that they share: of other weights, images or versions."""
    kept = {store.path for store in stores}
    for path in {other for store in stores for other in store.folder.glob("*")} - kept:
        if re.fullmatch("[0-9a-f]{16}", path.name) and {each.suffix for each in path.glob("*")} <= {".npz", ".part"}:
            shutil.rmtree(path, ignore_errors=True)
