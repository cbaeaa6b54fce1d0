"""The variance gap of a run's networks, over radii and over the epochs of training."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edgerkd.attacks.ball import random_start
from edgerkd.attacks.losses import cross_entropy
from edgerkd.attacks.pgd import ascend
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.correlation import pearson
from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ConfigError
from edgerkd.core.progress import Progress
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.threat import Norm, ThreatModel
from edgerkd.core.units import LARGEST_RADIUS, Radius
from edgerkd.core.variance_gap import (
    EpochGap,
    GapPoint,
    NetworkGaps,
    VarianceGapReport,
    across,
    off_trend,
    over_radii,
)
from edgerkd.data.dataset import to_float
from edgerkd.distill.variance_gap import answers, gaps_between, spread
from edgerkd.files.decode import decode_json, decode_lines, encode_json
from edgerkd.jobs.distill import TEST_IMAGES
from edgerkd.jobs.evaluate import Request, begin
from edgerkd.jobs.ranks import ALONE
from edgerkd.jobs.teacher_cache import teacher_of
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.hardware import exact_float32, images_at_once
from edgerkd.models.network import Network
from edgerkd.models.store import load_network
from edgerkd.report.variance_gap import render_variance_gap

STEPS = 20  # of a quarter of the radius, as the suite's PGD
ATTACK = f"PGD-{STEPS} CE, to its last step"
STOPPED = "epochs: their gap is measured where validation's attack stopped, the radii's at the attack's last step"
FEW = (
    "fewer than three networks: nothing is compared across networks, which is what informs. "
    "Name further runs by --with."
)
QUARTERS = range(9)  # of the threat model's radius: from no attack to twice that radius


@exact_float32()
def variance_gap_of(
    run: RunFolder,
    others: Sequence[RunFolder],
    *,
    n: int | None,
    seed: int,
    progress: Progress,
    show: Callable[[VarianceGapReport], None] = lambda found: None,
) -> VarianceGapReport:
    """Measure the run's student and teacher and the students of `others`. Show it, write it and its page.

    On `n` test images, 1,000 at most if None. Raises ConfigError where the data are no longer the run's, or
    others' data are not, or two networks would have one name, and ArtefactError for a damaged file.
    """
    request = Request(n=TEST_IMAGES if n is None else n, seed=seed)
    writes = [run.variance_gap, run.variance_gap_page]
    campaign = begin(run, request, ranks=ALONE, progress=progress, writes=writes)
    record, test, own = campaign.record, campaign.test.to(ALONE.device), campaign.threat_model
    networks, flags = _own_networks(run, record)
    _add_students(networks, others, run, record)
    images, labels = to_float(test.images), test.labels
    most = 1 if own.norm == "Linf" else LARGEST_RADIUS
    radii = [Radius(own.eps * quarter / 4) for quarter in QUARTERS if own.eps * quarter / 4 <= most]
    gaps = tuple(
        network_gaps(
            name, network.to(ALONE.device), images, labels, norm=own.norm, radii=radii, seed=seed, progress=progress
        )
        for name, network in networks.items()
    )
    networks_r, epochs = across(gaps, own.eps), _epochs(run)
    report = VarianceGapReport(
        run=run.path.resolve().name,
        split="test",
        n=len(test),
        of=len(campaign.dataset.test),
        threat_model=own,
        attack=ATTACK,
        seed=seed,
        networks=gaps,
        networks_r=networks_r,
        epochs=epochs,
        epochs_r=pearson([epoch.within_share for epoch in epochs], [epoch.robust_acc for epoch in epochs]),
        flags=(
            *(*flags, *([] if networks_r else [FEW]), *([STOPPED] if epochs else [])),
            *(line for network in gaps for line in off_trend(network)),
        ),
    )
    page = render_variance_gap(report)
    campaign.finish(lambda: show(report), {run.variance_gap: encode_json(report), run.variance_gap_page: page})
    return report


def _own_networks(run: RunFolder, record: RunRecord) -> tuple[dict[str, Network], tuple[str, ...]]:
    """The run's student, and its teacher where that is still kept here; else a line that says so."""
    networks = {"student": load_network(run.trained)}
    if record.teacher is None:
        return networks, ()
    try:
        return {**networks, "teacher": teacher_of(record)}, ()
    except ConfigError as e:
        return networks, (f"the teacher is not measured: {e}",)


