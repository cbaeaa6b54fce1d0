"""edgerkd's wheel on aarch64, emulated, beside this machine: the same bundle and seeds must give the same report.

Needs Debian's packages and Python's, by the ways that this machine already has. What was fetched and made is kept in
build/aarch64, and a check that was stopped goes on.

The bundle is the demo's student with fewer images, in float32, whose answers are the same on both processors up to
rounding. (Those of fp16 are not: there the processor computes in halves, here ONNX Runtime does in float32, and scores
differed by 0.025.) The packages are those that requirements/device.txt pins for Python 3.10, which JetPack 6 has, in
the wheels for the emulated Python. `edgerkd verify` runs in the emulator as it is typed, and draws seeds; this machine
then verifies with the seeds that the report recorded.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from arm64 import Arm64, UnavailableError, arm64
from device_wheels import BUILD, own_wheel, pinned_wheels, pins

from edgerkd.bundle.keys import config_folder
from edgerkd.bundle.read import read_bundle
from edgerkd.cli.verify import EXIT
from edgerkd.core.progress import Silent
from edgerkd.files.atomic import folder_atomic, sha256_of, write_atomic
from edgerkd.files.decode import encode_json
from edgerkd.verify.run import verify
from edgerkd.verify.trust import trust_in

JETPACK_6 = "3.10"
BACKEND = "onnx"
ATTACK = "pgd"  # the default takes an hour in the emulator; by this one nothing passes, here or there
EXPECTED = (
    "engine.device.",
    "engine.version",
    "latency_ms.",
    "timing.",
    "engine_memory.",
    "made.",
    "kept",
    "origins.fields.seed",
)
"""Where the two reports may differ: paths that begin so."""
CLOSE = 1e-3
"""Of two numbers in the same place, the most that they may differ by: less than one image in 500. Ours."""


def differences(here: Any, there: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON documents are not the same, and what each has there."""
    if isinstance(here, dict) and isinstance(there, dict):
        for key in sorted(here.keys() | there.keys()):
            below = f"{path}.{key}" if path else key
            yield from differences(here.get(key, "missing"), there.get(key, "missing"), below)
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for place, (mine, other) in enumerate(zip(here, there, strict=True)):
            yield from differences(mine, other, f"{path}[{place}]")
    elif not _same(here, there):
        yield path, here, there


def _same(here: Any, there: Any) -> bool:
    numbers = isinstance(here, float) and isinstance(there, float)
    return abs(here - there) <= CLOSE if numbers else type(here) is type(there) and here == there


def seeds_of(report: dict[str, Any]) -> dict[str, int]:
    """All seeds that a report recorded, by the names under which `verify` takes them."""
    return {name: value for name, value in report.items() if name.split("_")[-1] == "seed"}


def unpacked(wheels: Sequence[Path], folder: Path) -> None:
    """The wheels' files in one folder, as on a path of Python's."""
    with folder_atomic(folder) as new:
        for wheel in wheels:
            with ZipFile(wheel) as archive:
                archive.extractall(new)


def work_folder(folder: Path, key: str) -> Path:
    """A folder for what was made by one state of this tree; what another state left there is removed."""
    mark = folder / "made-by.txt"
    if not mark.exists() or mark.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        write_atomic(mark, key)
    return folder


def make_bundle(work: Path, images: int) -> Path:
    """The demo's student on the digits, to be verified on fewer images, by the commands that a person types."""
    bundle, demo = work / f"digits-{images}", work / "demo"
    if not bundle.exists():
        shutil.rmtree(demo, ignore_errors=True)
        demo.mkdir(parents=True)
        environment = {**os.environ, "EDGERKD_CACHE": str(work / "cache")}
        edgerkd = [sys.executable, "-m", "edgerkd"]
        subprocess.run([*edgerkd, "demo"], cwd=demo, env=environment, check=True, stdout=subprocess.DEVNULL)
        command = [
            *edgerkd,
            "bundle",
            str(demo / "runs/latest/bundle/fp32.onnx"),
            "--data",
            "digits",
            "-n",
            str(images),
        ]
        command += ["--profile", "jetson-orin", "--format", BACKEND, "--precision", "fp32"]
        command += ["--min-clean", "0.8", "--min-robust", "0.4"]
        command += ["--out", str(bundle)]
        subprocess.run(command, cwd=work, env=environment, check=True, stdout=subprocess.DEVNULL)
    return bundle


