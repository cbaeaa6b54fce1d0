"""The HTML page."""

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.circumstances import Circumstances
from edgerkd.core.engine import BuildLog, DeviceRecord
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag
from edgerkd.core.method import MethodFacts
from edgerkd.core.precision import LayerShift, PrecisionSearch, Retention, SearchStep
from edgerkd.core.record import Record
from edgerkd.core.requirement import Requirement
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.core.verification import Skipped
from edgerkd.report.load import Facts, load_facts
from edgerkd.report.page import render_page, write_page
from tests.report import samples

VOID = {"meta", "img"}
L2 = ThreatModel(norm="L2", eps=Radius("1/2"))


class Reader(HTMLParser):
    """Checks that tags close in order, and collects what a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def read(facts: Facts) -> tuple[Reader, str]:
    """The page's tags, and its text with all white space as one space."""
    reader = Reader()
    reader.feed(render_page(facts))
    reader.close()
    assert reader.open == []
    return reader, re.sub(r"\s+", " ", " ".join(reader.text))


UNFINISHED = replace(
    samples.facts(None),
    **dict.fromkeys(("student", "teacher", "baseline", "curve", "variance_gap", "manifest_sha256")),
    epochs=(),
)


@pytest.mark.parametrize(
    "facts",
    [
        *(samples.facts(verdict) for verdict in ("pass", "fail", "inconclusive", "measured", None)),
        replace(samples.facts(), epochs=samples.epochs(1)),
        UNFINISHED,
    ],
)
def test_well_formed_and_alone(facts):
    """Catches tags that do not close, and anything that the page would fetch or run."""
    reader, _ = read(facts)
    names = {name for name, _ in reader.tags}
    assert not names & {"script", "link", "iframe", "object", "base", "form"}
    for name, attributes in reader.tags:
        assert not any(key.startswith("on") or key == "style" for key in attributes), name
        assert str(attributes.get("src", "data:image/png;")).startswith("data:image/png;")
        assert str(attributes.get("href", "#")).startswith("#")
    page = render_page(facts)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page


def test_drawings_speak():
    """Catches a drawing that a screen reader passes over, and one that draws outside the numbers."""
    reader, _ = read(samples.facts())
    drawings = [attributes for name, attributes in reader.tags if name == "svg"]
    assert len(drawings) > 10
    assert all(d.get("aria-label") and d.get("role") == "img" for d in drawings if d.get("aria-hidden") != "true")
    assert not re.search(r'="[^"]*\b(nan|inf)\b', render_page(samples.facts()))


def test_every_table_has_a_caption_and_named_columns():
    """Catches a table that cannot be read aloud."""
    names = [name for name, _ in read(samples.facts())[0].tags]
    assert names.count("table") == names.count("caption") == names.count("thead") == 16


HOSTILE = "<script>alert('x')</script>&\"'"


def _hostile(facts: Facts) -> Facts:
    assert facts.verification is not None
    assert facts.student is not None
    record, report = facts.record, facts.verification
    row = Row(attack=HOSTILE, source="direct", robust_acc=samples.accuracy(1, 2))
    return replace(
        facts,
        run=HOSTILE,
        record=replace(
            record,
            request=replace(record.request, source=HOSTILE),
            data=replace(record.data, name=HOSTILE, sha256=HOSTILE, classes=(HOSTILE,) * 10),
            teacher=HOSTILE,
            method=MethodFacts(name=HOSTILE, description=HOSTILE, sources=(HOSTILE,)),
            recipe=replace(record.recipe, method=HOSTILE, options={HOSTILE: HOSTILE}),
            profile=replace(
                record.profile,
                name=HOSTILE,
                title=HOSTILE,
                backends=(HOSTILE,),
                device=replace(record.profile.device, soc=HOSTILE),
                sources={HOSTILE: HOSTILE, "device.soc": HOSTILE},
            ),
            versions={HOSTILE: HOSTILE},
        ),
        epochs=tuple(replace(epoch, terms={HOSTILE: 1.0}) for epoch in facts.epochs),
        student=replace(facts.student, split=HOSTILE, flags=(Flag(id=HOSTILE, facts={HOSTILE: HOSTILE}),), rows=(row,)),
        verification=replace(
            report,
            bundle=HOSTILE,
            by_class=replace(
                report.by_class,
                classes=(replace(report.by_class.classes[0], name=HOSTILE),),
                missing=(HOSTILE,),
                worst=HOSTILE,
            ),
            manifest_sha256=HOSTILE,
            reference=replace(samples.REFERENCE, attacks=(HOSTILE,)),
            target=replace(samples.TARGET, title=HOSTILE, backend=HOSTILE),
            build=BuildLog(typing="weak", precisions=(HOSTILE,), fallback=HOSTILE),
            skipped=(Skipped(backend=HOSTILE, problem=HOSTILE),),
            flags=(Flag(id=HOSTILE, facts={HOSTILE: HOSTILE}),),
            notices=(Flag(id=HOSTILE, facts={HOSTILE: HOSTILE}),),
            rows=(row,),
            engine=replace(
                report.engine,
                backend=HOSTILE,
                version=HOSTILE,
                device=DeviceRecord(kind="cpu", name=HOSTILE, machine=HOSTILE),
                variant=HOSTILE,
                precision=HOSTILE,
                sha256=HOSTILE,
            ),
            gates=(replace(report.gates[0], gate=HOSTILE),),
            budget=(replace(report.budget[3], limit=HOSTILE),),
        ),
    )


