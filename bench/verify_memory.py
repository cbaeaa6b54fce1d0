"""The largest resident memory of `edgerkd verify` on one bundle, of each of its processes and of all at once.

    python bench/verify_memory.py [BUNDLE] [what `edgerkd verify` takes beside it]

Engines live in processes of their own. The aim of 300 MB is for all together, where pages that several of them map,
such as Python's own, count once for each. Linux alone tells.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

from machine import machine_facts, show_machine

AIM_MB = 300
VERDICTS = {0: "pass, or measured", 1: "fail", 7: "inconclusive", 8: "pass as claimed"}
LOOK = 0.01  # seconds


class Peaks:
    """Bytes at most: of the process itself, of the largest that it started, and of all at one moment."""

    def __init__(self) -> None:
        self.own, self.engines, self.together, self.started = 0, 0, 0, set[int]()

    def look(self, pid: int) -> None:
        now = {each: resident(each) for each in family(pid)}
        self.started |= now.keys() - {pid}
        self.own = max(self.own, now.get(pid, 0))
        self.engines = max([self.engines, *(size for each, size in now.items() if each != pid)])
        self.together = max(self.together, sum(now.values()))


def family(pid: int) -> Iterator[int]:
    """A process and all that it started, which are still there."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # it ended just now
            continue
        for child in children:
            yield from family(int(child))


def resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * 4096


def measured(command: list[str]) -> tuple[Peaks, subprocess.Popen[bytes], bytes]:
    """What running it took, and how it ended."""
    peaks = Peaks()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        while process.poll() is None:
            peaks.look(process.pid)
            time.sleep(LOOK)
        said.seek(0)
        return peaks, process, said.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", default=Path("runs/latest/bundle"), help="its folder")
    given, more = parser.parse_known_args()
    if not given.bundle.is_dir():
        parser.error(f"{given.bundle}: no such folder: name a bundle, or make one with `edgerkd demo`")
    facts = machine_facts(("edgerkd", "onnxruntime", "numpy"))
    with tempfile.TemporaryDirectory(prefix="edgerkd-verify-") as folder:  # nothing is left beside the bundle
        bundle = copytree(given.bundle, Path(folder, "bundle"))
        started = time.perf_counter()
        peaks, done, said = measured([sys.executable, "-m", "edgerkd", "verify", str(bundle), "--json", *more])
        seconds = time.perf_counter() - started
    if done.returncode not in VERDICTS:
        print(f"`edgerkd verify` ended with {done.returncode}: {said.decode().strip()}")
    show_machine(facts)
    verdict = VERDICTS.get(done.returncode, f"none, exit code {done.returncode}")
    own, engines, together = (size / 1e6 for size in (peaks.own, peaks.engines, peaks.together))
    aim = "within" if together <= AIM_MB else "ABOVE"
    print(f"\nbundle       {given.bundle}\nverdict      {verdict}, in {seconds:.1f} s")
    print(f"peak memory  {own:.0f} MB of edgerkd itself")
    print(f"             {engines:.0f} MB of the largest of {len(peaks.started)} processes for engines and graphs")
    print(f"             {together:.0f} MB of all at one moment, {aim} the aim of {AIM_MB} MB")


if __name__ == "__main__":
    main()
