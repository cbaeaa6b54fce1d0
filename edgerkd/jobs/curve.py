"""Robust accuracy against the radius, for a run's student and on request for its teacher."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from edgerkd.attacks.flag_kinds import RISES
from edgerkd.attacks.suite import attacks_named
from edgerkd.core.by_class import clean_only
from edgerkd.core.curve import CurvePoint, CurveReport, EpsCurve
from edgerkd.core.errors import ConfigError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.flag import Flag
from edgerkd.core.progress import Progress
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.units import Radius
from edgerkd.files.decode import encode_json
from edgerkd.jobs.evaluate import Campaign, Request, Subject, begin, subject_in
from edgerkd.jobs.ranks import open_ranks
from edgerkd.jobs.teacher_cache import teacher_of
from edgerkd.report.curve import render_curve


def draw_curve(
    run: RunFolder,
    request: Request,
    radii: Sequence[Radius],
    *,
    with_teacher: bool,
    progress: Progress,
    show: Callable[[CurveReport], None] = lambda found: None,
) -> CurveReport | None:
    """Attack at each radius on its own, and write curve.json and curve.html.

    Each finished chunk of each radius survives a kill. Under torchrun the first process returns the
    curves, the others None. Raises ConfigError where no radius is above 0, or the teacher is gone.
    """
    if max(radii) == 0:
        raise ConfigError("--curve: name at least one radius above 0, like 0,2/255,4/255,8/255")
    with open_ranks() as ranks:
        writes = [run.curve, run.curve_page]
        campaign = begin(run, replace(request, eps=max(radii)), ranks=ranks, progress=progress, writes=writes)
        subjects = [subject_in(run.trained, "student"), *([_teacher(campaign.record)] if with_teacher else [])]
        curves = tuple(_curve(campaign, subject, radii) for subject in subjects)
        attacks, notices = attacks_named(request.attack, classes=campaign.record.architecture.classes)
        report = CurveReport(
            run=run.path.resolve().name,
            split="test",
            n=len(campaign.test),
            of=len(campaign.dataset.test),
            norm=campaign.threat_model.norm,
            attacks=tuple(attack.id for attack in attacks),
            seed=request.seed,
            curves=curves,
            flags=(*notices, *(flag for curve in curves for flag in rises(curve))),
        )
        campaign.finish(lambda: show(report), {run.curve: encode_json(report), run.curve_page: render_curve(report)})
    return report if ranks.first else None


def _curve(campaign: Campaign, subject: Subject, radii: Sequence[Radius]) -> EpsCurve:
    def attack(eps: Radius) -> Evaluation:
        return campaign.attack(replace(subject, name=f"{subject.name} at {eps}"), eps=eps).evaluation

    found = [attack(eps) for eps in radii if eps > 0]
    points = [CurvePoint(eps=e.threat_model.eps, robust_acc=e.robust_acc, by_class=e.by_class) for e in found]
    if 0 in radii:
        points.insert(
            0, CurvePoint(eps=Radius(0), robust_acc=found[0].clean_acc, by_class=clean_only(found[0].by_class))
        )
    return EpsCurve(name=subject.name, architecture=subject.network.architecture, points=tuple(points))


def rises(curve: EpsCurve) -> tuple[Flag, ...]:
    """A flag for each radius at which the accuracy is higher than at a smaller one: there the attack is too weak."""
    return tuple(
        RISES.raised(
            network=curve.name,
            before=before.robust_acc.value,
            eps_before=str(before.eps),
            after=after.robust_acc.value,
            eps_after=str(after.eps),
        )
        for before, after in pairwise(curve.points)
        if after.robust_acc.value > before.robust_acc.value
    )


def _teacher(record: RunRecord) -> Subject:
    """The teacher the run learned from, out of the cache."""
    try:
        return Subject(name="teacher", network=teacher_of(record), sha256=str(record.teacher_sha256))
    except ConfigError as e:
        raise ConfigError(f"--with-teacher: {e}; without the flag the student alone is drawn") from e
