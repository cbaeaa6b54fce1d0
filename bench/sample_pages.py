"""Pages of made-up facts, for `make check-page`: every verdict, a run that is not finished, a bundle, a comparison."""

import sys
from dataclasses import replace
from pathlib import Path

from edgerkd.report.compare import compared, render_comparison
from edgerkd.report.load import Facts
from edgerkd.report.page import render_page
from tests.report import samples


def pages() -> dict[str, str]:
    """Each page's text, by its name."""
    kept = samples.kept(side=32, channels=3)
    manifest = samples.manifest(variants=samples.manifest().variants)
    bundle = Facts(
        run="a-bundle",
        record=None,
        epochs=(),
        student=None,
        teacher=None,
        baseline=None,
        curve=None,
        variance_gap=None,
        manifest=manifest,
        manifest_sha256="ab" * 32,
        verification=samples.verification(),
    )
    found = {f"{verdict}": render_page(samples.facts(verdict), kept) for verdict in ("pass", "fail", "inconclusive")}
    found["unverified"] = render_page(samples.facts(None))
    found["stale"] = render_page(replace(samples.facts(), manifest_sha256="cd" * 32))
    found["bundle"] = render_page(bundle, kept)
    found["comparison"] = render_comparison(compared(samples.verification(), samples.verification("fail"), kept, kept))
    return found


def main() -> None:
    """Writes them to the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
