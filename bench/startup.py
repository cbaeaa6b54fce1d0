"""How long `import edgerkd`, `edgerkd --help` and `edgerkd profiles` take, beside a Python that does nothing."""

import argparse
import subprocess
import sys
import time

from machine import machine_facts, show_machine, spread

EDGERKD = [sys.executable, "-m", "edgerkd"]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import edgerkd": [sys.executable, "-c", "import edgerkd"],
    "edgerkd --help": [*EDGERKD, "--help"],
    "edgerkd profiles": [*EDGERKD, "profiles"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=15, help="runs of each command, after one that is not counted")
    runs = parser.parse_args().n
    facts = machine_facts(("edgerkd", "typer", "rich", "pydantic"))
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(runs + 1):  # interleaved, so that a busy moment falls on all of them; the first fills caches
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if run:
                seconds[name].append(time.perf_counter() - started)

    show_machine(facts)
    base = spread(seconds["python -c pass"])[0]
    print(f"\n{'command':<18}{'median ms':>10}{'quartiles':>16}{'ratio':>8}{'difference':>12}   ({runs} runs each)")
    for name, values in seconds.items():
        middle, low, high = spread(values)
        quartiles = f"{low * 1e3:.0f} to {high * 1e3:.0f}"
        difference = f"{(middle - base) * 1e3:+.0f} ms"
        print(f"{name:<18}{middle * 1e3:>10.0f}{quartiles:>16}{middle / base:>8.1f}{difference:>12}")


if __name__ == "__main__":
    main()
