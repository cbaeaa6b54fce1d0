"""What `verify --full` finds on a bundle's engine, beside pyautoattack on the torch student that it was exported from.

    python bench/verify_peer.py runs/latest [--variant fp32] [-n 200] [--parts 2] [--json FILE]

Both see the same images, within the same radius, on one core, one thread each, in turns: of each part of the images
first the one, then the other. The engine is attacked through its gradient twin by the command itself, in processes of
their own, start-up and every check included; the bundle that it gets is the run's with only these images in it, and
without the host's adversarial ones, which would be shown first and leave the twin nothing to find. The student is
attacked by the standard ensemble (APGD-CE, APGD-T, FAB-T, Square) in this process, the network loaded already. CPU
seconds leave out what other work on the machine took. `make bench-verify` has the environment that the peer needs.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from string import ascii_lowercase
from typing import Any, TypeVar

import numpy as np
import torch
from attacks import Counted, by_pyautoattack
from machine import machine_facts, show_machine
from numpy.typing import NDArray
from torch import Tensor, nn

from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.write import make_variant, write_bundle
from edgerkd.core.judged import RIGHT, WRONG
from edgerkd.core.run import RunFolder
from edgerkd.core.variant import Variant
from edgerkd.models.store import load_network
from edgerkd.verify.distinct import distinct

T = TypeVar("T")

ENSEMBLE = ("apgd-ce", "apgd-t", "fab-t", "square")
WRONG_AT_ONCE, HELD = "wrong at once", "held"
PAIRS = {"both": (True, True), "the engine only": (True, False), "the student only": (False, True)}


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one of the two found: of each image the attack that fooled it first, `held` or `wrong at once`."""

    seconds: float
    cpu_seconds: float
    attacks: tuple[str, ...]
    outcomes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images at these places of the bundle's samples, attacked by both."""

    rows: tuple[int, ...]
    verify: Side
    peer: Side


def on_one_core() -> None:
    """This process and those that it starts keep to one core, where the system can be told so, and to one thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def timed(work: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What it gives, in how many seconds by the clock, and of the CPU here and in processes that were waited for."""
    started, cpu = time.perf_counter(), _cpu_seconds()
    found = work()
    return found, {"seconds": time.perf_counter() - started, "cpu_seconds": _cpu_seconds() - cpu}


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def write_part(folder: Path, bundle: Bundle, variant: Variant, rows: NDArray[np.int64]) -> None:
    """A bundle of the same model with these of its images alone, and no adversarial ones."""
    (samples, _), host = bundle.samples(variant), bundle.manifest.host
    assert host is not None  # read_bundle refuses a bundle without one
    made = [
        make_variant(
            each.precision,
            graph=(bundle.path / each.graph).read_bytes(),
            twin=(bundle.path / each.twin).read_bytes(),
            reference=replace(bundle.reference(each, samples).take(rows), logits_adv=None),
            backend=each.backend,
            parity=each.parity,
            placement=each.placement,
            search=each.search,
        )
        for each in dict.fromkeys((variant, host))
    ]
    part = replace(samples.take(rows), images_adv=None, host_robust=None, transfers=None)
    write_bundle(folder, replace(bundle.manifest, reference=None, origins=()), variants=made, samples=part)


def by_verify(folder: Path, variant: str, n: int) -> Side:
    """`edgerkd verify --full` on the bundle there, which asks nothing; its images must all be judged."""
    command = [sys.executable, "-m", "edgerkd", "verify", str(folder), "--full", "--measure", "--json"]
    command += ["--backend", "onnx", "--variant", variant, "--seed", "0"]
    done, used = timed(lambda: subprocess.run(command, capture_output=True, check=False))
    if done.returncode:
        raise SystemExit(f"`edgerkd verify` ended with {done.returncode}: {done.stderr.decode().strip()}")
    report = json.loads(done.stdout)
    return Side(
        **used,
        attacks=tuple(row["attack"] for row in report["rows"]),
        outcomes=outcomes_told(report, n),
    )


def outcomes_told(report: dict[str, Any], n: int) -> tuple[str, ...]:
    """Of each of n images, in the bundle's order, what a report of `verify` says became of it."""
    judged, rows = report["judged"], report["rows"]
    names = {WRONG: WRONG_AT_ONCE, RIGHT: HELD}
    names |= {letter: row["attack"] for letter, row in zip(ascii_lowercase, rows, strict=False)}
    fates = dict(zip(judged["images"], map(names.__getitem__, chain(*judged["fates"])), strict=True))
    if sorted(fates) != list(range(n)):
        raise SystemExit(f"`edgerkd verify` judged {len(fates)} of {n} images")
    return tuple(fates[place] for place in range(n))