def verify_there(machine: Arm64, site: Path, bundle: Path, report: Path) -> dict[str, Any]:
    """What `edgerkd verify` says of the bundle in the emulator. Raises RuntimeError where it ends without a verdict."""
    if not report.exists():
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(site),
            "EDGERKD_CACHE": str(report.parent / "cache"),
            "EDGERKD_CONFIG": str(config_folder()),
        }
        command = [str(machine.python), "-m", "edgerkd", "verify", str(bundle), "--backend", BACKEND, "--json"]
        command += ["--attack", ATTACK]
        done = subprocess.run(
            command, cwd=report.parent, env=environment, stdout=subprocess.PIPE, check=False, text=True
        )
        found = json.loads(done.stdout) if done.returncode in EXIT.values() else {}
        if not found or EXIT[found["verdict"]] != done.returncode:
            raise RuntimeError(f"edgerkd verify on aarch64 ended with {done.returncode}: {found.get('verdict')}")
        write_atomic(report, done.stdout)
    return json.loads(report.read_text())


def verify_here(bundle: Path, engines: Path, seeds: dict[str, int]) -> dict[str, Any]:
    """What this machine finds by the same seeds."""
    opened = read_bundle(bundle)
    found = verify(
        opened,
        engines=engines,
        backend=BACKEND,
        attack=ATTACK,
        trust=trust_in(opened),
        **seeds,
        progress=Silent(),
    )
    return json.loads(encode_json(found))


def show(here: dict[str, Any], there: dict[str, Any]) -> None:
    """Every row, gate and flag of both."""
    for name, report in (("here", here), ("there", there)):
        engine = report["engine"]
        print(f"{name + ':':7}{engine['backend']} {engine['version']} on {engine['device']['machine']}", end="")
        print(f", {engine['variant']}: {report['verdict']}")
    print(f"\n{'accuracy under attack':30}{'here':>10}{'there':>10}{'images':>8}")
    for mine, other in zip(here["rows"], there["rows"], strict=False):
        values = "".join(f"{row['robust_acc']['value']:10.4f}" for row in (mine, other))
        print(f"{mine['attack'] + ' (' + mine['source'] + ')':30}{values}{mine['robust_acc']['n']:8}")
    for key in ("clean_acc", "robust_acc"):
        print(f"{key:30}{here[key]['value']:10.4f}{there[key]['value']:10.4f}{here[key]['n']:8}")
    for mine, other in zip(here["gates"], there["gates"], strict=False):
        print(f"{'gate ' + mine['gate']:30}{mine['verdict']:>10}{other['verdict']:>10}")
    flags = ([flag["id"] for flag in report["flags"]] for report in (here, there))
    print("{:30}{:>10}{:>10}".format("flags", *(", ".join(found) or "none" for found in flags)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=96, help="images of the bundle: about two seconds each")
    images = parser.parse_args().n
    folder = BUILD.resolve() / "aarch64"
    try:
        machine = arm64(folder)
    except UnavailableError as e:
        print(f"NOT CHECKED on aarch64: {e}.")
        return
    wheel, lines = own_wheel(), pins(JETPACK_6, "aarch64")
    wheels = [wheel, *pinned_wheels(lines, python=machine.version, processor="aarch64")]
    work = work_folder(folder / "work", "\n".join((*map(sha256_of, (wheel, Path(__file__))), *lines)))
    site = work / "site"
    if not site.exists():
        unpacked(wheels, site)
    bundle, started = make_bundle(work, images), time.monotonic()
    there = verify_there(machine, site, bundle, work / f"aarch64-{images}.json")
    seconds = time.monotonic() - started
    here = verify_here(bundle, work / "engines-here", seeds_of(there))
    show(here, there)
    print(f"\nthere in an emulator, in {seconds:.0f} s (0: kept from before)")
    found = list(differences(here, there))
    wrong = [each for each in found if not each[0].startswith(EXPECTED)]
    for path, mine, other in found:
        print(f"{'  ' if path.startswith(EXPECTED) else '! '}{path}: {mine} here, {other} there")
    if there["engine"]["device"]["machine"] != "aarch64":
        sys.exit("what was to run on aarch64 says that it did not")
    sys.exit(f"{len(wrong)} differences between the two machines" if wrong else None)


if __name__ == "__main__":
    main()
