"""Robust accuracy against each variance gap, across many small networks at one radius.

    python bench/variance_gap.py --json FILE [--data digits] [-n N] [--minutes M]
    python bench/variance_gap.py --json FILE --data cifar10 --weights FILE.pt ... [-n 200]

Students of one architecture, trained by the methods, settings, seeds and epochs of `TRAINED`, which makes some more
robust than others; each is measured as `edgerkd analyze variance-gap` does, at four radii up to twice the data's, the
attack run to its last step. `--weights` measures the networks of such files in place of training. Shown are Pearson's r
of robust accuracy with each gap at the data's radius, and with clean accuracy as a control, with 95 % intervals
(Fisher's), of all networks and of those alone whose method makes adversarial images; the same with clean accuracy held
fixed; then each network's r over its radii, the radius as a control.

`--json` is written after each network, and one that stands in it is not repeated: a stopped benchmark goes on. A file
of another setting is refused. `--minutes` begins no further network after that.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import torch
from machine import machine_facts, show_machine
from setting import opened, robust_network

from edgerkd.core.correlation import fisher_interval, pearson
from edgerkd.core.progress import Silent
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.core.variance_gap import GAPS, NetworkGaps, across
from edgerkd.data.dataset import Dataset, to_float
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import load_method
from edgerkd.distill.trainer import train
from edgerkd.files.decode import decode_plain, plain
from edgerkd.jobs.analyze import ATTACK, network_gaps
from edgerkd.jobs.teachers import batch_for
from edgerkd.models.build import build
from edgerkd.models.network import Network

WIDTHS, BLOCKS = (16, 16, 16), (1, 1, 1)
HALVES = (0, 1, 2, 4)  # of the threat model's radius
CONTROLLED = {"clean_acc": "clean accuracy", **GAPS}


class Trained(NamedTuple):
    """How one student is trained."""

    method: str
    epochs: int
    seed: int
    settings: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        """Unlike any other's."""
        changed = "".join(f",{key}={value}" for key, value in self.settings.items())
        return f"{self.method}{changed}, {self.epochs} epochs, seed {self.seed}"


NOT_ATTACKED = ("standard", "kd", "mixacm")
SPATIAL = {"maps": "spatial"}
TRAINED = (
    *(Trained("standard", 15, 0), Trained("standard", 30, 1), Trained("kd", 15, 0), Trained("kd", 30, 1)),
    *(Trained("mixacm", 5, 0), Trained("mixacm", 15, 1), Trained("mixacm", 30, 0), Trained("mixacm", 30, 1)),
    *(Trained("mixacm", epochs, seed, SPATIAL) for epochs, seed in ((5, 0), (15, 1), (30, 0), (30, 1))),
    *(Trained("n-fgsm", 5, 0), Trained("n-fgsm", 15, 1), Trained("n-fgsm", 30, 0)),
    *(Trained("edgerkd", 5, 0), Trained("edgerkd", 15, 1), Trained("edgerkd", 30, 0)),
    *(Trained("rslad", 5, 0), Trained("rslad", 15, 1), Trained("trades", 5, 0), Trained("trades", 15, 1)),
    *(Trained("pgd-at", 5, 0), Trained("pgd-at", 15, 1)),
)


def trained(how: Trained, *, data: Dataset, threat_model: ThreatModel, teacher: Network) -> Network:
    """The student, of the epoch that its method keeps."""
    settings = {"batch": batch_for(data), "seed": how.seed, **how.settings}
    recipe = recipe_for(load_method(how.method), threat_model, epochs=how.epochs, settings=settings)
    torch.manual_seed(how.seed)
    return train(
        build(data.architecture("resnet", widths=WIDTHS, blocks=BLOCKS)),
        data,
        recipe,
        teacher=teacher,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=Silent(),
    ).network


def networks_of(
    data: Dataset, threat_model: ThreatModel, weights: Sequence[Path]
) -> list[tuple[str, Callable[[], Network]]]:
    """Names, and how to get the network of that name: from its file, or by training."""
    if weights:
        return [(path.stem, partial(robust_network, data, threat_model, weights=path)) for path in weights]
    teacher = robust_network(data, threat_model)
    make = partial(trained, data=data, threat_model=threat_model, teacher=teacher)
    return [(how.name, partial(make, how)) for how in TRAINED]


def r_line(networks: Sequence[NetworkGaps], eps: Radius) -> str:
    """Pearson's r with each of `CONTROLLED` and its interval, of the networks at this radius."""
    found, cells = across(networks, eps), list[str]()
    for name in CONTROLLED:
        r = None if found is None else getattr(found, name)
        interval = None if r is None else fisher_interval(r, len(networks))
        between = "" if interval is None else f" [{interval[0]:+.2f}, {interval[1]:+.2f}]"
        cells.append("-" if r is None else f"{r:+.2f}{between}")
    return "".join(f"{cell:>24}" for cell in cells)


