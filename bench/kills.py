"""Kills `export`, `build` and `verify` at random moments and runs them again; two verifications at once as well.

After each kill whatever has its final name must be whole; the second run must find what an undisturbed one finds, and
must leave the same files and no process. Work is forked from one process that has imported what it needs, so that the
kills fall into the work: half of them after a time drawn at random, half right before a change to the file system drawn
at random. Images are few, the attack is FGSM, and what a verifier draws is the same each time, so that runs compare.
Trials that were made are kept in the --json file, and not made again.
"""

import argparse
import importlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # noqa: F401  forked, not imported anew by each trial
import torch
from machine import machine_facts

import edgerkd.jobs.export
from edgerkd.bundle.read import read_bundle
from edgerkd.cli.main import main as command_line
from edgerkd.core.errors import EdgerkdError
from edgerkd.core.run import RunFolder
from edgerkd.files.atomic import sha256_of, write_atomic

IMAGES = 48
RUN = "runs/kept"
COMMANDS = {
    "export": ["export", "--format", "onnx", "--precision", "fp32", "--run", RUN],
    "export-over-an-older": ["export", "--format", "onnx", "--precision", "fp32", "--run", RUN],
    "build": ["build", f"{RUN}/bundle", "--json"],
    "verify": ["verify", f"{RUN}/bundle", "--attack", "fgsm", "--json"],
    "verify-with-an-engine": ["verify", f"{RUN}/bundle", "--attack", "fgsm", "--json"],
}
VERDICTS = (0, 1, 7, 8)
CHANGES = frozenset(f"os.{name}" for name in ("rename", "mkdir", "rmdir", "remove", "chmod", "symlink", "truncate")) | {
    "fcntl.flock",
    "shutil.rmtree",
    "tempfile.mkstemp",
    "tempfile.mkdtemp",
    "ctypes.dlsym",
}
"""Python's audit events before a change; writing opens as well. The last is before an exchange of two folders."""
PATIENCE = 120.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A kill and what came of it. `moment` is in seconds or, with `how` "change", which change was not made."""

    seed: int
    command: str
    number: int
    how: str
    moment: float
    killed: bool
    problems: list[str]


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """What a command does when nobody disturbs it."""

    seconds: float
    changes: int
    files: list[str]
    found: Any


def forked(folder: Path, arguments: list[str], at_change: int = 0) -> int:
    """Start a command in a process group of its own; before change number `at_change` it kills itself."""
    number = os.fork()
    if number:
        return number
    os.setsid()
    os.chdir(folder)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder.with_name(f"{folder.name}.{name}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    tempfile.tempdir = str(folder / "tmp")
    changes, code = [0], 70

    def before(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in CHANGES:
            changes[0] += 1
            if changes[0] == at_change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(before)
    sys.argv = ["edgerkd", *arguments]
    try:
        command_line()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 0
    folder.with_name(f"{folder.name}.changes").write_text(str(changes[0]))
    folder.with_name(f"{folder.name}.modules").write_text("\n".join(sys.modules))
    os._exit(code)


def ended(process: int, after: float = PATIENCE) -> int | None:
    """A process's exit code, negative for a signal, killed where it has not ended by then; None: its group lives on."""
    until = time.monotonic() + after
    while (done := os.waitpid(process, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.002)
    if done[0] == 0:
        os.kill(process, signal.SIGKILL)
        done = os.waitpid(process, 0)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.killpg(process, 0)
        except ProcessLookupError:
            return os.waitstatus_to_exitcode(done[1])
        time.sleep(0.01)
    return None


def files_in(folder: Path) -> list[str]:
    """All names below, with digests left out: they are of what was made now."""
    return sorted(re.sub("[0-9a-f]{12}", "#", str(path.relative_to(folder))) for path in folder.rglob("*"))


def broken(folder: Path) -> list[str]:
    """What has its final name and is not whole."""
    problems: list[str] = []
    run = RunFolder(folder / RUN)
    if run.bundle.exists():
        try:
            read_bundle(run.bundle)
        except EdgerkdError as e:
            problems.append(f"the bundle: {e}")
    for path in folder.rglob("*.json"):
        if not any(part.endswith(".part") for part in path.relative_to(folder).parts):
            try:
                record = json.loads(path.read_text())
            except ValueError as e:
                problems.append(f"{path.name}: {e}")
                continue
            if path.name == "engine.json":
                for key, file in (("engine_sha256", "engine.onnx"), ("twin_sha256", "twin.onnx")):
                    if sha256_of(path.with_name(file)) != record[key]:
                        problems.append(f"{file} is not what {path.name} says")
    return problems


def found_in(folder: Path, command: str, code: int | None) -> Any:
    """What must be the same of two runs."""
    out = folder.with_name(f"{folder.name}.out").read_text()
    if command.startswith("verify"):
        if code not in VERDICTS:
            return code, folder.with_name(f"{folder.name}.err").read_text()[-500:]
        report = json.loads(out)
        stored = [json.loads(path.read_text()) for path in (folder / RUN).glob("verify-*.json")]
        keys = ("verdict", "rows", "clean_acc", "robust_acc", "flags", "gates")
        printed = [report]
        if command == "verify-beside-another" and (text := folder.with_name("second.out").read_text()):
            printed.append(json.loads(text))
        return code, [report[key] for key in keys], len(stored) == 1 and stored[0] in printed
    if command == "build":
        return code, json.loads(out)["engine_sha256"] if code == 0 else None
    return code, {name: entry.sha256 for name, entry in read_bundle(folder / RUN / "bundle").manifest.files.items()}


class Starts:
    """Copies of a run as each command finds it."""

    def __init__(self, demo: Path, work: Path) -> None:
        self._work = work
        for name in ("bare", "bundled", "built"):
            shutil.rmtree(work / name, ignore_errors=True)
        kept = work / "bare" / RUN
        (work / "bare/tmp").mkdir(parents=True)
        shutil.copytree(demo / "runs/latest", kept, symlinks=False, ignore=shutil.ignore_patterns("verify-*"))
        for name in ("bundle", "engines"):
            shutil.rmtree(kept / name, ignore_errors=True)
        for start, before, command in (("bundled", "bare", "export"), ("built", "bundled", "build")):
            shutil.copytree(work / before, work / start)
            assert ended(forked(work / start, COMMANDS[command])) == 0, (work / f"{start}.err").read_text()
            import_all((work / f"{start}.modules").read_text().split())
        shutil.rmtree(work / "bundled" / RUN / "engines")
        for start in ("bundled", "built"):  # engines of a bundle that was replaced
            older = work / start / RUN / "engines" / f"bundle-{12 * '0'}" / "onnx/fp32"
            older.mkdir(parents=True)
            (older / "engine.onnx").write_bytes(b"older")

    def fresh(self, command: str) -> Path:
        """A folder in which to run it."""
        start = {"export": "bare", "export-over-an-older": "built", "verify-with-an-engine": "built"}
        folder = self._work / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        return Path(shutil.copytree(self._work / start.get(command, "bundled"), folder))


def import_all(names: list[str]) -> None:
    """What a command has imported, so that the next one need not."""
    for name in names:
        with suppress(Exception, SystemExit):
            importlib.import_module(name)


def undisturbed(starts: Starts, command: str) -> Undisturbed:
    """One run, timed."""
    folder = starts.fresh(command)
    began = time.monotonic()
    code = ended(forked(folder, COMMANDS[command]))
    seconds = time.monotonic() - began
    changes = int(folder.with_name(f"{folder.name}.changes").read_text())
    return Undisturbed(seconds=seconds, changes=changes, files=files_in(folder), found=found_in(folder, command, code))


def killed(starts: Starts, command: str, number: int, seed: int, usual: Undisturbed) -> Trial:
    """One kill, the run after it, and what is not as it should be."""
    generator = np.random.default_rng([seed, number, *command.encode()])
    how = "time" if number % 2 else "change"
    moment = float(generator.uniform(0, usual.seconds)) if how == "time" else int(generator.integers(usual.changes)) + 1
    folder = starts.fresh(command)
    first = forked(folder, COMMANDS[command], 0 if how == "time" else int(moment))
    code = ended(first, moment if how == "time" else PATIENCE)
    problems = ["a process outlives the kill"] if code is None else []
    problems += broken(folder)
    problems += wrong(folder, command, ended(forked(folder, COMMANDS[command])), usual)
    return Trial(
        seed=seed,
        command=command,
        number=number,
        how=how,
        moment=moment,
        killed=code == -signal.SIGKILL,
        problems=problems,
    )


def wrong(folder: Path, command: str, code: int | None, usual: Undisturbed) -> list[str]:
    """What a run that nobody disturbed did otherwise than usual."""
    problems = broken(folder)
    if (found := found_in(folder, command, code)) != usual.found:
        problems.append(f"found {found} in place of {usual.found}")
    extra = (Counter(files_in(folder)) - Counter(usual.files), Counter(usual.files) - Counter(files_in(folder)))
    problems += [
        f"{word}: {', '.join(names)}" for word, names in zip(("left behind", "missing"), extra, strict=True) if names
    ]
    return problems


def both(starts: Starts, number: int, seed: int, usual: dict[str, Undisturbed]) -> Trial:
    """Two verifications of one bundle at once, the second a little later; or a build beside a verification."""
    generator = np.random.default_rng([seed, number])
    other = "build" if number % 3 == 0 else "verify"
    folder = starts.fresh("verify")
    moment = float(generator.uniform(0, usual["verify"].seconds / 2))
    second = folder.with_name("second")
    second.unlink(missing_ok=True)
    second.symlink_to(folder)
    first = forked(folder, COMMANDS["verify"])
    time.sleep(moment)
    codes = [ended(forked(second, COMMANDS[other])), ended(first)]
    command = "verify-beside-another" if other == "verify" else "verify"
    problems = wrong(folder, command, codes[1], usual["verify"])
    if codes[0] != usual[other].found[0]:
        problems.append(f"{other} ended with {codes[0]}: {second.with_name('second.err').read_text()[-500:]}")
    return Trial(
        seed=seed,
        command=f"verify and {other} at once",
        number=number,
        how="time",
        moment=moment,
        killed=False,
        problems=problems,
    )


def prepared(demo: Path | None, work: Path) -> Path:
    """The demo's folder, with its teacher in the cache."""
    if demo is None:
        demo = work / "demo"
        if not (demo / "done").exists():
            shutil.rmtree(demo, ignore_errors=True)
            demo.mkdir(parents=True)
            subprocess.run([sys.executable, "-m", "edgerkd", "demo"], cwd=demo, check=True, stdout=subprocess.DEVNULL)
            (demo / "done").touch()
    return demo.resolve()


def table(trials: list[Trial]) -> str:
    """One line a command."""
    lines = ["| command | trials | killed in the work | problems |", "| --- | --- | --- | --- |"]
    for command in dict.fromkeys(trial.command for trial in trials):
        those = [trial for trial in trials if trial.command == command]
        lines.append(
            f"| {command.replace('-', ' ')} | {len(those)} | {sum(trial.killed for trial in those)} | "
            f"{sum(bool(trial.problems) for trial in those)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=40, help="kills of each of the five commands")
    parser.add_argument("--at-once", type=int, default=20, help="pairs at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--demo", type=Path, help="a folder in which `edgerkd demo` ran, with EDGERKD_CACHE as it was then"
    )
    parser.add_argument("--work", type=Path, default=Path("build/kills"))
    parser.add_argument("--json", type=Path, default=Path("build/kills/kills.json"))
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("EDGERKD_CACHE", str(work / "cache"))
    demo = prepared(given.demo, work)
    torch.set_num_threads(1)
    secrets.randbits = lambda k: 1
    edgerkd.jobs.export.STORED_IMAGES, edgerkd.jobs.export.DEFAULT = IMAGES, "fgsm"
    starts = Starts(demo, work)
    for command in COMMANDS:
        undisturbed(starts, command)
        import_all((starts.fresh(command).with_name("trial.modules")).read_text().split())
    usual = {command: undisturbed(starts, command) for command in COMMANDS}
    for command, each in usual.items():
        print(f"{command:24}{each.seconds:6.2f} s{each.changes:5} changes to files", flush=True)
    trials = [Trial(**each) for each in json.loads(given.json.read_text())["trials"]] if given.json.exists() else []
    made = {(trial.seed, trial.command, trial.number) for trial in trials}
    jobs: list[tuple[str, int, Callable[[], Trial]]] = []
    for number in range(given.n):
        jobs += [(c, number, lambda c=c, i=number: killed(starts, c, i, given.seed, usual[c])) for c in COMMANDS]
    for number in range(given.at_once):
        name = f"verify and {'verify' if number % 3 else 'build'} at once"
        jobs.append((name, number, lambda i=number: both(starts, i, given.seed, usual)))
    for command, number, job in jobs:
        if (given.seed, command, number) in made:
            continue
        trials.append(job())
        if trials[-1].problems:
            print(trials[-1], flush=True)
        facts = machine_facts(("edgerkd", "onnxruntime", "torch"))
        kept = {"images": IMAGES, "machine": facts, "trials": [asdict(each) for each in trials]}
        write_atomic(given.json, json.dumps(kept, indent=1))
    print(f"\n{table(trials)}")
    sys.exit(1 if any(trial.problems for trial in trials) else None)


if __name__ == "__main__":
    main()
