"""The model card of a bundle, read by a YAML parser."""

from dataclasses import replace

import pytest
import yaml

from edgerkd.bundle.card import CARD, model_card
from edgerkd.bundle.read import read_bundle
from tests.bundles import write_small_bundle
from tests.report import samples


def front_matter(card: str) -> dict:
    """What stands between the first two lines of three dashes."""
    start, front, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(front)


def test_the_front_matter_says_what_the_host_measured():
    """Catches figures of the teacher, a license that nobody gave, and metrics that look checked."""
    manifest = samples.manifest(reference=samples.REFERENCE)
    found = front_matter(model_card(manifest, license="unknown"))
    assert found["license"] == "unknown"
    assert found["datasets"] == ["digits"]
    assert "adversarial-robustness" in found["tags"]
    (model,) = found["model-index"]
    (result,) = model["results"]
    assert [metric["value"] for metric in result["metrics"]] == [0.9682, 0.9006]
    assert all("measured by the host" in metric["name"] and metric["verified"] is False for metric in result["metrics"])
    assert "Linf 9/255" in result["metrics"][1]["name"]
    assert front_matter(model_card(manifest, license="apache-2.0"))["license"] == "apache-2.0"


def test_nothing_measured_is_nothing_claimed():
    """Catches a card with made-up figures."""
    card = model_card(samples.manifest(), license="unknown")
    assert "model-index" not in front_matter(card)
    assert "no figure is claimed" in card


HOSTILE = (
    "a: [b",
    "---",
    "x\n---\nlicense: mit",
    "# heading",
    "<b>&",
    "| a | b |",
    "`code`",
    "é\U0001f600\u2028",
    "!!python/x",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_out(name):
    """Catches a name that ends the front matter, changes a field, or becomes Markdown or HTML."""
    manifest = samples.manifest(name=name, dataset=name, reference=samples.REFERENCE)
    spec = replace(manifest.model, classes=(name, "one"))
    card = model_card(replace(manifest, model=spec), license=name)
    found = front_matter(card)
    assert (found["license"], found["datasets"], found["model-index"][0]["name"]) == (name, [name], name)
    body = card.split("---\n", 2)[2] if "\n---" not in name else card.rpartition("---\n")[2]
    assert "<b>" not in body
    assert body.count("\n# ") == 1
    assert "\n---\nlicense" not in body


def test_a_bundle_carries_its_card_and_its_digest(tmp_path):
    """Catches a card that is not written, that the manifest does not know, or that may be changed unnoticed."""
    manifest = write_small_bundle(tmp_path / "bundle")
    card = (tmp_path / "bundle" / CARD).read_text()
    assert manifest.files[CARD].size == len(card.encode())
    assert front_matter(card)["model-index"][0]["name"] == "small"
    (tmp_path / "bundle" / CARD).write_text(card.replace("small", "large"))
    with pytest.raises(Exception, match=CARD):
        read_bundle(tmp_path / "bundle")
