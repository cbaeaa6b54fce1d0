"""One training step of edgerkd against a plain loop of the published kind: same student, teacher, method and batch.

    python bench/distill.py [--weights FILE.pt] [--data cifar10] [--methods rslad mixacm] [--rounds 7] [--json FILE]
    python bench/distill.py --methods [--rounds 15]       (no plain loop)
    python bench/distill.py --batch 512 --student-widths 64 128 256 512 --student-blocks 2 \
        --teacher-family wideresnet --teacher-widths 160 320 640 --teacher-blocks 4        (ResNet-18, WideResNet-28-10)

The plain loop is what the published code of these methods does: float32, images as NCHW, a DataLoader whose images go
through PIL one by one (crop, flip), a teacher in evaluation mode with its batch norms, an inner attack written with
autograd. Both step with SGD. It loads in two processes of its own, as that code does, where there is a core for each
and one for the step; with fewer cores it loads between its steps, or else the three would take turns on them
(`--workers`). How long a step waits for its images is shown apart, and the ratio is given with that wait and without.
edgerkd's step is that of `edgerkd distill`, augmentation and weight averaging included. The two take turns, round by
round. Without `--data` the images are random and of CIFAR's shape, without `--weights` the teacher has random weights
(it is a PreActResNet-18 of half width where `--teacher-...` names no other): neither changes how long a step takes.

Beside the time of a step stands what it achieves: the FLOPs of its convolutions and matrix products, counted by torch
as the step makes them, over its seconds. A layer's forward pass is 2 x MACs (edgerkd/models/cost.py), and its backward
pass the same once for the gradient of its input and once for that of its weights, where each is asked for. The ceiling
is what one large plain convolution of this machine achieves in the same run, in channels_last and in the precision
that edgerkd trains in, by the same count: the higher of its forward pass alone and its forward and backward pass.

Last, a step of the default method and of two others is held against a bound for these very layers (bench/step_time.py,
bench/roofline.py).
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine_facts, show_machine, spread, usable_cores
from PIL import Image
from setting import opened, robust_network, timed
from step_time import step_times
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from torch.utils.flop_counter import flop_registry
from torchvision import transforms

from edgerkd.core.architecture import Family
from edgerkd.core.data_request import DataRequest
from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.check import check
from edgerkd.data.dataset import Dataset, Split, dataset_from_checked
from edgerkd.data.samples import Raw, RawSplit
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.methods.recipes import options_of, recipe_for
from edgerkd.distill.methods.registry import METHODS, load_method
from edgerkd.distill.methods.step import Step
from edgerkd.distill.moment import Moment
from edgerkd.distill.noise import Noise
from edgerkd.distill.trainer import Loop
from edgerkd.models.build import FAMILIES, build
from edgerkd.models.hardware import bf16_pays, compute_device
from edgerkd.models.network import Network

START = 0.001  # standard deviation of the noise an inner attack begins with; RSLAD's code
CEILING = {"cuda": (512, 512), "cpu": (64, 128)}  # images and channels of the plain convolution, 3 x 3 on 32 x 32; ours

PlainStep = Callable[["Plain", Tensor, Tensor], Tensor]
"""(the loop, images, labels) -> the loss"""


RANDOM_THREAT = ThreatModel(norm="Linf", eps=Radius("8/255"))


def random_data(batch: int) -> Dataset:
    """Four batches of noise, of CIFAR's shape."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4 * batch, 32, 32, 3), np.uint8), np.arange(4 * batch) % 10
    split = RawSplit(images=images, labels=labels)
    raw = Raw(name="random", where="random", train=split, val=split, test=split)
    return dataset_from_checked(check(raw, classes=None), DataRequest(source="random", flip=True))


def network_for(dataset: Dataset, family: Family, widths: Sequence[int], blocks: int) -> Network:
    """Random weights, and so many blocks in each stage."""
    torch.manual_seed(0)
    return build(dataset.architecture(family, widths=widths, blocks=[blocks] * len(widths)))


def teacher_for(dataset: Dataset, threat_model: ThreatModel, given: argparse.Namespace) -> Network:
    if given.weights is not None:
        return robust_network(dataset, threat_model, weights=given.weights)
    return network_for(dataset, given.teacher_family, given.teacher_widths, given.teacher_blocks).eval()


def nchw(network: Network, device: torch.device) -> Network:
    """The network in torch's own cached format."""
    return network.to(device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]  torch's stubs miss it


class PilImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Each image through PIL, when it is asked for."""

    def __init__(self, split: Split, transform: Callable[[Image.Image], Tensor]) -> None:
        self.images = split.images.permute(0, 2, 3, 1).squeeze(3).contiguous().numpy()
        self.labels = split.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Plain:
    """The plain loop: networks, loader, optimiser; `step` is one round of it."""

    def __init__(self, dataset: Dataset, teacher: Network, recipe: Recipe, student: Network, *, workers: int) -> None:
        self.device = compute_device()
        self.recipe = recipe
        self.student, self.teacher = nchw(student, self.device), nchw(deepcopy(teacher), self.device).eval()
        self.adapters = Adapters(student, teacher).to(self.device)
        self.optimizer = torch.optim.SGD(
            [*self.student.parameters(), *self.adapters.parameters()], lr=0.1, momentum=0.9, weight_decay=2e-4
        )
        size, augmentation = dataset.train.image_shape[1:], dataset.facts.augmentation
        steps = [transforms.RandomCrop(size, padding=augmentation.crop)] if augmentation.crop else []
        steps += [transforms.RandomHorizontalFlip()] if augmentation.flip else []
        images = PilImages(dataset.train, transforms.Compose([*steps, transforms.ToTensor()]))
        self.loader = DataLoader(images, batch_size=recipe.batch, shuffle=True, drop_last=True, num_workers=workers)
        self.batches = self._endless()
        self.generator, self.noise = torch.Generator().manual_seed(0), np.random.default_rng(0)
        self.loading: list[float] = []

    def _endless(self) -> Iterator[list[Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> None:
        started = time.perf_counter()
        images, labels = next(self.batches)
        self.loading.append(time.perf_counter() - started)
        loss = PLAIN[self.recipe.method](self, images.to(self.device), labels.to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def kl(logits: Tensor, target: Tensor) -> Tensor:
    """KL(target; softmax(logits)), the mean over the batch."""
    return F.kl_div(logits.log_softmax(1), target, reduction="batchmean")


def plain_rslad(loop: Plain, images: Tensor, labels: Tensor) -> Tensor:
    """RSLAD, eq. 6 and 7: the inner attack on the KL divergence from the teacher's soft labels, then both terms."""
    recipe, student = loop.recipe, loop.student
    eps = float(recipe.threat_model.eps)
    with torch.no_grad():
        soft = loop.teacher(images).softmax(1)
    student.eval()
    images_adv = images + START * torch.randn_like(images)
    for _ in range(recipe.attack_steps):
        images_adv = images_adv.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(kl(student(images_adv), soft), images_adv)
        images_adv = images_adv.detach() + eps / 4 * gradient.sign()
        images_adv = images_adv.clamp(images - eps, images + eps).clamp(0, 1)
    student.train()
    w = options_of(recipe).weight_clean
    return (1 - w) * kl(student(images_adv), soft) + w * kl(student(images), soft)


def plain_mixacm(loop: Plain, images: Tensor, labels: Tensor) -> Tensor:
    """edgerkd's own terms: nobody has published this method's code."""
    step = Step(
        student=loop.student,
        teacher=loop.teacher,
        adapters=loop.adapters,
        images=images,
        labels=labels,
        recipe=loop.recipe,
        options=options_of(loop.recipe),
        moment=Moment(0.0),
        generator=loop.generator,
        noise=Noise(loop.noise, images.device),
    )
    return torch.stack(list(METHODS["mixacm"](step).values())).sum()


PLAIN: dict[str, PlainStep] = {"rslad": plain_rslad, "mixacm": plain_mixacm}


