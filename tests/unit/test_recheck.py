"""Reports of every kind hold where they are honest; what contradicts the rest of a report, or its bundle, is named."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from edgerkd.attacks.flag_kinds import NOISE_FOOLS
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.core.accuracy import Accuracy, accuracy_from_correct
from edgerkd.core.by_class import by_class
from edgerkd.core.comparison import mcnemar_exact
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag
from edgerkd.core.plain import ClassAnswers
from edgerkd.core.progress import Silent
from edgerkd.core.requirement import Requirement
from edgerkd.core.sequential import accuracy_anytime
from edgerkd.core.units import Radius
from edgerkd.core.verification import VerifyReport
from edgerkd.verify import evidence
from edgerkd.verify.own import Brought, OwnSamples
from edgerkd.verify.recheck import problems_of
from edgerkd.verify.recheck_bundle import bundle_problems
from edgerkd.verify.run import verify
from edgerkd.verify.verdict import gates_of
from tests.bundles import write_rounded_bundle
from tests.graph_bundles import bars

PIXELS, LABELS = bars(30, seed=1)
OWN = OwnSamples(data="own", pixels=PIXELS, labels=LABELS, of=90, seed=7)
PROFILE = str(Path(__file__).parents[2] / "profiles" / "x86-cpu.toml")
ASKED = Requirement(min_clean_acc=0.1, min_robust_acc=0.1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """A bundle with a variant of each precision, and images that were made against another network."""
    folder = tmp_path_factory.mktemp("recheck") / "bundle"
    write_rounded_bundle(folder)
    return read_bundle(folder)


@pytest.fixture(scope="module")
def engines(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("engines")


def verified(bundle: Bundle, engines: Path, **given) -> VerifyReport:
    """By a quick attack, which never passes."""
    return verify(bundle, engines=engines, **{"variant": "fp32", "attack": "fgsm", **given}, progress=Silent())


@pytest.fixture(scope="module")
def honest(bundle, engines) -> Callable[[str], VerifyReport]:
    """A report of each of KINDS, made once."""
    return cache(lambda kind: verified(bundle, engines, **KINDS[kind]))


WEAK = "an attack that over-reports"
KINDS = {
    "the usual attack": {"attack": "apgd-square"},
    "every image at full length": {"attack": "apgd-square", "full": True},
    WEAK: {"seed": 3, "probe_seed": 5},
    "two attacks that over-report": {"attack": "pgd"},
    "noise alone": {"attack": "noise"},
    "queries alone": {"attack": "square:500", "seed": 3, "probe_seed": 5},
    "no attack": {"attack": None},
    "measured": {"measure": True},
    "measured whatever is asked": {"measure": True, "requirement": ASKED},
    "gates of the verifier": {"requirement": ASKED, "seed": 3, "probe_seed": 5},
    "own images": {"brought": Brought(samples=OWN)},
    "own images and no attack": {"brought": Brought(samples=OWN), "attack": None},
    "the bundle's radius, brought": {"brought": Brought(eps=Radius("16/255"))},
    "a smaller radius": {"brought": Brought(eps=Radius("8/255")), "requirement": ASKED},
    "a larger radius": {"brought": Brought(eps=Radius("20/255")), "requirement": ASKED},
    "own images, radius and profile": {
        "brought": Brought(samples=OWN, eps=Radius("8/255")),
        "requirement": ASKED,
        "profile": PROFILE,
    },
    "an own profile": {"profile": PROFILE},
    "made on the spot": {"brought": Brought(made_here=True), "requirement": ASKED},
    "made on the spot and not attacked": {"brought": Brought(made_here=True), "attack": None},
    "fp16": {"variant": "fp16"},
    "int8": {"variant": "int8"},
    "int8 at a smaller radius": {"variant": "int8", "brought": Brought(eps=Radius("8/255")), "measure": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_report_holds(bundle, honest, kind):
    """Catches a rule that some kind of report does not keep: an honest verifier would be called a liar."""
    found = honest(kind)
    assert problems_of(found) == []
    assert bundle_problems(found, bundle) == []


def test_a_report_that_was_decided_early_holds(bundle, engines, monkeypatch):
    """Catches a rule that takes the images judged for all there are."""
    monkeypatch.setattr(evidence, "LOOK", 5)
    found = verified(bundle, engines, requirement=Requirement(min_clean_acc=1.0, min_robust_acc=1.0))
    assert found.judged.n < found.judged.of
    assert problems_of(found) == []
    assert bundle_problems(found, bundle) == []


def test_the_order_is_not_asked_of_another_numpy(honest):
    """Catches an honest report refused because the next NumPy draws another permutation by the same seed."""
    found = honest(WEAK)
    assert found.made is not None
    other = replace(found, judged=replace(found.judged, images=found.judged.images[::-1]))
    assert any(problem.startswith("probe_seed: ") for problem in problems_of(other))
    versions = {**found.made.versions, "numpy": "99.0"}
    assert problems_of(replace(other, made=replace(found.made, versions=versions))) == []


def _rows(report: VerifyReport, *names: str) -> VerifyReport:
    return replace(report, rows=tuple(replace(row, attack=name) for row, name in zip(report.rows, names, strict=True)))


def _said(report: VerifyReport, **changes) -> VerifyReport:
    """Other origins of fields."""
    return replace(report, origins=replace(report.origins, fields={**report.origins.fields, **changes}))


def _asked(report: VerifyReport, **changes) -> VerifyReport:
    """Others who ask thresholds."""
    return replace(report, origins=replace(report.origins, thresholds={**report.origins.thresholds, **changes}))


def _images_where_none_were_attacked(report: VerifyReport) -> VerifyReport:
    return replace(report, judged=replace(report.judged, images=(0,), fates=("+",)))


def _plain(report: VerifyReport, **changes) -> VerifyReport:
    return replace(report, plain=replace(report.plain, **changes))


def _fewer_of_a_class(report: VerifyReport) -> VerifyReport:
    """Two classes' answers exchanged: all adds up, and by_class has more images of one than there are."""
    first, second, *rest = report.plain.classes
    classes: tuple[ClassAnswers, ...] = (replace(first, name=second.name), replace(second, name=first.name), *rest)
    return _plain(report, classes=classes)


