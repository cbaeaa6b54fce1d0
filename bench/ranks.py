"""One network trained by several processes and by one: how far their weights are apart.

    torchrun --nproc-per-node=2 bench/ranks.py [--epochs 2] [--json FILE]

The student, its teacher and the random images are small; on a machine with one GPU all processes share it. Both runs
are in float32 without TF32, so that what differs is the order of sums. The exit status is 1 where a weight differs by
more than 1e-3 of itself and 1e-4, the limit of tests/unit/test_parallel.py.
"""

import argparse
import copy
import json
import sys
import time
from pathlib import Path

from distill import RANDOM_THREAT, network_for, random_data
from machine import machine_facts, show_machine
from torch import Tensor

from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe
from edgerkd.data.dataset import Dataset
from edgerkd.distill import trainer
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import load_method
from edgerkd.jobs.ranks import ALONE, Ranks, open_ranks
from edgerkd.models.hardware import exact_float32
from edgerkd.models.network import Network

RELATIVE, ABSOLUTE = 1e-3, 1e-4


def trained(dataset: Dataset, teacher: Network, recipe: Recipe, ranks: Ranks) -> tuple[dict[str, Tensor], float]:
    """The weights, and the seconds that training took."""
    student = network_for(dataset, "resnet", (16, 32, 64), 1)
    started = time.perf_counter()
    with exact_float32():
        network = trainer.train(
            student,
            dataset,
            recipe,
            teacher=copy.deepcopy(teacher),
            checkpoint=None,
            resume=False,
            on_epoch=lambda epoch: None,
            progress=Silent(),
            ranks=ranks,
        ).network
    return network.state_dict(), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    trainer.bf16_pays = lambda device: False  # or else rounding would hide what differs
    dataset = random_data(given.batch)
    settings = {
        "batch": given.batch,
        "attack_steps": 2,
        "optimizer": "sgd",  # Muon makes small singular values large: what differs in a sum's last bit would grow
        "lr": 0.02,
    }
    recipe = recipe_for(load_method("rslad"), RANDOM_THREAT, epochs=given.epochs, settings=settings)
    teacher = network_for(dataset, "preactresnet", (16, 32), 1).eval()
    facts = machine_facts(("edgerkd", "torch"))
    with open_ranks() as ranks:
        together, seconds = trained(dataset, teacher, recipe, ranks)
        first, world, device = ranks.first, ranks.world, str(ranks.device)
    if not first:
        return
    alone, seconds_alone = trained(dataset, teacher, recipe, ALONE)
    apart = {name: (together[name] - value).abs().float() for name, value in alone.items()}
    largest = max(float(difference.max()) for difference in apart.values())
    same = all(bool((apart[name] <= ABSOLUTE + RELATIVE * value.abs()).all()) for name, value in alone.items())
    show_machine(facts)
    verdict = "the same network" if same else "ANOTHER NETWORK"
    print(
        f"\n{world} processes on {device}: {verdict}, weights at most {largest:.2g} apart; "
        f"{seconds:.1f} s, one process {seconds_alone:.1f} s"
    )
    if given.json:
        found = {"machine": facts, "processes": world, "device": device, "same": same, "largest_difference": largest}
        given.json.write_text(json.dumps(found | {"seconds": seconds, "seconds_alone": seconds_alone}, indent=2) + "\n")
    sys.exit(not same)


if __name__ == "__main__":
    main()