class Flops(TorchDispatchMode):
    """Counts by torch's own formulas; its FlopCounterMode refuses the gradient of an input (torch 2.14.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def flops_of(step: Callable[[], object]) -> int:
    """FLOPs of the convolutions and matrix products that this step makes, backward passes included."""
    with Flops() as flops:
        step()
    return flops.total


def convolution_speed(rounds: int) -> dict[str, float]:
    """FLOP/s of one large plain convolution, forward alone and with its backward pass: the median of `rounds` each."""
    device = compute_device()
    batch, channels = CEILING[device.type]
    dtype = torch.bfloat16 if bf16_pays(device) else torch.float32
    shapes = (batch, channels, 32, 32), (channels, channels, 3, 3)
    images, weight = (
        torch.randn(shape, device=device, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
        for shape in shapes
    )
    gradient = torch.randn_like(images)

    def forward() -> None:
        with torch.no_grad():
            F.conv2d(images, weight, padding=1)

    def backward() -> None:
        torch.autograd.grad(F.conv2d(images, weight, padding=1), (images, weight), gradient)

    found: dict[str, float] = {}
    for name, step in {"forward": forward, "forward and backward": backward}.items():
        flops = flops_of(step)  # which warms up
        found[name] = flops / spread([timed(step) for _ in range(rounds)])[0]
    return found


def workers() -> int:
    """Two, as in published code, where they leave a core for the step; else none."""
    return 2 if usable_cores() >= 3 else 0


def compare(
    dataset: Dataset,
    threat_model: ThreatModel,
    teacher: Network,
    method: str,
    ceiling: float,
    given: argparse.Namespace,
) -> dict[str, object]:
    settings = {"batch": given.batch, "attack_steps": 10, "optimizer": "sgd"}
    recipe = recipe_for(load_method(method), threat_model, epochs=1, settings=settings)
    students = [network_for(dataset, "resnet", given.student_widths, given.student_blocks) for _ in range(2)]
    plain = Plain(dataset, teacher, recipe, students[0], workers=given.workers)
    loop = Loop.begin(students[1].train(), dataset, recipe, teacher=teacher)
    rows = torch.arange(recipe.batch, device=compute_device())
    steps = {"edgerkd": lambda: loop.step(rows, 0.5), "plain": plain.step}
    flops = {name: flops_of(step) for name, step in steps.items()}  # which warms up
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(given.rounds):
        for name, step in steps.items():
            seconds[name].append(timed(step))
    print(f"\n{method}, {loop.state.student.architecture}, batches of {recipe.batch}")
    shares: dict[str, float] = {}
    for name, values in seconds.items():
        middle, low, high = spread(values)
        shares[name] = flops[name] / middle / ceiling
        print(
            f"  {name:8} {middle * 1e3:8.0f} ms a step  [{low * 1e3:.0f}, {high * 1e3:.0f}]"
            f"  {recipe.batch / middle:7.0f} images/s  {flops[name] / middle / 1e12:7.3g} TFLOP/s"
            f"  {shares[name]:4.0%} of the ceiling"
        )
    waits = plain.loading[1:]  # the first warmed up
    ratio, ratio_without = (
        spread(values)[0] / spread(seconds["edgerkd"])[0]
        for values in (seconds["plain"], [step - wait for step, wait in zip(seconds["plain"], waits, strict=True)])
    )
    loading = spread(waits)[0]
    print(
        f"  ratio    {ratio:8.2f}, {ratio_without:.2f} without loading  (the plain loop waits {loading * 1e3:.0f} ms a "
        f"step for its images, {given.workers} processes load)"
    )
    return {
        "method": method,
        "batch": recipe.batch,
        "seconds": seconds,
        "ratio": ratio,
        "ratio_without_loading": ratio_without,
        "workers": given.workers,
        "loading": loading,
        "flops": flops,
        "share_of_ceiling": shares,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a teacher's file")
    parser.add_argument("--data", help="cifar10, or whatever --data of edgerkd takes; random images if not given")
    parser.add_argument(
        "--methods", nargs="*", choices=sorted(PLAIN), default=sorted(PLAIN), help="beside the plain loop"
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--student-widths", nargs="+", type=int, default=[32, 48, 64], help="a ResNet's, a stage each")
    parser.add_argument("--student-blocks", type=int, default=1, help="of each stage")
    parser.add_argument("--teacher-family", choices=sorted(set(FAMILIES) - {"library"}), default="preactresnet")
    parser.add_argument("--teacher-widths", nargs="+", type=int, default=[32, 64, 128, 256])
    parser.add_argument("--teacher-blocks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=workers(), help="processes that load for the plain loop")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    facts = machine_facts(("edgerkd", "torch", "torchvision", "numpy"))
    dataset, threat_model = random_data(given.batch), RANDOM_THREAT
    if given.data is not None:
        dataset, threat_model = opened(given.data)
    teacher = teacher_for(dataset, threat_model, given)
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    show_machine(facts)
    print(f"teacher  {teacher.architecture}, data {dataset.name}")
    ceiling = convolution_speed(given.rounds)
    said = ", ".join(f"{name} {speed / 1e12:.3g}" for name, speed in ceiling.items())
    print(f"a plain convolution, TFLOP/s: {said}")
    results = [
        compare(dataset, threat_model, teacher, method, max(ceiling.values()), given) for method in given.methods
    ]
    times = step_times(dataset, threat_model, teacher, batch=given.batch, rounds=given.rounds)
    if given.json:
        found = {"machine": facts, "teacher": str(teacher.architecture), "ceiling": ceiling, "results": results}
        found["steps"] = [{**asdict(each), "student": str(each.student), "ratio": each.ratio} for each in times]
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
