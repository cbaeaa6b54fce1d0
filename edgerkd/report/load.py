"""What the files of a run say, gathered for a report."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgerkd.bundle.kept import Kept, kept_path, read_kept
from edgerkd.bundle.read import bundle_key
from edgerkd.core.curve import CurveReport
from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.manifest import MANIFEST, Manifest
from edgerkd.core.precision import PrecisionSearch
from edgerkd.core.ranges import Sha256
from edgerkd.core.record import Record
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.variance_gap import VarianceGapReport
from edgerkd.core.verification import VerifyReport
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json, decode_lines
from edgerkd.files.paths import shown

T = TypeVar("T", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Record):
    """One run, or a bundle of one's own network, which has no `record`. None, and no epochs, mean: not done yet.

    `baseline` is a network of the student's size trained on clean images; `manifest` and `manifest_sha256` are of the
    bundle that lies there now, which may be newer than `verification`. `signed_by` is the fingerprint of the key that
    signed the verification, None where nobody did, or nobody looked.
    """

    SCHEMA = 1

    run: str
    record: RunRecord | None
    epochs: tuple[Epoch, ...]
    student: Evaluation | None
    teacher: Evaluation | None
    baseline: Evaluation | None
    curve: CurveReport | None
    variance_gap: VarianceGapReport | None
    manifest_sha256: str | None
    verification: VerifyReport | None
    manifest: Manifest | None = None
    signed_by: Sha256 | None = None

    @property
    def searches(self) -> tuple[PrecisionSearch, ...]:
        """How the bundle's variants of lower precision were found, those first that it has."""
        if self.manifest is None:
            return ()
        return (*(v.search for v in self.manifest.variants if v.search is not None), *self.manifest.rejected)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, by number; none where only another bundle's are known."""
        if self.record is not None:
            return self.record.data.classes
        return () if self.manifest is None or self.stale else self.manifest.model.classes

    @property
    def stale(self) -> bool:
        """Whether the verification is of another bundle than the run's."""
        verified = self.verification.manifest_sha256 if self.verification else None
        return None not in (verified, self.manifest_sha256) and verified != self.manifest_sha256


def load_facts(run: RunFolder) -> Facts:
    """Raises ConfigError where there is neither a run nor a bundle, ArtefactError for a damaged file, naming it."""
    manifest = run.bundle / MANIFEST
    is_run, has_bundle = run.recipe.is_file(), manifest.is_file()
    if not is_run and not has_bundle:
        if run.bundle.is_file():
            raise ConfigError(f"{run.bundle} is a file: give the folder of a run (--run) or of a bundle to report on.")
        raise ConfigError(
            f"Neither {shown(run.recipe)} nor {shown(manifest)} is there: a report is made in the folder of a run, or "
            "of a bundle. Where `edgerkd verify` ran elsewhere, copy its report into that folder."
        )
    verification = verification_path(run)
    return Facts(
        run=(run.path if is_run else run.bundle).resolve().name,
        record=decode_json(RunRecord, run.recipe) if is_run else None,
        epochs=decode_lines(Epoch, run.metrics) if run.metrics.exists() else (),
        student=_find(Evaluation, run.evaluation),
        teacher=_find(Evaluation, run.teacher),
        baseline=_find(Evaluation, run.baseline),
        curve=_find(CurveReport, run.curve),
        variance_gap=_find(VarianceGapReport, run.variance_gap),
        manifest=decode_json(Manifest, manifest) if has_bundle else None,
        manifest_sha256=sha256_of(manifest) if has_bundle else None,
        verification=None if verification is None else decode_json(VerifyReport, verification),
    )


def verification_path(run: RunFolder) -> Path | None:
    """The report on the bundle that lies there; where a run has none the newest, which is about another."""
    manifest = run.bundle / MANIFEST
    if manifest.is_file():
        own = run.verification(bundle_key(run.bundle, sha256_of(manifest)))
        if own.exists():
            return own
    return newest_verification(run.path) if run.recipe.is_file() else None


def newest_verification(folder: Path) -> Path | None:
    """The report in a folder that was written last."""
    return max(folder.glob("verify*.json"), key=lambda path: path.stat().st_mtime, default=None)


def load_kept(path: Path | None, report: VerifyReport | None) -> Kept | None:
    """What was kept beside a report, which lies at `path`; None where that file is not here.

    Raises ArtefactError where it is damaged, or is of another verification.
    """
    if path is None or report is None or report.kept is None or not kept_path(path).exists():
        return None
    file = kept_path(path)
    if sha256_of(file, error=ArtefactError) != report.kept.sha256:
        raise ArtefactError(f"{shown(file)}: it is not the file that {shown(path)} names: remove it, or verify again.")
    return read_kept(file)


def undone(facts: Facts) -> tuple[str, ...]:
    """What has not been done yet, each with the command that does it."""
    lines = [] if facts.record is None else _undone_training(facts, facts.record)
    if facts.verification is None:
        first = "edgerkd export, then " if facts.manifest_sha256 is None else ""
        lines.append(f"not verified yet: {first}edgerkd verify")
    elif facts.stale:
        lines.append("the bundle was exported again after the verification: edgerkd verify")
    return tuple(lines)


def _undone_training(facts: Facts, record: RunRecord) -> list[str]:
    lines: list[str] = []
    if len(facts.epochs) < record.recipe.epochs:
        lines.append(f"trained for {len(facts.epochs)} of {record.recipe.epochs} epochs: edgerkd distill --resume")
    if facts.student is None:
        lines.append("the student is not evaluated yet: edgerkd evaluate")
    if facts.teacher is None and record.teacher is not None:
        lines.append("the teacher was not evaluated on these images: edgerkd distill does that when training ends")
    if facts.baseline is None:
        lines.append("no standard-trained student to compare with: edgerkd demo trains one")
    return lines


def _find(cls: type[T], path: Path) -> T | None:
    return decode_json(cls, path) if path.exists() else None
