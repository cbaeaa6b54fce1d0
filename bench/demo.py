"""How long `edgerkd demo` takes, stage by stage, in an empty folder with an empty cache."""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine import machine_facts, show_machine

from edgerkd.core.progress import Advance, Silent
from edgerkd.jobs.demo import demo
from edgerkd.jobs.teachers import known_teachers


class Clock(Silent):
    """A Progress that writes down how long each stage took; a name that comes again is another stage."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        started = time.perf_counter()
        try:
            yield lambda done, words: None
        finally:
            self.stages.append((name, time.perf_counter() - started))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="jetson-orin")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="a cache that is kept, with its teacher; an empty one if not given")
    parser.add_argument("--keep", type=Path, help="an empty folder to run in, which is kept with all that was made")
    given = parser.parse_args()
    if given.keep and given.keep.exists() and any(given.keep.iterdir()):
        parser.error(f"--keep: {given.keep} is not empty")
    keep = given.keep.resolve() if given.keep else None
    cache = given.cache.resolve() if given.cache else None
    facts = machine_facts(("edgerkd", "torch", "onnxruntime", "numpy"))
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="edgerkd-demo-") as folder:
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
        os.chdir(keep or folder)
        os.environ["EDGERKD_CACHE"] = str(cache or Path(folder, "cache"))
        cached = bool(known_teachers())
        started = time.perf_counter()
        _, report, _ = demo(profile_name=given.profile, seed=given.seed, progress=clock)
        total = time.perf_counter() - started
        os.chdir("/")

    show_machine(facts)
    print(f"teacher cached: {'yes: its training is NOT in these figures' if cached else 'no'}\n")
    clock.stages.append(("between the stages", total - sum(seconds for _, seconds in clock.stages)))
    for name, seconds in clock.stages:
        print(f"{seconds:8.1f} s  {seconds / total:5.1%}  {name}")
    print(f"{total:8.1f} s         in all; verdict {report.verdict}, robust accuracy {report.robust_acc}")


if __name__ == "__main__":
    main()