def test_everything_is_escaped():
    """Catches any text of the files that reaches the page as markup."""
    facts = _hostile(samples.facts())
    reader, text = read(facts)
    assert "<script" not in render_page(facts)
    assert "script" not in {name for name, _ in reader.tags}
    assert text.count(HOSTILE) > 25


@pytest.mark.parametrize(
    ("verdict", "word", "words"),
    [
        ("pass", "PASS", "Every gate is met and no limit judged here is exceeded."),
        ("fail", "FAIL", "At least one requirement is not met: the tables say which."),
        ("inconclusive", "INCONCLUSIVE", "Nothing failed, but the evidence is not enough: this is not a pass."),
        ("measured", "MEASURED", "Figures alone, held against no threshold: this is not a pass."),
        (None, "NOT VERIFIED", "No engine has been attacked. What follows was measured on the host only."),
    ],
)
def test_the_banner(verdict, word, words):
    """Catches the wrong banner, two banners, and a banner without its scope."""
    reader, text = read(samples.facts(verdict))
    assert text.index(word) < text.index(words) < 400
    others = {"PASS", "FAIL", "INCONCLUSIVE", "MEASURED", "NOT VERIFIED"} - {word}
    assert not any(other in text for other in others)
    classes = [a["class"] for n, a in reader.tags if n == "section" and (a.get("class") or "").startswith("verdict")]
    assert classes == [f"verdict {verdict}" if verdict else "verdict"]
    if verdict:
        scope = text[text.index(words) : text.index("What was attacked")]
        for part in ("onnx 1.77.2", "toy64 CPU (Toy CPU @ 1 GHz)", "fp32", "0f1e2d3c4b5a", "Linf 9/255", "503"):
            assert part in scope
        assert ("not judged on this machine: latency (median)" in scope) == (verdict != "measured")
        assert "this verdict is about onnx on toy64 CPU (Toy CPU @ 1 GHz); Toy Board 3000 runs trt" in scope


def test_the_key_figures():
    """Catches a figure under another's name."""
    _, text = read(samples.facts())
    assert "clean accuracy on the engine 96.6% 99 %: 94.7% to 97.9%, 503 images" in text
    assert "robust accuracy on the engine 89.7% 99 %: 86.7% to 92.0%, 503 images" in text
    assert "of the host's robust accuracy retained 99.5% 99 %: 98.8% to 100.2%" in text
    assert "latency, median 0.0423 ms batch 1" in text
    assert "robust accuracy on the host 89.5% 95 %: 87.1% to 91.4%, 797 images" in read(samples.facts(None))[1]


def test_each_bar_is_of_its_row():
    """Catches a bar beside another row's figures, and a gate drawn without what was required."""
    page = render_page(samples.facts())
    for row, words in (
        ("replay", "92.0% [89.4%, 94.1%]"),
        ("PGD-21 CE", "90.9% [88.0%, 93.1%]"),
        ("clean accuracy", "96.6% [94.7%, 97.9%], required at least 88.3%"),
        ("retention", "99.5% [98.8%, 100.2%], required at least 95.0%"),
        ("standard-trained", "4.9% [3.6%, 6.6%]"),
    ):
        line = page[page.index(f'<th scope="row">{row}<') :]
        assert f'aria-label="{words}"' in line[: line.index("</tr>")]


