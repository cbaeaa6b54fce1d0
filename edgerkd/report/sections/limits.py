"""What must not be read into the page."""

from edgerkd.core.evaluation import MADE_HERE
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup
from edgerkd.report.parts import bullets, section


def limits(facts: Facts) -> Markup:
    """What must not be read into this page."""
    report = facts.verification
    lines = [
        "Robust accuracy is what these attacks could not break. A stronger or different attack may break more: "
        "the figure is an upper bound, and no proof.",
        "It holds for the threat model named above only: not for larger or other changes, such as rotation, blur, "
        "weather, stickers or another norm.",
        "The images come from one data set. Images from another camera, place or time may fare worse, with and "
        "without an attack.",
        "The intervals are about which images were drawn; they do not cover how another training seed would turn out.",
    ]
    if report is None:
        lines.insert(0, "No engine was attacked: the conversion for the device may cost accuracy and robustness.")
        return section("What this report does not show", bullets(lines))
    lines.insert(0, "Another engine file, runtime version, device or precision is another thing: verify it there.")
    if not report.rows:
        lines.append("Nothing was attacked: how robust the engine is was not asked.")
        return section("What this report does not show", bullets(lines))
    if all(row.source not in MADE_HERE for row in report.rows):
        lines.append("Only stored images were replayed: a weakness of this engine alone cannot show.")
    if not any(row.source == "query" for row in report.rows):
        lines.append("No attack that only asks questions was run; it would notice gradients that mislead.")
    return section("What this report does not show", bullets(lines))
