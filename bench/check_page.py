"""Pages in headless Chromium: axe-core's rules, contrast, keys, no request, nothing wider than the window; pictures.

    make check-page ARGS="runs/latest/report.html --out build/page"

Needs `make check-page`'s environment, and a Chromium, such as Debian's package of that name. Each page is opened as
light, dark, print and narrow (360 pixels), a picture of each is written, and every finding is printed: the exit code is
1 where there is one.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class View(NamedTuple):
    """One way to look at a page."""

    name: str
    width: int
    scheme: str = "light"
    media: str = "screen"


VIEWS = (
    View("light", 1100),
    View("dark", 1100, scheme="dark"),
    View("narrow", 360),
    View("narrow-dark", 360, scheme="dark"),
    View("print", 720, media="print"),
)


def findings(browser: Browser, file: Path, view: View, out: Path) -> Iterator[str]:
    """What is wrong with the page in this view; a picture of it is written."""
    context = browser.new_context(viewport={"width": view.width, "height": 900}, bypass_csp=False)
    page = context.new_page()
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: problems.append(f"console: {message.text}") if message.type == "error" else None)
    page.emulate_media(media=view.media, color_scheme=view.scheme)
    page.goto(file.resolve().as_uri())
    page.screenshot(path=out / f"{file.stem}-{view.name}.png", full_page=True)
    if view.media == "print":
        page.pdf(path=out / f"{file.stem}.pdf", format="A4")
    own = file.resolve().as_uri()
    yield from (f"request: {url[:80]}" for url in requests if url != own and not url.startswith("data:"))
    if view.media == "screen":
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            yield f"{wide} pixels wider than the window"
    yield from problems
    yield from axe(page)
    yield from contrast(page)
    yield from keyboard(page)
    context.close()


def axe(page: Page) -> Iterator[str]:
    """All violations of all of axe-core's rules, and what it could not decide about contrast."""
    page.evaluate(AXE)  # the developer tools' world: the page's own policy forbids scripts, and stays as it is
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations', 'incomplete']})")
    for each in found["violations"]:
        for node in each["nodes"]:
            why = node["failureSummary"].splitlines()[-1].strip()
            yield f"axe {each['id']} ({each['impact']}): {node['target']} {why}"
    for each in found["incomplete"]:
        for node in each["nodes"]:
            if each["id"] != "color-contrast" or not node["html"].startswith("<text"):  # see `contrast`
                why = node["any"][0]["message"] if node["any"] else ""
                yield f"axe cannot tell {each['id']}: {node['target']} {why}"


CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  return [...document.querySelectorAll('svg text')].map(e => {
    const [a, b] = [light(rgb(getComputedStyle(e).fill)), light(behind(e.closest('svg')))];
    return [e.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; }); }"""


def contrast(page: Page) -> Iterator[str]:
    """Text in drawings, of which axe-core cannot tell the colours: at least 4.5 to 1. Source: WCAG 2.2, 1.4.3."""
    for text, ratio in page.evaluate(CONTRAST):
        if ratio < 4.5:
            yield f"contrast {ratio:.2f} of the text {text!r} in a drawing"


def keyboard(page: Page) -> Iterator[str]:
    """Whether the tab key reaches everything that scrolls or opens, and where it is can be seen."""
    page.evaluate("document.activeElement.blur()")
    expected = page.evaluate(
        "[...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')].filter(e => e.checkVisibility()).length"
    )
    reached = 0
    for _ in range(expected):
        page.keyboard.press("Tab")
        shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        reached += page.evaluate("document.activeElement !== document.body") and shown != "none"
    if reached < expected:
        yield f"keyboard: {reached} of {expected} places are reached and shown"


def main() -> int:
    """Prints every finding, one a line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/page"))
    given = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.exit(f"no Chromium: install one of {', '.join(CHROMIUM)} (Debian: apt-get install chromium)")
    given.out.mkdir(parents=True, exist_ok=True)
    count = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for file in given.pages:
            for view in VIEWS:
                for finding in findings(browser, file, view, given.out):
                    count += 1
                    print(f"{file.name}, {view.name}: {finding}")
        print(f"{len(given.pages)} pages, {len(VIEWS)} views each, Chromium {browser.version}: {count} findings")
        browser.close()
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
