"""A bundle's model card in Hugging Face's form: README.md with YAML front matter.

Source of the form: huggingface.co/docs/hub, "Model Cards" and their metadata specification (modelcard.md). The front
matter is written as YAML's flow style, in which JSON is YAML (YAML 1.2, section 1.3): no name can break out of it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.manifest import Manifest
from edgerkd.core.requirement import ReferenceResult
from edgerkd.core.text import printable
from edgerkd.core.units import format_count, format_size

CARD = "README.md"

_UNPRINTED = "[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"  # source: YAML 1.2, 5.1 and 5.4
_CLASSES = 20  # classes that are named; ours
_TAGS = ("image-classification", "onnx", "adversarial-robustness", "edgerkd")


def model_card(manifest: Manifest, *, license: str) -> str:
    """The card of a bundle; `manifest` lists all other files. Figures are the host's, and are said to be."""
    front = "\n".join(f"{key}: {_json(value)}" for key, value in _front(manifest, license).items())
    return f"---\n{front}\n---\n\n{_body(manifest)}"


def _front(manifest: Manifest, license: str) -> Mapping[str, object]:
    found: dict[str, object] = {
        "license": license,
        "library_name": "edgerkd",
        "pipeline_tag": "image-classification",
        "tags": [*_TAGS, *(["knowledge-distillation"] if manifest.model.architecture is not None else [])],
        "datasets": [manifest.dataset],
    }
    if manifest.reference is not None:
        found["model-index"] = [{"name": manifest.name, "results": [_result(manifest, manifest.reference)]}]
    return found


def _result(manifest: Manifest, reference: ReferenceResult) -> Mapping[str, object]:
    how = f"{manifest.threat_model}, {', '.join(reference.attacks)}"
    return {
        "task": {"type": "image-classification"},
        "dataset": {"name": manifest.dataset, "type": manifest.dataset, "split": "test"},
        "metrics": [
            _metric("clean accuracy", reference.clean_acc),
            _metric(f"robust accuracy under {how}", reference.robust_acc),
        ],
    }


def _metric(name: str, accuracy: Accuracy) -> Mapping[str, object]:
    return {
        "type": "accuracy",
        "value": round(accuracy.value, 4),
        "name": f"{name}, float32, measured by the host on {accuracy.n} images",
        "verified": False,
    }


def _body(manifest: Manifest) -> str:
    model = manifest.model
    channels, height, width = model.image_shape
    classes = ", ".join([*map(_text, model.classes[:_CLASSES]), *(["..."] if len(model.classes) > _CLASSES else [])])
    lines = [
        f"# {_text(manifest.name)}",
        "",
        f"A classifier of {width} x {height} {'grey' if channels == 1 else 'colour'} images into {len(model.classes)} "
        "classes, attacked on the host and made to be attacked again on the device that it runs on. "
        f"{format_count(model.cost.params)} parameters, {format_count(model.cost.macs)} multiply-accumulates.",
        "",
        f"- Input: float32 (n, {channels}, {height}, {width}) in [0, 1]; normalisation is within the graph.",
        f"- Classes, in order: {classes}.",
        f"- Data: {_text(manifest.dataset)}. Threat model: {manifest.threat_model}.",
        "",
        "## Accuracy",
        "",
        *_accuracies(manifest.reference),
        "",
        "## Files",
        "",
        "| variant | precision | graph | size |",
        "| --- | --- | --- | --- |",
        *(
            f"| {_text(v.name)} | {v.precision} | {_text(v.graph)} | {format_size(manifest.files[v.graph].size)} |"
            for v in manifest.variants
        ),
        "",
        "## How to verify",
        "",
        "`edgerkd verify FOLDER` builds the engine on your device, attacks that engine, and says pass, fail or "
        "inconclusive. Robust accuracy is what attacks did not break: an upper bound, and no proof.",
    ]
    return "\n".join(lines) + "\n"


def _accuracies(reference: ReferenceResult | None) -> Sequence[str]:
    if reference is None:
        return ["The host measured nothing: no figure is claimed."]
    rows = (
        ("this model, float32", reference.clean_acc, reference.robust_acc),
        ("its teacher", reference.teacher_clean_acc, reference.teacher_robust_acc),
    )
    return [
        "Measured by the host that made this bundle, and claimed by it; nobody else has checked these figures.",
        "",
        "| network | clean accuracy [95 %] | robust accuracy [95 %] |",
        "| --- | --- | --- |",
        *(f"| {name} | {clean} | {robust} |" for name, clean, robust in rows if clean is not None),
    ]


def _text(name: str) -> str:
    """A name that Markdown and HTML show as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|~" else escape(c) for c in printable(name, 200))


def _json(value: object) -> str:
    """JSON within YAML: what YAML takes for a line end, or does not print, as escapes, which both read alike."""
    return re.sub(_UNPRINTED, lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