def _best(report: VerifyReport) -> Accuracy:
    """The accuracy of the best class, as if it were that of all."""
    return max((each.engine_acc for each in report.plain.classes), key=lambda each: each.value)


def _refigured(report: VerifyReport, bundle: Bundle, **judged) -> VerifyReport:
    """With all that follows from other fates, or another host, changed along."""
    found = replace(report.judged, **judged)
    names, fates = bundle.manifest.model.classes, "".join(found.fates)
    samples, _ = bundle.samples(bundle.manifest.variants[0])
    clean, robust = [fate != "-" for fate in fates], [fate == "+" for fate in fates]
    retention = found.retention
    return replace(
        report,
        judged=found,
        clean_acc=accuracy_anytime(clean),
        robust_acc=accuracy_anytime(robust),
        rows=_rows_of(report, fates),
        by_class=by_class(names, samples.labels[list(found.images)], clean, robust, accuracy_anytime),
        retention=None if retention is None else retention.value,
        gates=gates_of(report.requirement, found),
        curve=tuple(
            point
            if point.robust_acc.value >= found.robust.value
            else replace(point, robust_acc=accuracy_anytime(robust))
            for point in report.curve
        ),
    )


def _fates(report: VerifyReport, fates: str) -> VerifyReport:
    """Other fates with their rows, and nothing else changed."""
    return replace(report, judged=replace(report.judged, fates=(fates,)), rows=_rows_of(report, fates))


def _rows_of(report: VerifyReport, fates: str) -> tuple[Row, ...]:
    return tuple(
        replace(row, robust_acc=accuracy_anytime([fate == "+" or fate > chr(97 + number) for fate in fates]))
        for number, row in enumerate(report.rows)
    )


def _host(report: VerifyReport, bundle: Bundle) -> VerifyReport:
    """The host is said to have held an image that it did not."""
    text = "".join(report.judged.host or ())
    return _refigured(report, bundle, host=(text.replace("-", "+", 1),))


def _exchanged(report: VerifyReport, bundle: Bundle) -> VerifyReport:
    """An image that is wrong as it is and one that is fooled later: whatever is counted of all is the same."""
    fates = list("".join(report.judged.fates))
    first, second = fates.index("-"), fates.index("b")
    fates[first], fates[second] = "b", "-"
    return _refigured(report, bundle, fates=("".join(fates),))


