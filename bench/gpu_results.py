"""What the stages of bench/gpu.sh left, in one file, and its figures as a short table.

    python bench/gpu_results.py FOLDER TARGET.json

TARGET holds each JSON file of FOLDER under its name; one that a stage left empty or half written is left out.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import spread
from result import unpacked

Found = Any  # what a JSON file holds


def whole(path: Path) -> bool:
    """Whether its stage ended."""
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True


def lines(name: str, found: Found) -> Iterator[str]:
    """The figures of one file, a line each."""
    if name == "doctor":
        yield from (f"{gpu['name']}, compute capability {gpu['compute_capability']}" for gpu in found["gpus"])
    elif name == "teacher":
        for card in found["teachers"]:
            clean, robust = card["clean_acc"]["value"], card["robust_acc"]["value"]
            yield f"{card['name']}, {card['origin']}: clean {clean:.3f}, robust {robust:.3f}"
    elif name == "distill-speed":
        for r in found["results"]:
            speed = {who: r["batch"] / spread(seconds)[0] for who, seconds in r["seconds"].items()}
            yield (
                f"{r['method']}: {speed['edgerkd']:.0f} images/s, plain {speed['plain']:.0f}, "
                f"{r['share_of_ceiling']['edgerkd']:.0%} of {max(found['ceiling'].values()) / 1e12:.3g} TFLOP/s"
            )
    elif name.startswith("attacks-"):
        for r in found["results"]:
            yield f"{r['seconds']:.1f} s, {found['n']} images, robust {r['robust_acc']:.3f}"
    elif name == "train":
        for r in found["results"]:
            shares = ", ".join(f"{attack} {unpacked(bits).mean():.3f}" for attack, bits in r["correct"].items())
            yield f"{r['run']}: {r['epochs']} epochs in {r['minutes']:.2f} minutes, {shares}"
    elif name.startswith("engines-verify-"):
        engine, clean, robust = found["engine"], found["clean_acc"]["value"], found["robust_acc"]["value"]
        what = f"{engine['version']} on {engine['device']['name']}"
        yield f"{what}: {found['verdict']}, clean {clean:.3f}, robust {robust:.3f}"
    elif name.startswith("engines-latency-"):
        yield ", ".join(f"batch {m['batch']}: p50 {m['p50']:.3f}, p95 {m['p95']:.3f} ms" for m in found["latency_ms"])
    elif name == "ranks":
        same = "the same network" if found["same"] else "ANOTHER NETWORK"
        yield f"{found['processes']} on {found['device']}: {same}, {found['largest_difference']:.2g} apart"


def main() -> None:
    folder, target = map(Path, sys.argv[1:])
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json")) if whole(path)}
    for name, content in found.items():
        for line in lines(name, content):
            print(f"{name:30} {line}")
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