def test_reasons_and_notes_are_shown():
    """Catches a failure without its reason, and a pass whose reservation stands where nobody reads."""
    _, text = read(samples.facts("fail"))
    banner = text[: text.index("clean accuracy on the engine")]
    assert "robust accuracy 42.5% is below 77.1%" in banner
    assert "trt is not used: libnvinfer.so was not found" in banner


def test_a_stale_verdict_says_so():
    """Catches a pass shown for a bundle that was never verified."""
    _, text = read(replace(samples.facts(), manifest_sha256="cd" * 32))
    assert text.index("exported again since: this verdict is about the earlier one") < text.index("What was attacked")
    assert "cd" * 32 in text
    assert "PASS, OUT OF DATE" in text
    assert 'class="verdict pass"' not in render_page(replace(samples.facts(), manifest_sha256="cd" * 32))
    assert "exported again" not in read(samples.facts())[1]


def test_an_unfinished_run():
    """Catches sections, figures or verdicts for what does not exist."""
    _, text = read(UNFINISHED)
    for words in ("trained for 0 of 12 epochs", "edgerkd export, then edgerkd verify", "edgerkd evaluate"):
        assert words in text
    for title in ("Gates", "Latency", "Terms of the loss", "Compared with", "What was attacked", "%"):
        assert title not in text
    assert "Not done yet" not in read(samples.facts())[1]


def test_unlike_measurements_are_not_shown_as_like():
    """Catches a comparison across radii or image counts that looks fair."""
    facts = samples.facts()
    assert facts.teacher is not None
    assert "not measured alike" not in read(facts)[1]
    other = replace(facts.teacher, threat_model=L2)
    _, text = read(replace(facts, teacher=other))
    assert "not measured alike" in text
    assert "teacher: L2 0.5, 797 test images, seed 11, " in text


