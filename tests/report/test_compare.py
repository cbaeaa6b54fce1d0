"""Two verifications side by side."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edgerkd.bundle.kept import kept_bytes, kept_path
from edgerkd.core.comparison import paired
from edgerkd.core.errors import ConfigError
from edgerkd.core.run import RunFolder
from edgerkd.core.verification import VerifyReport
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import encode_json
from edgerkd.report.compare import change_words, compare, compared, render_comparison, report_in
from tests.report import samples
from tests.report.test_page import HOSTILE, Reader

PASS, FAIL = samples.verification(), samples.verification("fail")


def written(folder, report: VerifyReport, kept=None):
    """A report, with what was kept beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "verify-a.json"
    if kept is not None:
        kept_path(path).write_bytes(kept_bytes(kept))
        assert report.kept is not None
        report = replace(report, kept=replace(report.kept, sha256=sha256_of(kept_path(path))))
    path.write_text(encode_json(report))
    return path


def test_the_same_images_are_paired_whatever_their_order():
    """Catches pairs of unlike images, and a difference with the wrong sign."""
    one = samples.kept(10)
    order = np.random.default_rng(0).permutation(10)
    other = replace(
        one, ids=one.ids[order], clean=one.clean[order], robust=np.zeros(10, np.bool_), distances=one.distances[order]
    )
    found = compared(PASS, PASS, one, other)
    assert found.common == 10
    assert found.clean == paired(one.clean, one.clean)
    assert found.robust == paired(one.robust, [False] * 10)
    assert found.robust.difference == pytest.approx(0.8)
    assert found.unlike == ()


def test_only_common_images_are_paired_and_it_is_said():
    """Catches a pairing by row, and one of other images."""
    one = samples.kept(10)
    other = replace(one, ids=one.ids + np.uint64(6))
    found = compared(PASS, PASS, one, other)
    assert (found.common, found.unlike) == (4, ("images",))
    assert "4 images are in both, and only these are paired" in change_words(found)
    assert found.robust == paired(one.robust[6:], one.robust[:4])
    none = compared(PASS, PASS, one, replace(one, ids=one.ids + np.uint64(10)))
    assert (none.common, none.robust) == (0, None)
    assert compared(PASS, PASS, one, None).robust is None


def test_what_was_judged_otherwise_is_named():
    """Catches a changed verdict that only whoever compares two lists sees, and a limit that is asked by one alone."""
    budget = tuple(replace(limit, ok=False) if limit.limit == "params" else limit for limit in FAIL.budget[:3])
    found = compared(PASS, replace(FAIL, budget=budget), None, None)
    assert change_words(found)[:4] == (
        "verdict: pass, then fail",
        "robust accuracy: pass, then fail",
        "parameters: within, then exceeded",
        "latency (median): not judged, then not asked",
    )
    assert compared(PASS, PASS, None, None).changes == ()


def test_unlike_conditions_are_said():
    """Catches a difference of attacks that reads like one of engines."""
    threat_model = replace(PASS.threat_model, norm="L2")
    other = replace(PASS, threat_model=threat_model, rows=PASS.rows[:1], seed=99)
    assert compared(PASS, other, None, None).unlike == ("threat model", "attacks", "seed")
    elsewhere = replace(other, manifest_sha256="0" * 64)
    assert compared(PASS, elsewhere, None, None).unlike == ("threat model", "attacks", "seed", "images")


def test_the_page_is_well_formed_and_escaped():
    """Catches tags that do not close, names that become markup, and figures of one engine under the other."""
    kept = samples.kept()
    page = render_comparison(compared(PASS, replace(FAIL, bundle=HOSTILE), kept, kept))
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert HOSTILE not in page
    assert page.index("First: PASS") < page.index("Second: FAIL")
    rows = ["".join(part) for part in page.split("<tr>")]
    (robust,) = [row for row in rows if row.startswith('<th scope="row">robust accuracy<') and "89.7%" in row][:1]
    assert robust.index("89.7%") < robust.index("42.5%")


def test_a_report_is_found_by_file_bundle_or_folder(tmp_path):
    """Catches the report of a neighbour, and a folder without one that is no error."""
    path = written(tmp_path / "one", PASS)
    assert report_in(path) == path
    assert report_in(tmp_path / "one") == path.resolve()
    samples.write_manifest(tmp_path / "two" / "mine")
    for empty in (tmp_path / "two" / "mine", tmp_path / "two", tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="has no verification"):
            report_in(empty)
    run = samples.written(replace(samples.facts(), manifest_sha256=None), tmp_path / "run")
    assert report_in(run.path) == RunFolder(run.path).verification(samples.VERIFICATION_KEY)


def test_the_command_prints_tables_and_writes_a_page(workdir, edgerkd):
    """Catches a page that is not written, and --json with anything beside the document."""
    kept = samples.kept()
    for name, report in (("a", PASS), ("b", FAIL)):
        written(workdir / name, report, kept)
    ended = edgerkd("report", "--compare", "a", "b")
    assert ended.code == 0
    for words in ("verdict: pass, then fail", "both right", "page: comparison.html", "robust accuracy"):
        assert words in ended.out
    page = (workdir / "comparison.html").read_text()
    assert page == render_comparison(compare(workdir / "a", workdir / "b"))
    document = json.loads(edgerkd("report", "--compare", "a", "b", "--json").out)
    assert document["robust"]["difference"] == 0
    assert edgerkd("report", "--compare", "a", "b", "--run", "a").code == 2
