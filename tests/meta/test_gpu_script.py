"""bench/gpu.sh, which runs where nobody looks: its stages, options and commands are those that there are."""

import re
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
TEXT = (BENCH / "gpu.sh").read_text()
HEAD = "\n".join(line for line in TEXT.partition("set -uo pipefail")[0].splitlines() if line.startswith("#"))


def test_the_stages_are_those_that_its_head_documents():
    """Catches a stage that runs by default but is not documented, and one that was renamed in one place."""
    stages = re.findall(r"^stage_([\w-]+)\(\)", TEXT, re.MULTILINE)
    default = re.search(r"^STAGES=\((.+)\)$", TEXT, re.MULTILINE)
    assert default is not None
    assert default[1].split() == stages == re.findall(r"^#   ([a-z][a-z-]+)  +\S", HEAD, re.MULTILINE)


def test_the_options_are_those_that_its_head_documents():
    """Catches an option without a word about it."""
    assert re.findall(r"^#   --([a-z]+)", HEAD, re.MULTILINE) == re.findall(r"--(\w+)\) \w+=\$\{2:\?\}", TEXT)


@pytest.mark.parametrize("name", ["distill", "attacks", "study", "engine_latency", "ranks"])
def test_the_benchmarks_it_runs_take_its_options(name):
    """Catches an option of a benchmark that was renamed, which only a machine with a GPU would notice."""
    sizes = {"distill": "SPEED"}
    commands = re.findall(rf"bench/{name}\.py((?:.*\\\n)*.*)", TEXT)
    commands += re.findall(rf"{sizes[name]}=\((.*?)\)", TEXT, re.DOTALL) if name in sizes else []
    used = {option for command in commands for option in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", command)}
    known = set(re.findall(r'add_argument\(\s*"(--?[\w-]+)"', (BENCH / f"{name}.py").read_text()))
    assert used
    assert used <= known


def test_the_plans_it_carries_out_are_there():
    """Catches a plan that was renamed, and a miniature that leaves out what the large one runs."""
    names = re.findall(r"STUDY=(\S+)", TEXT)
    small, large = ((BENCH / "plans" / f"{name}.toml").read_text() for name in names)
    runs = r"(?m)^(?:method|set) = .*$"
    assert re.findall(runs, small) == re.findall(runs, large)


def test_it_is_shell():
    """Catches a quotation mark that is never closed."""
    assert subprocess.run(["bash", "-n", BENCH / "gpu.sh"], check=False).returncode == 0
