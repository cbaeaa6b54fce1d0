"""How long one backend takes for a bundle's model, by the size of the batch.

    python bench/engine_latency.py runs/latest/bundle [--backend onnx] [--variant fp32] [--batches 1 8 64] [--json FILE]

The engine is the one `edgerkd verify` attacks, built beside the bundle where it is not there yet, and so is the
measure: images in host memory to logits in host memory (edgerkd/verify/latency.py).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import machine_facts, show_machine

from edgerkd.bundle.read import read_bundle
from edgerkd.core.engine import Engine
from edgerkd.core.record import Record
from edgerkd.core.requirement import choose_profile
from edgerkd.core.run import RunFolder
from edgerkd.core.verification import Latency
from edgerkd.files.decode import encode_json
from edgerkd.report.words import engine_words
from edgerkd.verify.session import open_session


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Record):
    """One engine on one machine."""

    machine: dict[str, str]
    bundle: str
    engine: Engine
    latency_ms: tuple[Latency, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--backend", help="the best that works here if not given")
    parser.add_argument("--variant", help="the first that the backend can build if not given")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    facts = machine_facts(("edgerkd", "numpy"))
    bundle, engines = read_bundle(given.bundle), RunFolder(given.bundle.resolve().parent).engines
    with open_session(
        bundle,
        engines=engines,
        profile=choose_profile(bundle.manifest.profiles, None),
        backend=given.backend,
        variant=given.variant,
    ) as session:
        images = session.samples.images
        latency = [session.live.timing(np.resize(images, (n, *images.shape[1:])))[0] for n in given.batches]
        found = Result(machine=facts, bundle=bundle.manifest.name, engine=session.facts, latency_ms=tuple(latency))
    show_machine(facts)
    print(f"\n{found.bundle}: {engine_words(found.engine)}")
    print(f"{'batch':>5}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'images/s':>12}")
    for row in latency:
        print(f"{row.batch:5}{row.p50:10.3f}{row.p95:10.3f}{row.p99:10.3f}{1e3 * row.batch / row.p50:12.0f}")
    if given.json:
        given.json.write_text(encode_json(found))


if __name__ == "__main__":
    main()
