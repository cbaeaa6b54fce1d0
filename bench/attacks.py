"""The same attack by four libraries on the same robust network and images: seconds, robust accuracy, passes.

    python bench/attacks.py pgd      [--weights FILE.pt --data cifar10] [-n 200] [--json FILE]
    python bench/attacks.py apgd     [...]
    python bench/attacks.py ensemble [...] [--only edgerkd]

Without `--weights` the network is the embedded digits' own teacher, trained once and kept. `pgd` is PGD-20 without
random start by torchattacks, foolbox and edgerkd; `ensemble` the standard one (APGD-CE, APGD-T, FAB-T, Square) by
pyautoattack and edgerkd, `apgd` its first two. Each contender gets the network as its users have it: float32, the
peers in torch's own memory format, edgerkd in channels_last, and once more led by bfloat16 (`edgerkd bf16`). A pass is
one image through the network, forward or backward. Peers: `pip install -e ".[dev]"` brings them.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import machine_facts, show_machine
from setting import opened, robust_network
from torch import Tensor, nn

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import assess_chunk
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.losses import cross_entropy
from edgerkd.attacks.pgd import pgd
from edgerkd.attacks.suite import attacks_named
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import to_float
from edgerkd.models.classifier import Bfloat16Classifier, TorchClassifier
from edgerkd.models.hardware import compute_device

STEPS = 20


@dataclass(kw_only=True)
class Result:
    contender: str
    seconds: float
    robust_acc: float
    forward: int
    backward: int
    after_each: dict[str, float]


class Counted(nn.Module):
    """A network that counts images, forward and backward."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.forward_passes, self.backward_passes = network, 0, 0
        self.eval()  # torchattacks puts back the mode it found, and would leave the batch norms training

    def forward(self, images: Tensor) -> Tensor:
        self.forward_passes += len(images)
        logits = self.network(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backward_passes += len(gradient)


Run = Callable[[Counted, Tensor, Tensor], tuple[Tensor, dict[str, float]]]
"""(network, images, labels) -> adversarial images, and the robust accuracy after each attack"""


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float((network(images).argmax(1) == labels).float().mean())


def by_edgerkd(attacks: tuple[Attack, ...], threat_model: ThreatModel, *, bf16: bool = False) -> Run:
    def run(network: Counted, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        images = images.contiguous(memory_format=torch.channels_last)
        index = np.arange(len(labels))
        inputs = AttackInputs(images=images, labels=labels, threat_model=threat_model, seed=0, index=index)
        judge = TorchClassifier(network)
        found = assess_chunk(Bfloat16Classifier(network) if bf16 else judge, attacks, inputs, judge=judge)
        after = {row.attack: row.robust_acc.value for row in found.rows(attacks)}
        return torch.from_numpy(found.images_adv).to(images.device), after

    return run


def by_torchattacks(eps: float) -> Run:
    def run(network: Counted, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        import torchattacks

        attack = torchattacks.PGD(network, eps=eps, alpha=eps / 4, steps=STEPS, random_start=False)
        return attack(images, labels), {}

    return run


def by_foolbox(eps: float) -> Run:
    def run(network: Counted, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        import foolbox

        attack = foolbox.attacks.LinfPGD(abs_stepsize=eps / 4, steps=STEPS, random_start=False)
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device=images.device)
        _, clipped, _ = attack(model, images, labels, epsilons=eps)
        return clipped, {}

    return run


def by_pyautoattack(names: tuple[str, ...], eps: float) -> Run:
    """Its standard version; each attack called by itself on what the one before left, as its own loop does."""

    def run(network: Counted, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        from pyautoattack import AutoAttack

        found, after = images.clone(), {}
        left = torch.arange(len(labels), device=images.device)
        for name in names:
            peer = AutoAttack(network, norm="Linf", eps=eps, version="standard", device=images.device, seed=0)
            peer.attacks_to_run = [name]
            adversarial, *_ = peer.run_standard_evaluation(images[left], labels[left], batch_size=250)
            found[left] = adversarial
            with torch.no_grad():
                left = left[network(adversarial).argmax(1) == labels[left]]
            after[name] = len(left) / len(labels)
        return found, after

    return run


def measure(
    name: str, run: Run, network: nn.Module, images: Tensor, labels: Tensor, threat_model: ThreatModel
) -> Result:
    logits = network(moving := images.clone().requires_grad_())
    torch.autograd.grad(logits, moving, torch.ones_like(logits))  # the first passes set the library up
    counted = Counted(network)
    started = time.perf_counter()
    found, after = run(counted, images, labels)
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    moved = float((found - images).abs().max())
    if moved > float(threat_model.eps) + 1e-6 or found.min() < 0 or found.max() > 1:
        raise SystemExit(f"{name}: an image left the ball (moved by {moved:.5f}) or the range")
    return Result(
        contender=name,
        seconds=seconds,
        robust_acc=accuracy(network, found, labels),
        forward=counted.forward_passes,
        backward=counted.backward_passes,
        after_each=after,
    )


def contenders_of(what: str, threat_model: ThreatModel, *, classes: int) -> tuple[dict[str, Run], dict[str, Run]]:
    """Ours and the peers', by name."""
    eps = float(threat_model.eps)
    pgd_20 = Attack(
        id="pgd-20-ce-from-images",
        title="PGD-20 CE",
        description="as the peers run it: from the images themselves",
        sources=("Madry et al. 2018",),
        source="direct",
        run=partial(pgd, loss=cross_entropy, steps=STEPS, step_size=eps / 4, from_images=True),
    )
    peers: dict[str, Run]
    if what == "pgd":
        attacks, peers = (pgd_20,), {"torchattacks": by_torchattacks(eps), "foolbox": by_foolbox(eps)}
    else:
        names = ("apgd-ce", "apgd-t") if what == "apgd" else ("apgd-ce", "apgd-t", "fab-t", "square")
        suite = "apgd" if what == "apgd" else "autoattack"
        attacks, _ = attacks_named(suite, classes=classes)
        peers = {"pyautoattack": by_pyautoattack(names, eps)}
    own = {"edgerkd": by_edgerkd(attacks, threat_model), "edgerkd bf16": by_edgerkd(attacks, threat_model, bf16=True)}
    return own, peers


def show(results: list[Result]) -> None:
    print(f"{'':14}{'seconds':>9}{'ratio':>8}{'robust':>8}{'forward':>10}{'backward':>10}  after each attack")
    for r in results:
        each = ", ".join(f"{name} {value:.3f}" for name, value in r.after_each.items())
        ratio = r.seconds / results[0].seconds
        print(f"{r.contender:14}{r.seconds:9.1f}{ratio:8.2f}{r.robust_acc:8.3f}{r.forward:10}{r.backward:10}  {each}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pgd", "apgd", "ensemble"])
    parser.add_argument("--teacher", help="a robust network's name, as `teacher list` shows it")
    parser.add_argument("--weights", type=Path, help="a robust network: a file `teacher import` takes")
    parser.add_argument("--data", default="digits")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--only", nargs="+", help="these contenders")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    device = compute_device()
    data, threat_model = opened(args.data)
    test = data.test.sample(args.n, seed=0)
    images, labels = to_float(test.images).contiguous().to(device), test.labels.to(device)

    def network(memory_format: torch.memory_format) -> nn.Module:
        found = robust_network(data, threat_model, name=args.teacher, weights=args.weights)
        return found.to(device, memory_format=memory_format).requires_grad_(False)  # type: ignore[call-overload]  stubs

    own, peers = contenders_of(args.what, threat_model, classes=data.classes)
    plain = network(torch.contiguous_format)
    results = [
        measure(name, run, network(torch.channels_last) if name in own else plain, images, labels, threat_model)
        for name, run in {**own, **peers}.items()
        if not args.only or name in args.only
    ]

    facts = machine_facts(("torch", "torchattacks", "foolbox", "pyautoattack"))
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name()
    show_machine(facts)
    clean = accuracy(plain, images, labels)
    subject = args.weights or args.teacher or "the digits' own teacher"
    print(f"\n{args.what} on {subject}, {len(labels)} images of {data.name}, {threat_model}, clean {clean:.3f}")
    show(results)
    if args.json:
        args.json.write_text(
            json.dumps({"machine": facts, "n": args.n, "results": [asdict(r) for r in results]}, indent=1)
        )


if __name__ == "__main__":
    main()
