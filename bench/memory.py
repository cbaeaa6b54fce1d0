"""The anonymous memory that an epoch takes, on as many pictures as a folder has.

    python bench/memory.py FOLDER --size 224

Pictures are decoded once into the cache, which is mapped into memory: what of it is read counts as file memory, which
the system takes back when it needs it. Printed are the peaks of both over loading and over one whole epoch of a small
network.
"""

import argparse
import json
import threading
import time
from pathlib import Path

import torch
from machine import machine_facts, show_machine

from edgerkd.core.data_request import DataRequest, parse_size
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe
from edgerkd.core.units import Radius, format_size
from edgerkd.distill.trainer import train
from edgerkd.jobs.data import open_data
from edgerkd.models.build import build

KINDS = ("RssAnon", "RssFile")


class Aloud(Silent):
    """Prints what is said."""

    def say(self, line: str) -> None:
        print(line, flush=True)


class Peaks:
    """The largest of each kind of memory since the last reset, looked at ten times a second."""

    def __init__(self) -> None:
        self.bytes = dict.fromkeys(KINDS, 0)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in KINDS:
                    self.bytes[name] = max(self.bytes[name], int(value.split()[0]) * 1024)
            time.sleep(0.1)

    def taken(self) -> dict[str, int]:
        """The peaks, which begin anew."""
        found, self.bytes = self.bytes, dict.fromkeys(KINDS, 0)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--size", default="224")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    facts = machine_facts(("torch", "numpy", "pillow"))
    show_machine(facts)
    peaks, started = Peaks(), time.perf_counter()
    request = DataRequest(source=args.folder, size=parse_size(args.size))
    dataset, threat_model = open_data(request, eps=Radius("4/255"), progress=Aloud())
    found: dict[str, object] = {"machine": facts, "train": len(dataset.train), "size": args.size}
    found["loading"] = {"seconds": time.perf_counter() - started, **peaks.taken()}
    started = time.perf_counter()
    torch.manual_seed(0)
    stages = 5
    student = build(dataset.architecture("resnet", widths=(args.width,) * stages, blocks=(1,) * stages))
    recipe = Recipe(method="standard", threat_model=threat_model, epochs=1, batch=args.batch)
    seen = []
    train(
        student,
        dataset,
        recipe,
        teacher=None,
        checkpoint=None,
        resume=False,
        on_epoch=seen.append,
        progress=Aloud(),
    )
    found["epoch"] = {"seconds": time.perf_counter() - started, **peaks.taken()}
    for part in ("loading", "epoch"):
        each = found[part]
        assert isinstance(each, dict)
        memory = ", ".join(f"{name} {format_size(each[name])}" for name in KINDS)
        print(f"{part:8} {each['seconds']:.0f} s, peak {memory}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