def _resisted(report: VerifyReport, bundle: Bundle) -> VerifyReport:
    """An image that the host's fools is said to have been robust."""
    return _refigured(report, bundle, fates=("".join(report.judged.fates).replace("b", "+", 1),))


def _classes_exchanged(report: VerifyReport, bundle: Bundle) -> VerifyReport:
    """Two classes' figures exchanged, plain and under attack: all adds up."""
    first, second, *rest = report.by_class.classes
    swapped = (replace(second, name=first.name), replace(first, name=second.name), *rest)
    worst = min(swapped, key=lambda each: (each.robust_acc.value, each.clean_acc.value))
    return replace(_fewer_of_a_class(report), by_class=replace(report.by_class, classes=swapped, worst=worst.name))


def _plain_moved(key: str) -> Callable[[VerifyReport, Bundle], VerifyReport]:
    """One right answer less in a class, and one less in all: of engine or of model, whose comparison follows."""

    def change(report: VerifyReport, bundle: Bundle) -> VerifyReport:
        plain, classes = report.plain, list(report.plain.classes)
        assert plain.model is not None
        place = next(n for n, each in enumerate(classes) if getattr(each, key).value > 0)

        def less(accuracy: Accuracy) -> Accuracy:
            hits = accuracy.hits - 1
            return accuracy_from_correct([True] * hits + [False] * (accuracy.n - hits))

        classes[place] = replace(classes[place], **{key: less(getattr(classes[place], key))})
        lost = "model_alone" if key == "engine_acc" else "engine_alone"
        model = replace(plain.model, **{lost: getattr(plain.model, lost) + 1})
        model = replace(model, same_answer=model.same_answer - 1 / report.samples.n)
        if key == "model_acc":
            model = replace(model, model_acc=less(model.model_acc))
        model = replace(model, chance=mcnemar_exact(model.engine_alone, model.model_alone))
        engine = less(plain.engine_acc) if key == "engine_acc" else plain.engine_acc
        return replace(report, plain=replace(plain, engine_acc=engine, classes=tuple(classes), model=model))

    return change


CONSISTENT = {
    "a host that held more": (_host, "judged.host: not what the bundle says"),
    "two images exchanged": (_exchanged, "judged.fates: 2 of them not what the bundle's stored answers"),
    "an image that is fooled said to be robust": (
        _resisted,
        "judged.fates: 1 of them not what the bundle's stored answers",
    ),
    "two classes exchanged": (_classes_exchanged, "by_class: not what labels in the bundle and judged.fates give"),
    "a right answer less of the engine": (_plain_moved("engine_acc"), "plain.classes.1.engine_acc: not what"),
    "a right answer less of the model": (_plain_moved("model_acc"), "plain.classes.1.model_acc: not what"),
}
"""What is changed with all that follows from it, so that the report alone does not tell, and how the problem begins."""


@pytest.mark.parametrize("fraud", CONSISTENT)
def test_what_the_stored_answers_contradict_is_named(bundle, honest, fraud):
    """Catches figures that add up and are not those of the bundle's images: a forger can count, too."""
    change, problem = CONSISTENT[fraud]
    changed = change(honest("gates of the verifier"), bundle)
    assert problems_of(changed) == []
    found = bundle_problems(changed, bundle)
    assert any(each.startswith(problem) for each in found), found