def partial_r(x: Sequence[float], y: Sequence[float], fixed: Sequence[float]) -> float | None:
    """Pearson's r of `x` and `y` with what `fixed` explains of both taken out; None where there is none.

    Source: the textbook's first-order partial correlation (Yule 1907).
    """
    rs = pearson(x, y), pearson(x, fixed), pearson(y, fixed)
    if None in rs or max(abs(rs[1]), abs(rs[2])) == 1:
        return None
    return (rs[0] - rs[1] * rs[2]) / sqrt((1 - rs[1] ** 2) * (1 - rs[2] ** 2))


def partial_line(networks: Sequence[NetworkGaps], eps: Radius) -> str:
    """Of each gap, with clean accuracy held fixed."""
    clean = [network.at(Radius(0)).robust_acc.value for network in networks]
    robust = [network.at(eps).robust_acc.value for network in networks]
    found = [partial_r([getattr(n.at(eps).gaps, name) for n in networks], robust, clean) for name in GAPS]
    return f"{'':24}" + "".join(f"{'-' if r is None else f'{r:+.2f}':>24}" for r in found)


def show(networks: Mapping[str, NetworkGaps], eps: Radius) -> None:
    """Each network at the radius; then r across all, and across those alone that were trained on adversarial images."""
    print(f"\n{'':38}{'robust':>8}" + "".join(f"{title:>24}" for title in GAPS.values()))
    for name, network in networks.items():
        point = network.at(eps)
        cells = "".join(f"{getattr(point.gaps, gap):>24.3f}" for gap in GAPS)
        print(f"{name:38}{point.robust_acc.value:>8.3f}{cells}")
    attacked = [network for name, network in networks.items() if name.split(",")[0] not in NOT_ATTACKED]
    print(
        f"\nPearson's r with robust accuracy at {eps} [95%]\n{'':20}" + "".join(f"{t:>24}" for t in CONTROLLED.values())
    )
    print(f"{f'all {len(networks)} networks':20}{r_line(list(networks.values()), eps)}")
    print(f"{f'{len(attacked)} trained on attacks':20}{r_line(attacked, eps)}")
    print("\nwith clean accuracy held fixed (partial correlation)")
    print(f"{f'all {len(networks)} networks':20}{partial_line(list(networks.values()), eps)}")
    print(f"{f'{len(attacked)} trained on attacks':20}{partial_line(attacked, eps)}")


def over_radii(networks: Mapping[str, NetworkGaps]) -> None:
    """Pearson's r of each network over its radii, and of the radius itself."""
    print("\nPearson's r with robust accuracy over the radii")
    for name, network in networks.items():
        found = {"the radius": network.r.radius, **{title: getattr(network.r, gap) for gap, title in GAPS.items()}}
        print(f"{name}: " + ", ".join(f"{what} {r:+.2f}" for what, r in found.items() if r is not None))


class Kept:
    """The file of results: what stands in it is not measured again."""

    def __init__(self, path: Path, setting: Mapping[str, Any]) -> None:
        self.path, self.setting, self.networks = path, setting, dict[str, NetworkGaps]()
        self.seconds = dict[str, float]()
        if path.exists():
            found = json.loads(path.read_text())
            if {key: found.get(key) for key in setting} != dict(setting):
                raise SystemExit(f"{path} holds results of another setting. Name another --json.")
            self.networks = {each["name"]: decode_plain(NetworkGaps, each, path) for each in found["networks"]}
            self.seconds = found["seconds"]

    def add(self, network: NetworkGaps, seconds: float, facts: Mapping[str, str]) -> None:
        """Write the file anew."""
        self.networks[network.name], self.seconds[network.name] = network, round(seconds, 1)
        networks = [plain(each) for each in self.networks.values()]
        content = {"machine": facts, **self.setting, "seconds": self.seconds, "networks": networks}
        self.path.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--weights", type=Path, nargs="+", default=(), help="files that `teacher import` takes")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("-n", type=int, default=1000, help="test images, at most")
    args = parser.parse_args()

    started = time.perf_counter()
    data, threat_model = opened(args.data)
    test, eps = data.test.sample(args.n, seed=0), threat_model.eps
    facts = machine_facts(("torch",))
    show_machine(facts)
    setting = {"data": data.name, "norm": threat_model.norm, "eps": str(eps), "n": len(test), "attack": ATTACK}
    kept = Kept(args.json, setting)
    for name, network in networks_of(data, threat_model, args.weights):
        if name in kept.networks or time.perf_counter() - started > 60 * args.minutes:
            continue
        began = time.perf_counter()
        found = network_gaps(
            name,
            network(),
            to_float(test.images),
            test.labels,
            norm=threat_model.norm,
            radii=[Radius(eps * half / 2) for half in HALVES],
            seed=0,
            progress=Silent(),
        )
        kept.add(found, time.perf_counter() - began, facts)
        print(f"{name}: {found.at(eps).robust_acc} in {kept.seconds[name]:.0f} s", file=sys.stderr)
    show(kept.networks, eps)
    over_radii(kept.networks)


if __name__ == "__main__":
    main()
