"""The data of a command: loaded, described before anything is made of them, and the radius that goes with them."""

from edgerkd.core.data_request import DataFacts, DataRequest
from edgerkd.core.errors import ConfigError
from edgerkd.core.progress import Progress
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset, dataset_from_checked
from edgerkd.data.load import load_data
from edgerkd.jobs.threat import check_radius, threat_model_for

FEW = 10  # images of a class below which it is hardly learned; ours
UNEVEN = 20  # times as many images as the smallest class has, from which the largest drowns it; ours


def open_data(request: DataRequest, *, eps: Radius | None, progress: Progress) -> tuple[Dataset, ThreatModel]:
    """The data set and its threat model, after describing both in one line.

    Raises ConfigError for data that cannot be used, for a radius of 0, and where no radius is customary.
    """
    if eps is not None:
        check_radius(ThreatModel(norm="Linf", eps=eps))
    checked = load_data(request, progress=progress)
    dataset = dataset_from_checked(checked, request)
    channels = dataset.train.image_shape[0]
    threat_model, why = threat_model_for(request.source, dataset.name, channels=channels, eps=eps)
    progress.say(describe(dataset.facts, dataset.train.image_shape, f"radius {threat_model.eps} ({why})"))
    for line in (*checked.notes, *warnings(dataset.facts)):
        progress.say(f"note: {line}")
    return dataset, threat_model


def reopen_data(request: DataRequest, sha256: str, where: object, *, progress: Progress) -> Dataset:
    """The data that a run began with. Raises ConfigError where they are no longer those."""
    dataset = dataset_from_checked(load_data(request, progress=progress), request)
    if dataset.sha256 != sha256:
        raise ConfigError(
            f"{where}: the data {request.source!r} are not the ones the run was started with: its test images may "
            "be among those it was trained on. Put the old data back, or start a new run."
        )
    return dataset


def describe(facts: DataFacts, image_shape: tuple[int, int, int], radius: str) -> str:
    """One line that describes both."""
    channels, height, width = image_shape
    how = ""
    if facts.preprocessing.size is not None:
        how = {"crop": ", resized and cropped", "stretch": ", stretched"}[facts.preprocessing.fit]
    return (
        f"{facts.name}: {facts.train:,} training, {facts.val:,} validation and {facts.test:,} test images, "
        f"{len(facts.classes)} classes, {width}x{height} {'grey' if channels == 1 else 'colour'}{how}; {radius}; "
        f"training images are {facts.augmentation}"
    )


def warnings(facts: DataFacts) -> list[str]:
    """What of the data makes a good student unlikely."""
    lines: list[str] = []
    counts = dict(zip(facts.classes, facts.per_class, strict=True))
    few = [f"{name} ({count})" for name, count in counts.items() if count < FEW]
    if few:
        more = ", ..." if len(few) > 5 else ""
        lines.append(f"Classes of fewer than {FEW} training images are hardly learned: {', '.join(few[:5])}{more}.")
    small, large = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
    if counts[large] >= UNEVEN * max(1, counts[small]):
        lines.append(
            f"Classes are unbalanced: {large} has {counts[large]:,} training images, {small} {counts[small]:,}. Look "
            "at the accuracy class by class."
        )
    return lines