FRAUDS = {
    "another transfer": (
        WEAK,
        lambda report: _rows(report, "noise", "replay", "transfer:nobody", "fgsm"),
        "rows: replay, transfer:nobody of stored images",
    ),
    "a stored row left out": (
        WEAK,
        lambda report: replace(report, rows=(*report.rows[:2], *report.rows[3:])),
        "rows: replay of stored images",
    ),
    "replay in another precision": (
        "fp16",
        lambda report: _rows(report, "noise", "transfer:other", "transfer:teacher", "fgsm"),
        "rows: transfer:other, transfer:teacher of stored images",
    ),
    "a stronger attack's name": (
        WEAK,
        lambda report: _rows(report, "noise", "replay", "transfer:teacher", "apgd-ce"),
        "notices: not those that the attack apgd-ce comes with",
    ),
    "an attack that is not known": (
        WEAK,
        lambda report: _rows(report, "noise", "replay", "transfer:teacher", "mine"),
        "rows.3: no direct attack is called mine",
    ),
    "noise that does not come first": (
        WEAK,
        lambda report: replace(report, rows=(report.rows[1], report.rows[0], *report.rows[2:])),
        "rows.0: replay, and noise comes first",
    ),
    "attacks in no name": (
        "two attacks that over-report",
        lambda report: _rows(report, "noise", "replay", "transfer:teacher", "pgd-20-margin", "pgd-20-ce"),
        "rows: pgd-20-margin, pgd-20-ce made here",
    ),
    "the doubt about a weak attack left out": (WEAK, lambda report: replace(report, flags=()), "flags: none says"),
    "a doubt about another attack": (
        WEAK,
        lambda report: replace(report, flags=(Flag(id="over-reports", facts={"name": "pgd"}),)),
        "flags: none says that fgsm",
    ),
    "random points that fool as many as the attacks, and no doubt": (
        WEAK,
        lambda report: _fates(report, "".join(report.judged.fates).replace("b", "a").replace("+", "a", 2)),
        "flags: not the doubts that the rows raise",
    ),
    "a doubt about random points that fool nothing": (
        WEAK,
        lambda report: replace(report, flags=(*report.flags, NOISE_FOOLS.raised(noise=2, n=20, attacks=1))),
        "flags: not the doubts that the rows raise",
    ),
    "images judged of an engine that was not attacked": (
        "no attack",
        _images_where_none_were_attacked,
        "judged.images: images are judged where",
    ),
    "a plain accuracy that was not measured": (
        "no attack",
        lambda report: replace(report, clean_acc=_best(report)),
        "clean_acc: not plain.engine_acc",
    ),
    "a plain accuracy that the classes do not have": (
        WEAK,
        lambda report: _plain(report, engine_acc=accuracy_from_correct([False] * 20)),
        "plain.classes: the classes' images do not add up to plain.engine_acc",
    ),
    "a plain accuracy of other images": (
        WEAK,
        lambda report: replace(report, samples=replace(report.samples, n=21)),
        "plain.engine_acc.n: 20, and samples.n is 21",
    ),
    "a class in another interval": (
        WEAK,
        lambda report: _plain(
            report,
            classes=tuple(replace(each, model_acc=replace(each.model_acc, low=0.0)) for each in report.plain.classes),
        ),
        "plain.classes.1.model_acc.low",
    ),
    "the comparison with the model left out": (
        WEAK,
        lambda report: _plain(report, model=None),
        "plain.model: not there",
    ),
    "classes exchanged": (WEAK, _fewer_of_a_class, "plain.classes: fewer images of a class"),
    "the bundle's images, said to be drawn": (
        WEAK,
        lambda report: replace(report, samples=replace(report.samples, seed=7)),
        "samples.seed: 7, and of the bundle's images",
    ),
    "another number of images": (
        WEAK,
        lambda report: replace(report, samples=replace(report.samples, of=99, repeated=79)),
        "samples.of: 99, and of the bundle's images",
    ),
    "own images, said to be the bundle's": (
        "own images",
        lambda report: _said(report, samples="claimed"),
        "origins.fields: not whose word the rest of the report shows, of samples",
    ),
    "a radius made on the spot, said to be claimed": (
        "made on the spot",
        lambda report: _said(report, threat_model="claimed"),
        "origins.fields: not whose word the rest of the report shows, of threat_model",
    ),
    "thresholds of figures alone": (
        "measured",
        lambda report: _asked(report, clean_acc="maker"),
        "origins.thresholds: not of the gates and limits",
    ),
    "the verifier named for a profile of the bundle's": (
        WEAK,
        lambda report: _asked(report, retention="verifier"),
        "origins.thresholds: the verifier asks others",
    ),
    "the verifier named for a share of the teacher's": (
        "an own profile",
        lambda report: _asked(report, clean_acc="verifier"),
        "origins.thresholds: the verifier asks others",
    ),
}
"""Of which of KINDS, what is changed, and how the problem begins that must be named."""


@pytest.mark.parametrize("fraud", FRAUDS)
def test_what_contradicts_the_rest_is_named(bundle, honest, fraud):
    """Catches a report that says two things, of which one must be wrong, whoever signed it."""
    kind, change, problem = FRAUDS[fraud]
    changed = change(honest(kind))
    found = [*problems_of(changed), *bundle_problems(changed, bundle)]
    assert any(each.startswith(problem) for each in found), found
