"""Adversarial images beside their clean ones, with the change enlarged and what the engine said of both."""

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.kept import Kept
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import NOTHING, section
from edgerkd.report.png import data_url
from edgerkd.report.words import percent


def images(facts: Facts, kept: Kept | None) -> Markup:
    """The images that were kept: the most confident mistakes and the most confidently held."""
    report = facts.verification
    if report is None or kept is None or not len(kept.rows):
        return NOTHING
    change = kept.images_adv - np.divide(kept.images, 255, dtype=np.float32)
    enlarged = 0.5 / max(float(np.abs(change).max()), 1e-6)
    mistaken = [k for k in range(len(kept.rows)) if not kept.robust[kept.rows[k]]]
    held = [k for k in range(len(kept.rows)) if kept.robust[kept.rows[k]]]
    parts = [
        tag(
            "p",
            f"Each image as it is, as the attack changed it within {report.threat_model}, and the change itself, "
            f"enlarged {enlarged:.0f} times around grey, which is no change. The share is the engine's softmax for its "
            "answer.",
        )
    ]
    for title, rows in (("Most confident mistakes", mistaken), ("Most confidently held under attack", held)):
        if rows:
            cards = [_card(facts, kept, k, change[k] * enlarged + 0.5) for k in rows]
            parts += [tag("h3", title), tag("div", *cards, class_="cards")]
    return section("What the engine saw, and what it said", *parts)


def _card(facts: Facts, kept: Kept, k: int, difference: NDArray[np.float32]) -> Markup:
    label, answer, answer_adv = (_name(facts, int(each[k])) for each in (kept.labels, kept.answers, kept.answers_adv))
    shown = (
        ("image", kept.images[k], f"clean: {answer}, {percent(float(kept.shares[k]))}"),
        ("attacked", _pixels(kept.images_adv[k]), f"attacked: {answer_adv}, {percent(float(kept.shares_adv[k]))}"),
        ("change", _pixels(difference), "the change, enlarged"),
    )
    pictures = [
        tag(
            "span",
            Markup(f'<img src="{data_url(pixels)}" alt="{kind} {kept.rows[k]}">'),
            tag("span", words),
            class_="picture",
        )
        for kind, pixels, words in shown
    ]
    return tag("figure", tag("figcaption", f"image {kept.rows[k]}, labelled {label}"), *pictures, class_="card")


def _pixels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """From [0, 1] to eight bits, rounded."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _name(facts: Facts, number: int) -> str:
    return facts.classes[number] if number < len(facts.classes) else f"class {number}"
