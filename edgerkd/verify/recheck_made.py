"""Whether what a report says of how it was made fits the rest of it: its images and attacks, and whose word all is."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import dropwhile

import numpy as np

from edgerkd.attacks.flag_kinds import OVER_REPORTS
from edgerkd.attacks.noise import NOISE
from edgerkd.attacks.replay import TRANSFER
from edgerkd.attacks.suite import ATTACKS, ENSEMBLES, FACTS, attacks_named
from edgerkd.core.budget import limits
from edgerkd.core.evaluation import Row, Source
from edgerkd.core.flag import Flag
from edgerkd.core.origin import askers, origins_of
from edgerkd.core.verification import VerifyReport
from edgerkd.verify.limits import peak_measured
from edgerkd.verify.recheck_measured import ABOUT_ATTACKS

STORED: frozenset[Source] = frozenset({"replay", "transfer"})
"""Rows of images that were made earlier, and lie in the bundle."""
_MOST = 1_000_000  # images, of which an order is drawn again in no time; ours
_OF_TEACHER = {"clean_acc", "robust_acc"}  # of what a profile asks: its shares of what the teacher reached


def made_problems(report: VerifyReport) -> Iterator[str]:
    """All that does not fit, each with the key it is about."""
    yield from _drawn(report)
    yield from _rows(report)
    yield from _origins(report)
    yield from _askers(report)
    yield from _trust(report)


def _drawn(report: VerifyReport) -> Iterator[str]:
    """Images are judged in the order that `probe_seed` draws, as verify/evidence.py does.

    One seed gives the same permutation within a version of NumPy, and perhaps another one in the next (NEP 19). So a
    report of another version, by its own word, is not held to the order: an honest one would be accused.
    """
    judged, made = report.judged, report.made
    if len(set(judged.images)) != judged.n or any(place >= judged.of for place in judged.images):
        yield f"judged.images: not the places of {judged.n} images of {judged.of}, each there once"
    elif bool(report.rows) != bool(judged.images):
        yield "judged.images: images are judged where rows say by which attacks, and only there"
    elif made is not None and made.versions.get("numpy") == version("numpy") and judged.of <= _MOST:
        order = np.random.default_rng(report.probe_seed).permutation(judged.of)[: judged.n]
        if order.tolist() != list(judged.images):
            yield f"probe_seed: judged.images are not in the order that {report.probe_seed} draws"


def _rows(report: VerifyReport) -> Iterator[str]:
    """Noise comes first, then what is stored, then all that one name asks for, with what is to be told of that."""
    if not report.rows:
        return
    for number, row in enumerate(report.rows):
        if not _known(row):
            yield f"rows.{number}: no {row.source} attack is called {row.attack}"
    if report.rows[0].attack != NOISE.id:
        yield f"rows.0: {report.rows[0].attack}, and {NOISE.id} comes first"
    made = [row.attack for row in dropwhile(lambda row: row.source in STORED, report.rows[1:])]
    asked = _asked(made, classes=len(report.by_class.classes) + len(report.by_class.missing))
    if asked is None:
        yield f"rows: {', '.join(made) or 'none'} made here, and no --attack of this edgerkd asks for just these"
        return
    name, notices = asked
    if [each for each in report.notices if each.id in ABOUT_ATTACKS] != list(notices):
        yield f"notices: not those that the attack {name} comes with"
    if any(each.id == OVER_REPORTS.id and each not in report.flags for each in notices):
        yield f"flags: none says that {name} alone over-reports, so that nothing passes by it"


def _known(row: Row) -> bool:
    if row.source == TRANSFER.source:
        return row.attack.startswith(f"{TRANSFER.id}:")
    return row.attack in FACTS and FACTS[row.attack].source == row.source


def _asked(ids: Sequence[str], *, classes: int) -> tuple[str, tuple[Flag, ...]] | None:
    """The name that stands for these attacks, in full or not, and its notices; None where there is none."""
    for name in (*ENSEMBLES, *ATTACKS):
        for full in (False, True):
            attacks, notices = attacks_named(name, classes=classes, full=full)
            if [attack.id for attack in attacks] == list(ids):
                return name, notices
    return None


def _origins(report: VerifyReport) -> Iterator[str]:
    """A radius, a profile or a seed may be the verifier's own without a trace: of these the report's word counts."""
    said, own = report.origins, report.samples.source == "verifier"
    expected = origins_of(
        said.thresholds,
        samples_brought=own,
        eps_brought=said.fields.get("threat_model") == "brought" or (own and report.samples.seed is None),
        profile_brought=said.fields.get("target") == "brought" and report.target is not None,
        seed_brought=said.fields.get("seed") == "brought",
        peak_measured=peak_measured(report.engine_memory, report.target) is not None,
    )
    for key, found, follows in (
        ("fields", said.fields, expected.fields),
        ("figures", said.figures, expected.figures),
    ):
        wrong = sorted(name for name in {**found, **follows} if found.get(name) != follows.get(name))
        if wrong:
            yield f"origins.{key}: not whose word the rest of the report shows, of {', '.join(wrong)}"


def _askers(report: VerifyReport) -> Iterator[str]:
    """Each threshold has somebody who asks it, and the verifier asks what `made.asked` says, or a profile of theirs."""
    thresholds = report.origins.thresholds
    asked = {*report.requirement.gates, *limits(report.requirement.budget)}
    if not asked <= thresholds.keys() or (thresholds and not asked):
        yield "origins.thresholds: not of the gates and limits that requirement asks"
    elif asked and report.made is not None:
        own = askers(("verifier", report.made.asked)).keys()
        named = {name for name, who in thresholds.items() if who == "verifier"}
        by_profile = report.origins.fields.get("target") == "brought" and named.isdisjoint(_OF_TEACHER - own)
        if not own <= named or (named > own and not by_profile):
            yield "origins.thresholds: the verifier asks others, by made.asked and by target"


def _trust(report: VerifyReport) -> Iterator[str]:
    trust = report.trust
    if ("signature" in trust.grounds and trust.signature != "valid") or (trust.signature == "valid") > (
        trust.key is not None
    ):
        yield "trust: a signature that counts must be valid, and of a key"
    if len(set(trust.grounds)) != len(trust.grounds):
        yield "trust.grounds: one of them twice"
    if ("samples" in trust.grounds) != (report.samples.source == "verifier"):
        yield "trust.grounds: samples are a ground where the verifier brought them, and only there"
