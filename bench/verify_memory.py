"""The largest resident memory of `edgerkd verify` on one bundle, of its two processes the larger; 300 MB is the aim."""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import copytree

from machine import machine_facts, show_machine

AIM_MB = 300
VERDICTS = {0: "pass", 1: "fail", 7: "inconclusive", 8: "pass as claimed"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", default=Path("runs/latest/bundle"), help="its folder")
    given = parser.parse_args()
    if not given.bundle.is_dir():
        parser.error(f"{given.bundle}: no such folder: name a bundle, or make one with `edgerkd demo`")
    facts = machine_facts(("edgerkd", "onnxruntime", "numpy"))
    with tempfile.TemporaryDirectory(prefix="edgerkd-verify-") as folder:  # nothing is left beside the bundle
        bundle = copytree(given.bundle, Path(folder, "bundle"))
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "edgerkd", "verify", str(bundle), "--json"], capture_output=True)
        seconds = time.perf_counter() - started
    if done.returncode not in VERDICTS:
        sys.exit(f"`edgerkd verify` ended with {done.returncode}: {done.stderr.decode().strip()}")
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    megabytes = largest / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)  # bytes on macOS, KiB elsewhere

    show_machine(facts)
    aim = "within" if megabytes <= AIM_MB else "ABOVE"
    print(f"\nbundle       {given.bundle}\nverdict      {VERDICTS[done.returncode]}, in {seconds:.1f} s")
    print(f"peak memory  {megabytes:.0f} MB, the larger of two processes, {aim} the aim of {AIM_MB} MB")


if __name__ == "__main__":
    main()