def _numbers(record: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number below a dataclass, as (path, value)."""
    if isinstance(record, Record):
        for field in fields(record):  # pyright: ignore[reportArgumentType]  every Record is a dataclass
            yield from _numbers(getattr(record, field.name), (*path, field.name))
    elif isinstance(record, (tuple, list)):
        for index, item in enumerate(record):
            yield from _numbers(item, (*path, str(index)))
    elif isinstance(record, (int, float)) and not isinstance(record, bool):
        yield path, record


def _changed(record, path: tuple[str, ...], value):
    """The record with another value at the path."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(record, tuple):
        items = list(record)
        items[int(head)] = _changed(items[int(head)], rest, value)
        return tuple(items)
    return replace(record, **{head: _changed(getattr(record, head), rest, value)})


_FACTS = samples.facts()
_PAGE = render_page(_FACTS)
# Left out on purpose: formats, what the record's own architecture shows, the teacher's single attacks, what gaps are
# differences to, a row's or a total's `n`, which is the split's and stands once above them, and the classes of what is
# not the engine, but for the worst one's robust accuracy at each radius; and of a verification what was required, which
# stands at each gate and limit, what the host measured on the bundle's images, and which images were judged.
_HIDDEN = re.compile(
    r".*\.schema|.*\.model_acc\.n|.*\.architecture\..*|.*\.cost\.(file|peak)_bytes|.*\.rows\..*\.n|.*\.robust_acc\.n"
    r"|(student|teacher|baseline)\.clean_acc\.n|(teacher|baseline)\.rows\..*"
    r"|variance_gap\.networks\.\d\.(variance|within_share)"
    r"|verification\.(requirement|reference|judged\.images)\..*"
    r"|(student|teacher|baseline)\.(by_class\..*|of)"
    r"|curve\..*\.by_class\.classes\.(0\..*|1\.(clean_acc\..*|robust_acc\.(low|high|n)))"
)
_SHOWN = [
    path
    for part in ("verification", "student", "teacher", "baseline", "curve", "variance_gap")
    for path, _ in _numbers(getattr(_FACTS, part), (part,))
    if not _HIDDEN.fullmatch(".".join(path))
]


@pytest.mark.parametrize("path", _SHOWN, ids=".".join)
def test_each_number_is_taken_from_its_file(path):
    """Catches a figure that is fixed, copied from its neighbour, or left out."""
    value = dict(_numbers(_FACTS))[path]
    other = value + 0.03 if isinstance(value, float) and abs(value) <= 1.1 else value + 100_003
    if path[-1] == "low":
        other = value - 0.03
    if path[-1] == "value" and path[-2].endswith("_acc"):  # an interval holds its value
        interval = {name[-1]: bound for name, bound in _numbers(_FACTS) if name[:-1] == path[:-1]}
        other = (value + interval["low"]) / 2
    assert render_page(_changed(_FACTS, path, other)) != _PAGE


def test_the_method_is_what_the_run_says_of_it_with_its_options_and_sources():
    """Catches words of the report's own, which a method from elsewhere would lack, and options nobody can see."""
    text = render_page(_FACTS)
    assert "What a toy does. Source: Toy et al. 1901, eq. 7; ours." in text
    assert "<dt>weight_toy</dt><dd>0.625</dd>" in text


def test_no_accuracy_is_made_up():
    """Catches a percentage that no file holds: all come from accuracies, gates, agreements or axes."""
    _, text = read(_FACTS)
    allowed = {f"{share:.0%}" for share in (0, 0.25, 0.5, 0.75, 1)} | {"95%", "99%"}
    for _, value in _numbers(_FACTS):
        allowed |= {f"{abs(value):.1%}", f"{value:.2%}"}
    assert set(re.findall(r"[\d.]+%", text)) <= allowed


def test_the_curves_follow_the_epochs():
    """Catches a curve drawn upside down, or not to its end."""
    page = render_page(_FACTS)
    found = re.search(r'class="curve clean" points="([^"]+)"', page)
    assert found is not None
    points = [[float(number) for number in point.split(",")] for point in found[1].split()]
    assert len(points) == len(_FACTS.epochs)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert "soft labels, adversarial 0.283 → 0.142 epochs 6 to 12" in re.sub(r"\s+", " ", read(_FACTS)[1])


def test_curve_and_variance_gap_are_shown_where_the_run_has_them():
    """Catches a study that stays in its own file, one shown without figures, and a heading over nothing."""
    _, text = read(_FACTS)
    assert "Robust accuracy against the radius" in text
    assert "student 53.3%" in text
    assert "pgd-23 alone over-reports" in text
    assert "Variance gap, on the host" in text
    assert "student r +0.5" in text
    _, without = read(replace(_FACTS, verification=None, curve=None, variance_gap=None))
    assert "Robust accuracy against the radius" not in without
    assert "Variance gap, on the host" not in without


def test_a_long_run_has_curves_without_dots():
    """Catches thousands of dots, and a curve cut off."""
    record = replace(_FACTS.record, recipe=replace(_FACTS.record.recipe, epochs=300))
    page = render_page(replace(_FACTS, record=record, epochs=samples.epochs(300)))
    assert 'class="dot clean"' not in page
    assert 'class="dot clean"' in render_page(_FACTS)
    found = re.search(r'class="curve clean" points="([^"]+)"', page)
    assert found is not None
    assert len(found[1].split()) == 300


def test_each_norm_is_put_in_words():
    """Catches one norm described as the other."""
    assert _FACTS.student is not None
    _, text = read(replace(_FACTS, student=replace(_FACTS.student, threat_model=L2)))
    assert "Linf 9/255: every value of every pixel may be changed by up to 9/255 of full brightness" in text
    assert "L2 0.5: all changes together may have a Euclidean length of up to 0.5" in text


def test_close_curves_keep_their_labels_apart():
    """Catches two names printed over each other."""
    epochs = tuple(replace(epoch, val_robust_acc=epoch.val_clean_acc) for epoch in _FACTS.epochs)
    page = render_page(replace(_FACTS, epochs=epochs, curve=None, variance_gap=None))
    heights = re.findall(r'<text class="name (?:clean|robust)" x="[\d.]+" y="([\d.]+)"', page)
    ordered = sorted(map(float, heights))
    assert len(ordered) == 4
    assert all(below - above >= 14 for above, below in pairwise(ordered))


def test_an_interval_above_one_stays_within_its_bar():
    """Catches a retention above 100 % that is drawn outside."""
    assert _FACTS.verification is not None
    gate = replace(_FACTS.verification.gates[2], measured=1.3, low=1.1, high=1.5)
    page = render_page(replace(_FACTS, verification=replace(_FACTS.verification, gates=(gate,))))
    assert max(float(x) for x in re.findall(r'x2="([\d.]+)" y1="10"', page)) <= 196


def test_the_same_facts_give_the_same_page():
    """Catches a date, a path or a hash order on the page."""
    assert render_page(samples.facts()) == render_page(samples.facts())


def test_replay_alone_is_named_as_weak():
    """Catches a report that lets stored images pass for an attack."""
    assert _FACTS.verification is not None
    words = "Only stored images were replayed"
    assert words not in read(_FACTS)[1]
    replayed = replace(_FACTS.verification, rows=_FACTS.verification.rows[:1])
    assert words in read(replace(_FACTS, verification=replayed))[1]


def test_a_page_about_an_engine_that_was_not_attacked_does_not_speak_of_attacks():
    """Catches an empty table of attacks, and a doubt about attacks that nobody made."""
    report = replace(samples.verification("measured"), rows=())
    _, text = read(replace(samples.facts(), verification=report, student=None))
    assert "Nothing was attacked" in text
    assert "What was attacked, and how" not in text
    assert "Only stored images" not in text


def test_when_and_how_it_was_made_is_in_words():
    """Catches a record's own form on the page."""
    asked = Requirement(min_clean_acc=0.625)
    made = Circumstances(time="2026-11-26T21:00:00+00:00", versions={"edgerkd": "9.8.7"}, power_mode=None, asked=asked)
    _, text = read(replace(samples.facts(), verification=replace(samples.verification(), made=made)))
    assert all(each in text for each in ("2026-11-26T21:00:00+00:00", "9.8.7", "0.625"))
    assert "Requirement(" not in text


def test_write_page(tmp_path):
    """Catches a page elsewhere, one of other facts, and leftovers of writing."""
    facts = replace(samples.facts(), manifest_sha256=None)
    run = samples.written(facts, tmp_path / "toy-run")
    before = set(run.path.iterdir())
    path = write_page(run, load_facts(run))
    assert path == run.page
    assert path.read_text(encoding="utf-8") == render_page(facts)
    assert set(run.path.iterdir()) - before == {path}


def test_a_share_that_rounds_to_all_is_not_all():
    """Pins how shares round: the interval, not the point, says that it is not everything."""
    assert str(Accuracy(value=0.9996, n=5000, low=0.998, high=0.9999)) == "100.0% [99.8%, 100.0%]"


def test_the_search_for_a_precision_is_shown_with_what_it_refused():
    """Catches a variant whose robustness nobody sees, a layer's shift left out, and a refusal that goes unsaid."""
    found = PrecisionSearch(
        precision="int8",
        placement="signed",
        shifts=(LayerShift(layer="/stem/Conv", shift=0.0123), LayerShift(layer="logits", shift=0.0456)),
        steps=(SearchStep(kept=1, shift=0.0789, forecast=0.0371),),
        float_layers=("logits",),
        retention=Retention(n=137, value=0.9632, low=0.9137, high=0.9877),
        seconds=1.25,
        attack_seconds=17.5,
    )
    page = render_page(replace(samples.facts(), manifest=samples.manifest(rejected=(found,))))
    text = re.sub(r"<[^>]+>", " ", page)
    for words in (
        "int8-signed",
        "keeps 96.3% [91.4%, 98.8%] of 137 robust images, 1 layer in float32",
        "ranking took 1.2 s, attacking it on the host 17.5 s",
        "0.0789",
        "3.7%",
    ):
        assert words in text or words in page, words
    rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"<tr>.*?</tr>", page, re.S)]
    assert "/stem/Conv 0.0123 int8" in rows
    assert "logits 0.0456 float32" in rows
    assert "Precision" not in re.findall(r"<h2[^>]*>(.*?)</h2>", render_page(samples.facts()))


def test_the_searches_of_a_bundle_are_read_with_those_that_led_nowhere(tmp_path):
    """Catches a report that only knows what was chosen."""
    search = PrecisionSearch(precision="int8", placement="signed", seconds=2.5)
    run = samples.written(samples.facts(), tmp_path / "run")
    samples.write_manifest(run.bundle, rejected=(search,))
    assert load_facts(run).searches == (search,)