def _add_students(networks: dict[str, Network], others: Sequence[RunFolder], run: RunFolder, record: RunRecord) -> None:
    """The students of other runs, each under its folder's name."""
    for other in others:
        name = other.path.resolve().name
        if name in networks:
            raise ConfigError(f"--with: a network named {name!r} is measured already. Rename the folder {other.path}.")
        networks[name] = _student_of(other, run, record)


def _student_of(other: RunFolder, run: RunFolder, record: RunRecord) -> Network:
    theirs = decode_json(RunRecord, other.recipe)
    if theirs.data.sha256 != record.data.sha256:
        raise ConfigError(
            f"--with: {other.path} was trained on {theirs.data.name}, {run.path} on {record.data.name}, and the images "
            "differ: name runs of the same data"
        )
    return load_network(other.trained)


def _epochs(run: RunFolder) -> tuple[EpochGap, ...]:
    """The epochs of training that noted their gap."""
    return tuple(
        EpochGap(epoch=epoch.epoch, robust_acc=epoch.val_robust_acc, within_share=epoch.val_within_share_gap)
        for epoch in (decode_lines(Epoch, run.metrics) if run.metrics.exists() else ())
        if epoch.val_within_share_gap is not None
    )


def network_gaps(
    name: str,
    network: Network,
    images: Tensor,
    labels: Tensor,
    *,
    norm: Norm,
    radii: Sequence[Radius],
    seed: int,
    progress: Progress,
) -> NetworkGaps:
    """One network, frozen by this, at every radius, each attacked on its own: float images (n, c, h, w), n at least 2.

    An image counts as robust if it is answered right both untouched and attacked.
    """
    network.eval().requires_grad_(False)
    clean = answers(network, images)
    right, own = clean.scores.argmax(1) == labels, spread(clean.penultimate, labels)
    points: list[GapPoint] = []
    with progress.stage(f"attacking {name}", len(images) * len(radii)) as advance:
        for number, eps in enumerate(radii):
            found = clean
            if eps:
                threat_model = ThreatModel(norm=norm, eps=eps)
                found = answers(network, attacked(network, images, labels, threat_model, seed=seed))
            robust = right & (found.scores.argmax(1) == labels)
            points.append(
                GapPoint(
                    eps=eps,
                    robust_acc=accuracy_from_correct(robust.tolist()),
                    gaps=gaps_between(clean, found, labels),
                )
            )
            advance((number + 1) * len(images), str(eps))
    return NetworkGaps(
        name=name,
        architecture=network.architecture,
        variance=own.total,
        within_share=own.share,
        points=tuple(points),
        r=over_radii(points),
    )


def attacked(network: Network, images: Tensor, labels: Tensor, threat_model: ThreatModel, *, seed: int) -> Tensor:
    """Images of the attack's last step.

    The suite's PGD leaves an image where it first fools, at the boundary, and one that is wrong already as it is:
    features there would tell of where the attack stopped.
    """
    classifier, eps, norm = TorchClassifier(network), float(threat_model.eps), threat_model.norm
    start = random_start(images, eps=eps, norm=norm, seeds=[(seed, image) for image in range(len(images))])
    found: list[Tensor] = []
    n = images_at_once(network.architecture.image_shape)
    for batch, at, aims in zip(images.split(n), start.split(n), labels.split(n), strict=True):
        *_, last = ascend(
            classifier,
            batch,
            at,
            cotangent=lambda z, aims=aims: cross_entropy(z, aims)[1],
            norm=norm,
            eps=eps,
            step_size=eps / 4,
            steps=STEPS,
        )
        found.append(last)
    return torch.cat(found)