def by_peer(network: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Side:
    """Its standard version, each attack on what the one before left."""
    outcomes = np.full(len(labels), HELD, dtype=object)

    def attack() -> None:
        with torch.no_grad():
            right = network(images).argmax(1) == labels
        outcomes[~right.numpy()] = WRONG_AT_ONCE
        for name in ENSEMBLE:
            rows = np.flatnonzero(outcomes == HELD)
            if not len(rows):
                return
            found, _ = by_pyautoattack((name,), eps)(Counted(network), images[rows], labels[rows])
            with torch.no_grad():
                fooled = network(found).argmax(1) != labels[rows]
            outcomes[rows[fooled.numpy()]] = name

    _, used = timed(attack)
    return Side(**used, attacks=ENSEMBLE, outcomes=tuple(outcomes))


def joined(sides: Sequence[Side]) -> Side:
    """Several parts' as one."""
    return Side(
        seconds=sum(side.seconds for side in sides),
        cpu_seconds=sum(side.cpu_seconds for side in sides),
        attacks=sides[0].attacks,
        outcomes=tuple(chain(*(side.outcomes for side in sides))),
    )


def after_each(side: Side) -> dict[str, float]:
    """The accuracy before any attack, under `clean`, and after each."""
    counts = Counter(side.outcomes)
    left, found = len(side.outcomes) - counts[WRONG_AT_ONCE], {}
    for name in ("clean", *side.attacks):
        left -= counts[name]
        found[name] = left / len(side.outcomes)
    return found


def fooled(side: Side) -> list[bool]:
    """Which images were right at first and wrong in the end."""
    return [outcome not in (WRONG_AT_ONCE, HELD) for outcome in side.outcomes]


def table(results: dict[str, Any]) -> str:
    """The page's, in Markdown."""
    lines = ["| | seconds | of the CPU | robust | after each |", "| --- | --- | --- | --- | --- |"]
    for name, side in results["sides"].items():
        after = ", ".join(f"{attack} {share:.3f}" for attack, share in side["after_each"].items())
        lines.append(
            f"| {name} | {side['seconds']:.0f} | {side['cpu_seconds']:.0f} | {side['robust_acc']:.3f} | {after} |"
        )
    counts = ", ".join(f"{who} {count}" for who, count in results["fooled"].items())
    return "\n".join(lines) + f"\n\nImages fooled: {counts}.\n"


def results_of(parts: Sequence[Part], facts: dict[str, Any]) -> dict[str, Any]:
    """What is kept, with all that the table says."""
    sides = {
        "`edgerkd verify --full`, the engine": joined([part.verify for part in parts]),
        "pyautoattack, the student": joined([part.peer for part in parts]),
    }
    pairs = Counter(zip(*map(fooled, sides.values()), strict=True))
    outcomes = Counter(zip(*(side.outcomes for side in sides.values()), strict=True))
    return {
        **facts,
        "n": sum(len(part.rows) for part in parts),
        "sides": {
            name: {
                "seconds": round(side.seconds, 1),
                "cpu_seconds": round(side.cpu_seconds, 1),
                "robust_acc": side.outcomes.count(HELD) / len(side.outcomes),
                "after_each": after_each(side),
            }
            for name, side in sides.items()
        },
        "fooled": {name: pairs[pair] for name, pair in PAIRS.items()},
        "outcomes": [{"engine": a, "student": b, "images": n} for (a, b), n in sorted(outcomes.items())],
        "parts": [asdict(part) for part in parts],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="its folder, which holds student/ and bundle/")
    parser.add_argument("--variant", default="fp32")
    parser.add_argument("-n", type=int, default=200, help="of the bundle's images, drawn by seed 0")
    parser.add_argument("--parts", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    on_one_core()
    run = RunFolder(given.run)
    bundle, network = read_bundle(run.bundle), load_network(run.trained).requires_grad_(False)
    variant = bundle.manifest.variant_for("onnx", None, given.variant)
    samples, _ = bundle.samples(variant)
    threat_model = bundle.manifest.threat_model
    eps = float(threat_model.eps)
    drawn = np.random.default_rng(0).permutation(distinct(samples.images, eps=eps, norm=threat_model.norm))[: given.n]
    facts = {
        "machine": machine_facts(("onnxruntime", "torch", "pyautoattack")),
        "bundle": bundle.manifest.name,
        "variant": variant.name,
        "threat_model": str(threat_model),
    }
    show_machine(facts["machine"])
    parts: list[Part] = []
    for rows in map(np.sort, np.array_split(drawn, given.parts)):
        part = samples.take(rows)
        with tempfile.TemporaryDirectory(prefix="edgerkd-peer-") as folder:
            write_part(Path(folder, "bundle"), bundle, variant, rows)
            own = by_verify(Path(folder, "bundle"), variant.name, len(rows))
        peer = by_peer(network, torch.from_numpy(part.images), torch.from_numpy(part.labels), eps)
        parts.append(Part(rows=tuple(rows.tolist()), verify=own, peer=peer))
        results = results_of(parts, facts)
        print(f"\n{results['n']} images of {given.run}, {threat_model}\n\n{table(results)}", flush=True)
        if given.json is not None:
            given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
