"""The plan of the long runs, with the trial of each method that left most images right under PGD in the tuning study.

python bench/long_plan.py docs/measured/tuning-gpu.json bench/plans/long-gpu.toml
"""

import json
import sys
from pathlib import Path
from typing import Any

from result import unpacked


def chosen(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each method, in the order of the study, the settings of its best trial; of equal ones the first."""
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for result in results:
        robust = float(unpacked(result["correct"]["pgd"]).mean())
        if result["method"] not in best or robust > best[result["method"]][0]:
            best[result["method"]] = robust, result["set"]
    return {method: settings for method, (_, settings) in best.items()}


def with_settings(plan: str, settings: dict[str, dict[str, Any]]) -> str:
    """The plan's text, its runs' own settings replaced by these. Raises ValueError for another set of methods."""
    head, *runs = plan.split("[[runs]]\n")
    methods = [run.split('method = "')[1].split('"')[0] for run in runs]
    if sorted(methods) != sorted(settings):
        raise ValueError(f"the plan has {methods}, the study {sorted(settings)}")
    lines: list[str] = []
    for method in methods:
        own = ", ".join(f"{key} = {value}" for key, value in settings[method].items())
        lines.append(f'label = "{method}"\nmethod = "{method}"\n' + (f"set = {{ {own} }}\n" if own else ""))
    return head + "\n".join(f"[[runs]]\n{each}" for each in lines)


def main() -> None:
    study, plan = map(Path, sys.argv[1:])
    found = chosen(json.loads(study.read_text())["results"])
    plan.write_text(with_settings(plan.read_text(), found))
    for method, settings in found.items():
        print(f"{method}: {settings or 'as it is'}")


if __name__ == "__main__":
    main()
