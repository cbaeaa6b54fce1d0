"""A trained student trained on with the roundings of its int8 graph, by the method it was distilled with.

What rounding costs a network it can learn to avoid (Jacob et al. 2018, arXiv 1712.05877, section 3); here against the
same attack, and towards the same teacher, as before.
"""

from dataclasses import replace
from pathlib import Path

from edgerkd.core.progress import Progress
from edgerkd.core.recipe import Recipe
from edgerkd.data.dataset import Dataset
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.methods.registry import load_method
from edgerkd.distill.trainer import train
from edgerkd.graphs.precision.int8 import Rounding
from edgerkd.models.network import Network
from edgerkd.models.rounded import RoundedNetwork

EPOCHS = 3
"""Ours; others were not tried."""
RATE_SHARE = 0.1
"""Of the run's own peaks of the learning rates. Ours: of 0.02, 0.08 and 0.3, in one epoch on validation images of
CIFAR-10 and with five bits in place of eight, 0.3 lost robustness (by hand)."""


def train_rounded(
    student: Network,
    graph: bytes,
    rounding: Rounding,
    dataset: Dataset,
    recipe: Recipe,
    *,
    teacher: Network | None,
    adapters: Path,
    progress: Progress,
) -> Network:
    """The student after a few epochs more, in which it computes what its int8 graph would; in float32 itself.

    `recipe` is the student's own, `graph` its float32 graph, `rounding` says where int8 rounds. Its maps to the
    teacher go on from the file `adapters`, which a run leaves that has trained some: to random maps a method that
    compares features would pull the student away. Raises ExportError where network and graph differ, and as `train`
    does.
    """
    network = RoundedNetwork(student, graph, rounding)
    method = load_method(recipe.method)
    maps = None
    if method.needs_adapters and teacher is not None and adapters.exists():
        maps = Adapters.load(adapters, student, teacher).train().requires_grad_(True)
    trained = train(
        network,
        dataset,
        recipe_for_rounded(recipe),
        teacher=teacher if method.needs_teacher else None,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=progress,
        adapters=maps,
    )
    found = trained.network
    assert isinstance(found, RoundedNetwork)
    return found.unrounded().to(student.mean.device)


def recipe_for_rounded(recipe: Recipe) -> Recipe:
    """The end of a run by this recipe: its method's last part, the whole radius, and small steps. Ours."""
    options = {"adversarial_share": 1.0} if "adversarial_share" in recipe.options else {}
    return replace(
        recipe,
        epochs=EPOCHS,
        lr=RATE_SHARE * recipe.lr,
        lr_muon=RATE_SHARE * recipe.lr_muon,
        schedule="one-cycle",
        eps_warmup=0.0,
        patience=None,
        averaging="ema",
        options=recipe.options | options,
    )
