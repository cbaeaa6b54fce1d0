"""Adversarial images made against other networks than the one exported, for the bundle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.suite import DEFAULT
from edgerkd.core.errors import ConfigError
from edgerkd.core.manifest import MOST_ORIGINS
from edgerkd.core.model_request import ModelRequest
from edgerkd.core.progress import Progress
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.data.dataset import Split
from edgerkd.files.paths import find_kind, given_path, shown
from edgerkd.jobs.adopt import adopt_model, check_source
from edgerkd.jobs.attack import attack_network
from edgerkd.models.graph_network import graph_network
from edgerkd.models.network import Network
from edgerkd.models.store import load_network


def others(
    sources: Sequence[str], images: Split, record: RunRecord, class_names: Sequence[str], *, progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """For each source, a run's folder or a model's file, its name and images (n, c, h, w) made against it.

    The attack, radius and seed are those of the run that is exported. Raises ConfigError for a source that is neither,
    for two of the same name, and for a network that takes other images or has other classes.
    """
    if len(sources) >= MOST_ORIGINS:
        raise ConfigError(f"--transfer-from: {MOST_ORIGINS - 1} networks at most, beside the teacher.")
    networks: dict[str, Network] = {}
    for source in sources:
        name, network = _network(source, images, progress)
        own, other = record.architecture, network.architecture
        if (own.image_shape, own.classes) != (other.image_shape, other.classes):
            raise ConfigError(
                f"--transfer-from {source}: it takes images {other.image_shape} of {other.classes} classes, the run's "
                f"student {own.image_shape} of {own.classes}."
            )
        if name in networks or name in ("teacher", "fp32"):
            raise ConfigError(f"--transfer-from {source}: there is another network named {name!r}: rename its file.")
        networks[name] = network
    return {
        name: attack_network(
            network,
            images,
            name=name,
            split="test",
            of=len(images),
            class_names=class_names,
            threat_model=record.recipe.threat_model,
            seed=record.recipe.seed,
            progress=progress,
            attack=DEFAULT,
        ).outcomes.images_adv
        for name, network in networks.items()
    }


def _network(source: str, images: Split, progress: Progress) -> tuple[str, Network]:
    path = given_path(Path(source))
    if find_kind(path) == "a folder":
        run = RunFolder(path.resolve())
        if find_kind(run.recipe) is None:
            raise ConfigError(
                f"--transfer-from {shown(path)}: this is not a run's folder, because run.json is missing."
            )
        return run.path.name, load_network(run.trained)
    request = ModelRequest(source=source)
    check_source(request)
    pixels = np.ascontiguousarray(images.images.cpu().numpy())
    found = adopt_model(request, pixels, images.labels.cpu().numpy(), progress=progress)
    return request.name, graph_network(found.graph)
