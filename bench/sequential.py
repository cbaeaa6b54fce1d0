"""How often `verify` is wrong, and after how many images it decides: its own rule on engines whose accuracy is known.

    python bench/sequential.py [--runs 10000] [--json FILE]

An engine is a chance for each outcome of an image; images are drawn as `verify` draws them, LOOK at a time, and its
rule is asked after each. Three parts: one gate at a time; all three gates together; images needed by margin. The exit
status is 1 where more than 1 % of any row's runs pass although a gate is missed, or fail although all are met.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from machine import machine_facts

from edgerkd.core.sequential import ERROR, Tally, share, surely_missed, surely_reached
from edgerkd.verify.evidence import LOOK

NEAR = 0.01  # how far just above and just below are
GATES = (0.1, 0.3, 0.5, 0.7, 0.9)
IMAGES = (250, 500, 2000)
MARGINS = (0.02, 0.05, 0.08, 0.12, 0.18, 0.25)
HOST = 0.6  # the host's robust accuracy where retention is asked
FATES = ((True, True, True), (True, True, False), (True, False, True), (True, False, False), (False, False, False))
"""Clean, robust on the engine, robust on the host: all that an image can be, but for mistakes that the host resists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of `runs` engines: each figure but `images` is a share of them."""

    what: str
    at: str
    n: int
    passed: float
    failed: float
    open: float
    met: bool
    images: float

    @property
    def wrong(self) -> float:
        """Passes of what is missed, fails of what is met."""
        return self.failed if self.met else self.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Chances of FATES, and what is required of it."""

    chances: Sequence[float]
    required: Mapping[str, float]

    @property
    def met(self) -> bool:
        """Whether every gate is: to a rounding error, for a gate that is exactly reached is met."""
        clean, robust, host = (sum(c for c, fate in zip(self.chances, FATES, strict=True) if fate[k]) for k in range(3))
        true = {"clean_acc": clean, "robust_acc": robust, "retention": robust / host if host else 0.0}
        return all(true[name] > value - 1e-9 for name, value in self.required.items())


@cache
def judged(required: float, tally: Tally, gates: int) -> str:
    """One gate's verdict. That the interval in the report says the same is tested in tests/unit/test_sequential.py."""
    if surely_reached(tally, required):
        return "pass"
    return "fail" if surely_missed(tally, required, gates=gates) else "inconclusive"


def verdict(engine: Engine, counts: Sequence[int]) -> str:
    """By all gates, from how often each of FATES was seen."""
    both, engine_only, host_only, fooled, wrong = (int(c) for c in counts)
    n = both + engine_only + host_only + fooled + wrong
    tallies = {
        "clean_acc": share(n - wrong, n),
        "robust_acc": share(both + engine_only, n),
        "retention": Tally(both, engine_only, host_only, paired=True),
    }
    found = {judged(value, tallies[name], len(engine.required)) for name, value in engine.required.items()}
    return "fail" if "fail" in found else "pass" if found == {"pass"} else "inconclusive"


def simulate(engine: Engine, n: int, runs: int, generator: np.random.Generator) -> tuple[list[str], list[int]]:
    """Each run's verdict, and after how many images it came."""
    looks = generator.multinomial(LOOK, engine.chances, size=(runs, n // LOOK)).cumsum(1)
    verdicts: list[str] = []
    images: list[int] = []
    for run in looks.tolist():
        found, counts = "inconclusive", [0]
        for counts in run:
            found = verdict(engine, counts)
            if found != "inconclusive":
                break
        verdicts.append(found)
        images.append(sum(counts))
    return verdicts, images


def row(what: str, at: str, engine: Engine, n: int, runs: int, generator: np.random.Generator) -> Row:
    """One engine, many times."""
    verdicts, images = simulate(engine, n, runs, generator)
    passed, failed = (verdicts.count(each) / runs for each in ("pass", "fail"))
    return Row(
        what=what,
        at=at,
        n=n,
        passed=passed,
        failed=failed,
        open=1 - passed - failed,
        met=engine.met,
        images=float(np.median(images)),
    )


def robust_engine(robust: float, gate: float) -> Engine:
    """Only robust accuracy is asked."""
    return Engine(chances=(robust, 0, 0, 1 - robust, 0), required={"robust_acc": gate})


def retaining_engine(kept: float, gate: float) -> Engine:
    """Only retention is: the engine keeps that share, and resists on one image in a hundred where the host does not."""
    extra = 0.01 * HOST
    both = max(0.0, kept * HOST - extra)
    return Engine(chances=(both, extra, HOST - both, 1 - HOST - extra, 0), required={"retention": gate})


def one_gate(runs: int, generator: np.random.Generator) -> list[Row]:
    """At each gate, just below and just above it."""
    cases = [
        (what, f"{gate:.0%} {100 * off:+.0f}", engine(gate + off, gate))
        for what, gates, engine in (
            ("robust accuracy", GATES, robust_engine),
            ("retention", (0.95,), retaining_engine),
        )
        for gate in gates
        for off in (-NEAR, 0.0, NEAR)
    ]
    return [row(what, at, engine, n, runs, generator) for n in IMAGES for what, at, engine in cases]


def three_gates(runs: int, generator: np.random.Generator) -> list[Row]:
    """Clean 90 %, robust 50 %, retention 95 %: one just missed while the others are met, then all just met."""
    required = {"clean_acc": 0.9, "robust_acc": 0.5, "retention": 0.95}

    def engine(clean: float, robust: float, host: float) -> Engine:
        extra = 0.005
        both = robust - extra
        return Engine(chances=(both, extra, host - both, clean - host - extra, 1 - clean), required=required)

    cases = {
        "clean accuracy just missed": engine(0.89, 0.7, 0.7),
        "robust accuracy just missed": engine(0.97, 0.49, 0.49),
        "retention just missed": engine(0.97, 0.611, 0.65),
        "all exactly met": engine(0.9, 0.5, 0.5 / 0.95),
        "all just met": engine(0.91, 0.51, 0.51 / 0.96),
    }
    return [row("three gates", at, each, n, runs, generator) for n in IMAGES for at, each in cases.items()]


def by_margin(runs: int, generator: np.random.Generator) -> list[Row]:
    """How many images one gate takes, of 500."""
    return [
        row(
            "images needed", f"{gate:.0%} {100 * margin:+.0f}", robust_engine(gate + margin, gate), 500, runs, generator
        )
        for gate in (0.3, 0.5, 0.7)
        for margin in sorted({*MARGINS, *(-each for each in MARGINS)})
    ]


def main() -> None:
    """Run all parts, print them as tables, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--json")
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    rows = [part for make in (one_gate, three_gates, by_margin) for part in make(args.runs, generator)]
    print(
        "| what | gate and truth | of images | pass | fail | open | wrong | images, median |\n| --- "
        + "| --- " * 7
        + "|"
    )
    for each in rows:
        shares = " | ".join(f"{value:.2%}" for value in (each.passed, each.failed, each.open, each.wrong))
        print(f"| {each.what} | {each.at} | {each.n} | {shares} | {each.images:.0f} |")
    if args.json:
        facts = {"runs": args.runs, "look": LOOK, "machine": machine_facts(), "rows": [asdict(each) for each in rows]}
        Path(args.json).write_text(json.dumps(facts, indent=1) + "\n")
    sys.exit(any(each.wrong > ERROR for each in rows))


if __name__ == "__main__":
    main()
