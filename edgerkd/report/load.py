"""What the files of a run say, gathered for a report."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgerkd.bundle.read import bundle_key
from edgerkd.core.curve import CurveReport
from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ConfigError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.manifest import MANIFEST, Manifest
from edgerkd.core.precision import PrecisionSearch
from edgerkd.core.record import Record
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.variance_gap import VarianceGapReport
from edgerkd.core.verification import VerifyReport
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json, decode_lines

T = TypeVar("T", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Record):
    """One run. None, and no epochs, mean: not done yet.

    `baseline` is a network of the student's size trained on clean images; `manifest_sha256` is of the
    bundle that lies in the run's folder now, which may be newer than `verification`, and `searches` are how its
    variants of lower precision were found, those first that it has.
    """

    SCHEMA = 1

    run: str
    record: RunRecord
    epochs: tuple[Epoch, ...]
    student: Evaluation | None
    teacher: Evaluation | None
    baseline: Evaluation | None
    curve: CurveReport | None
    variance_gap: VarianceGapReport | None
    manifest_sha256: str | None
    verification: VerifyReport | None
    searches: tuple[PrecisionSearch, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether the verification is of another bundle than the run's."""
        verified = self.verification.manifest_sha256 if self.verification else None
        return None not in (verified, self.manifest_sha256) and verified != self.manifest_sha256


def load_facts(run: RunFolder) -> Facts:
    """Raises ConfigError where there is no run, ArtefactError for a damaged file, naming it."""
    if not run.recipe.is_file():
        raise ConfigError(
            f"{run.recipe} is missing: a report is made in the folder of a run. Where `edgerkd verify` ran elsewhere, "
            "copy its report into that folder."
        )
    manifest = run.bundle / MANIFEST
    return Facts(
        run=run.path.resolve().name,
        record=decode_json(RunRecord, run.recipe),
        epochs=decode_lines(Epoch, run.metrics) if run.metrics.exists() else (),
        student=_find(Evaluation, run.evaluation),
        teacher=_find(Evaluation, run.teacher),
        baseline=_find(Evaluation, run.baseline),
        curve=_find(CurveReport, run.curve),
        variance_gap=_find(VarianceGapReport, run.variance_gap),
        manifest_sha256=sha256_of(manifest) if manifest.is_file() else None,
        verification=_verification(run),
        searches=_searches(manifest),
    )


def _searches(path: Path) -> tuple[PrecisionSearch, ...]:
    if not path.is_file():
        return ()
    manifest = decode_json(Manifest, path)
    return (*(v.search for v in manifest.variants if v.search is not None), *manifest.rejected)


def _verification(run: RunFolder) -> VerifyReport | None:
    """The report on the bundle that lies there; where there is none the newest, which is about another."""
    manifest = run.bundle / MANIFEST
    if manifest.is_file():
        own = run.verification(bundle_key(run.bundle, sha256_of(manifest)))
        if own.exists():
            return decode_json(VerifyReport, own)
    reports = sorted(run.path.glob("verify*.json"), key=lambda path: path.stat().st_mtime)
    return decode_json(VerifyReport, reports[-1]) if reports else None


def undone(facts: Facts) -> tuple[str, ...]:
    """What has not been done yet, each with the command that does it."""
    recipe, lines = facts.record.recipe, list[str]()
    if len(facts.epochs) < recipe.epochs:
        lines.append(f"trained for {len(facts.epochs)} of {recipe.epochs} epochs: edgerkd distill --resume")
    if facts.student is None:
        lines.append("the student is not evaluated yet: edgerkd evaluate")
    if facts.teacher is None:
        lines.append("the teacher was not evaluated on these images: edgerkd distill does that when training ends")
    if facts.baseline is None:
        lines.append("no standard-trained student to compare with: edgerkd demo trains one")
    if facts.verification is None:
        first = "edgerkd export, then " if facts.manifest_sha256 is None else ""
        lines.append(f"not verified yet: {first}edgerkd verify")
    elif facts.stale:
        lines.append("the bundle was exported again after the verification: edgerkd verify")
    return tuple(lines)


def _find(cls: type[T], path: Path) -> T | None:
    return decode_json(cls, path) if path.exists() else None
